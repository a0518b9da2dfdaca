"""Who the subject is, as options say it: photos, or a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BeforeValidator, Field, TypeAdapter, model_validator

from alignimation_core import Observation
from alignimation_core.api.errors import OptionError
from alignimation_core.api.files import PhotoNames
from alignimation_core.api.stages.individuals import IdentitySelector, Reference, Shown, meant

if TYPE_CHECKING:
    from torch import Tensor

    from alignimation_subject._identity import Faces, Given


def _reference(given: object) -> object:
    plain = isinstance(given, str | int | float | date)  # which YAML makes of some names
    return {"photo": given} if plain else given


def _references(given: object) -> object:
    every = given if isinstance(given, list | tuple) else (given,)
    return [_reference(each) for each in every]


def _person(given: object) -> object:
    if given is None:
        return None
    if isinstance(given, int):
        if given < 1:
            raise ValueError("write photos of who it is, or a number from 1 on")
        return int(given)
    return REFERENCES.validate_python(_references(given))


REFERENCES = TypeAdapter(tuple[Reference, ...])

Photos = str | Reference | list[str | Reference]
"""How a recipe names photos that show somebody."""


class ShownSelector(IdentitySelector):
    """A selector that can be told who the subject is, and who it is not."""

    like: Annotated[
        Reference | None,
        BeforeValidator(_reference, json_schema_input_type=str | Reference | None),
        Field(
            description="one of the photos: the subject is the largest in it, or as {photo: NAME, "
            "face: 2} the second from the left; left out, whoever appears most often"
        ),
    ] = None
    person: Annotated[
        int | tuple[Reference, ...] | None,
        BeforeValidator(_person, json_schema_input_type=int | Photos | None),
        Field(
            description="who the subject is: photos in the pile or other files, of one face each "
            "or as {photo: NAME, face: 2}; or a number that `alignimation people` gives"
        ),
    ] = None
    not_person: Annotated[
        tuple[Reference, ...],
        BeforeValidator(_references, json_schema_input_type=Photos),
        Field(description="who the subject is not: photos, as for person"),
    ] = ()

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if isinstance(self.person, int) and self.like is not None:
            raise ValueError("`like` and a number as `person` both say who it is; leave one out")
        return self

    def photos_named(self) -> Mapping[str, str]:
        """Return the photo that ``like`` names."""
        return {} if self.like is None else {"like": self.like.photo}

    def references(self) -> Mapping[str, Sequence[Reference]]:
        """Return the photos that ``person`` and ``not_person`` name."""
        person = self.person if isinstance(self.person, tuple) else ()
        return {"person": person, "not_person": self.not_person}

    def _given(self, observations: Sequence[Observation], faces: Faces, shown: Shown) -> Given:
        """Return what the options say of the subject.

        Raises:
            OptionError: ``like`` names no photo that is there, or none with a face.
        """
        import torch

        from alignimation_subject import _faces, _identity

        places = shown.get("person", ())
        like = [_vector(*each) for each in places]
        seconds = [_faces.seconds_of(observation.photo) for observation, _ in places]
        if self.like is not None:
            start = self._start(self.like, observations, faces)
            like.append(faces.vectors[start])
            seconds.append(float(faces.seconds[faces.photos[start]]))
        unlike = [_vector(*each) for each in shown.get("not_person", ())]
        nobody = faces.vectors[:0]
        return _identity.Given(
            like=torch.stack(like) if like else nobody,
            seconds=torch.tensor(seconds, dtype=torch.float64),
            unlike=torch.stack(unlike) if unlike else nobody,
            number=self.person if isinstance(self.person, int) else None,
        )

    @staticmethod
    def _start(like: Reference, observations: Sequence[Observation], faces: Faces) -> int:
        """Return the face that `like` means: the largest of its photo, or the one it says."""
        names = [observation.photo.name for observation in observations]
        photos = PhotoNames(names).meant(like.photo)
        if not photos:
            raise OptionError(
                "like",
                f"{like.photo!r} is not among the photos that could be looked at; name one "
                f"that is, such as {names[0]!r}",
            )
        if len(photos) > 1:
            what = f"{len(photos)} photos are named {like.photo!r}; write {photos[0]!r}"
            raise OptionError("like", what)
        place = names.index(photos[0])
        inside = faces.usable_in(place)
        if inside and like.face is not None:
            try:
                index = meant(observations[place].detections, like.face)
            except ValueError as error:
                raise OptionError("like", f"{like.photo}: {error}") from None
            inside = [face for face in inside if face == int(faces.first[place]) + index]
        if not inside:
            what = "name a photo in which the subject is found"
            raise OptionError("like", f"nothing to compare was found in {like.photo!r}; {what}")
        return max(inside, key=lambda face: (float(faces.sizes[face]), -face))


def _vector(observation: Observation, index: int) -> Tensor:
    """Return the (D,) float32 embedding of one face, of unit length.

    Raises:
        ValueError: there is none.
    """
    from torch.nn.functional import normalize

    rows = observation.embeddings
    vector = None if rows is None else normalize(rows[index].float(), dim=0)
    if vector is None or not (vector.isfinite().all() and vector.any()):
        what = "the embedder gave no vector to compare; name another photo"
        raise ValueError(f"{observation.photo.name}: {what}")
    return vector
