"""Detector of annotated boxes, masks and keypoints, from files of other tools."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from alignimation_core import AnnotationDetector, Detections, Detector, Photo, hookimpl
from alignimation_core.api.stages import Ability, RecipePath

if TYPE_CHECKING:
    from alignimation_annotations._coco import Annotations


def _listed(value: object) -> object:
    return [value] if isinstance(value, (str, Path)) else value


class CocoAnnotations(AnnotationDetector):
    """Boxes, masks and keypoints from COCO JSON files, by any tool or by hand.

    Format: https://cocodataset.org/#format-data, both ``instances`` and ``person_keypoints``;
    several files are joined by the ids of their images and annotations. A photo is found by its
    path, then by its bare file name; one that no file annotates has no detections.

    Boxes and polygons are continuous pixels. Keypoints of a file in which all are whole numbers
    count pixels, as COCO's do, and are taken at those pixels' centres. A keypoint that is labelled
    but not visible (v = 1) scores one half; confidences from 0 to 1 may stand in the place of v, or
    beside it as ``keypoint_scores``. Coordinates follow a photo that was resized since.

    Lists of results, which networks write, may follow a file with ``images`` and ``categories``.
    """

    name: ClassVar[str] = "coco-annotations"

    file: Annotated[
        tuple[RecipePath, ...],
        BeforeValidator(_listed),
        Field(description="COCO JSON file, or a list of them to be joined", min_length=1),
    ]
    category: Annotated[str, Field(description="which category could be the subject")] = "person"
    include_crowd: Annotated[
        bool, Field(description="whether annotations of crowds (iscrowd: 1) could be the subject")
    ] = False

    mask_cell: Annotated[
        float | None,
        Field(
            description="how coarse masks are, pixels of the annotated image: what a network drew "
            "on 28 x 28 cells, and a file has as polygons or run lengths, is right to within one; "
            "where the background is cut out, edges are looked for that far. If absent, a pixel",
            gt=0,
        ),
    ] = None

    @cached_property
    def annotations(self) -> Annotations:
        """The annotations in the files, read once.

        Raises:
            ValueError: a file cannot be read or is wrong; names it and the annotation.
        """
        from alignimation_annotations._coco import read

        return read(self.file, self.category, include_crowd=self.include_crowd)

    @model_validator(mode="after")
    def _readable(self) -> Self:
        _ = self.annotations
        return self

    def finds(self) -> str:
        """Return the category."""
        return self.category

    def hint(self) -> str:
        """Return that the annotations say so."""
        return "the annotations of this photo have none"

    def provides(self) -> frozenset[Ability]:
        """Return ``masks`` and the keypoints, as far as the files hold any."""
        names = self.annotations.keypoint_names
        masks = ["masks"] if self.annotations.masks else []
        keypoints = ["keypoints"] if names else []
        return frozenset([*masks, *keypoints, *(f"keypoints.{name}" for name in names)])

    def strangers(self, photos: Sequence[Photo]) -> str | None:
        """Return that the files speak of other photos, where they speak of none of these."""
        known = sorted(self.annotations.by_name)
        if not known or any(photo.path.name in self.annotations.by_name for photo in photos):
            return None
        more = ", ..." if len(known) > 2 else ""
        files = ", ".join(str(path) for path in self.file)
        return f"{files}: speaks of {', '.join(known[:2])}{more}; none of them is here"

    def annotate(self, photo: Photo) -> Detections:
        """Return the photo's annotations of the category, best first, then the largest.

        Raises:
            PhotoError: the annotated image has another shape than the photo, or several images of
                the files could be this photo.
        """
        from alignimation_annotations._detections import detections_of

        return detections_of(self.annotations, photo, self.mask_cell)


@hookimpl
def alignimation_detectors() -> Sequence[type[Detector]]:
    """Return the detector of this package."""
    return [CocoAnnotations]
