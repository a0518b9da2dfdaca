"""Target builders: what must coincide, drawn from keypoints, the mask or the photo itself."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alignimation_core import Subject, Target, TargetBuilder, hookimpl
from alignimation_core.api.stages import Ability
from alignimation_targets._anatomy import counterpart, rigidity, shown_side, spread_of


class GaussianKeypoints(TargetBuilder):
    """One Gaussian per keypoint, as wide as a fraction of the subject's own size.

    A channel for each keypoint, so that a left eye can only be drawn to a left eye. The size is
    the root mean square distance of the keypoints from their centre; where some are missing, the
    mean proportions of the body make up for them (see ``alignimation_targets._anatomy``). That
    size is the reference's; the start of the registration carries it over to the other photos, so
    that widths pull no scale.
    """

    name: ClassVar[str] = "gaussian-keypoints"

    keypoints: Annotated[
        tuple[str, ...] | None,
        Field(
            description="which keypoints must coincide; all that the detector knows if not given"
        ),
    ] = None
    sigma: Annotated[
        float,
        Field(description="width of the Gaussians, in sizes of the subject", gt=0, le=2),
    ] = 0.15
    weights: Annotated[
        Mapping[str, Annotated[float, Field(ge=0)]] | None,
        Field(
            description="how much keypoints count, by name, those not named 1; if not given, "
            "shoulders and hips count 3, or the eyes 400 where neither is chosen"
        ),
    ] = None
    min_score: Annotated[
        float,
        Field(description="keypoints that score less do not count", ge=0, le=1),
    ] = 0.3
    mask: Annotated[
        bool,
        Field(description="multiply each Gaussian by the subject's softened mask"),
    ] = False
    either_side: Annotated[
        bool,
        Field(
            description="where the other side of the body is clearly better seen, take right_hip "
            "for left_hip and so on: for series in profile"
        ),
    ] = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        chosen = self.keypoints
        if chosen is not None:
            if not chosen:
                raise ValueError("`keypoints` is empty; name some, or leave it out to take all")
            twice = sorted({name for name in chosen if chosen.count(name) > 1})
            if twice:
                raise ValueError(f"`keypoints` names {twice[0]} twice; name it once")
            self._check_weights(chosen)
        if self.either_side and not any(
            counterpart(name) not in (None, *(chosen or ())) for name in chosen or ()
        ):
            raise ValueError(
                "`either_side` needs `keypoints` of one side, such as [left_ear, left_hip]"
            )
        return self

    def _check_weights(self, chosen: Sequence[str]) -> None:
        unknown = next((name for name in self.weights or () if name not in chosen), None)
        if unknown is not None:
            near = difflib.get_close_matches(unknown, chosen, 1)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(chosen)}"
            raise ValueError(f"`weights` names {unknown}, which is not among the keypoints; {hint}")

    def requires(self) -> frozenset[Ability]:
        """Return the keypoints chosen or weighed, those of the other side, and masks."""
        names = {*(self.keypoints or ()), *(self.weights or ())}
        if self.either_side:
            names |= {other for name in names if (other := counterpart(name))}
        masks = {"masks"} if self.mask else set()
        return frozenset({"keypoints", *masks, *(f"keypoints.{name}" for name in names)})

    def build(self, subject: Subject, size: tuple[int, int]) -> Target:
        """Draw the Gaussians; see ``TargetBuilder.build``.

        Returns:
            One channel and one point a keypoint, in the order of ``keypoints``, or else in the
            detector's. Amplitude 1; a keypoint's weight is its score times its entry in
            ``weights``, and 0 for one that is missing, doubtful or, with ``mask``, off the mask.

        Raises:
            ValueError: none of the keypoints was found, there is no mask to multiply by, or it
                covers none of the keypoints.
        """
        import torch

        from alignimation_targets._gaussians import draw
        from alignimation_targets._mask import draw_mask, soften

        chosen = self.keypoints or subject.keypoint_names
        if not chosen:
            raise ValueError("the detector knows no keypoints; use target_builder mask or pixels")
        if self.keypoints is None:
            self._check_weights(chosen)
        taken = shown_side(subject, chosen, self.min_score) if self.either_side else chosen
        seen = (subject.keypoint_scores.get(name, 0.0) for name in taken)
        scores = [score if score >= self.min_score else 0.0 for score in seen]
        if not any(scores):
            raise ValueError(
                f"none of the keypoints {', '.join(taken)} was found with a score of "
                f"{self.min_score:g} or more; lower `min_score`, or choose other `keypoints`"
            )
        by_name = rigidity(chosen) if self.weights is None else self.weights
        firmness = [by_name.get(name, 1.0) for name in chosen]
        places = {n: subject.keypoints[n] for n, score in zip(taken, scores, strict=True) if score}
        size_of_subject = spread_of(places, dict(zip(taken, firmness, strict=True)), subject.box)
        width = self.sigma * size_of_subject if subject.width is None else subject.width
        points = torch.tensor([places.get(name, (0.0, 0.0)) for name in taken])
        weights = torch.tensor([s * firm for s, firm in zip(scores, firmness, strict=True)])
        image = draw(points, width, size)
        if self.mask:
            image = image * soften(draw_mask(subject, size), width)
            weights = weights.where(image.amax((1, 2)) > 0.1, 0.0)
            if not weights.any():
                raise ValueError(
                    f"the mask covers none of the keypoints {', '.join(taken)} that were found; "
                    "they may be two people's, or leave `mask` out"
                )
        image = image * (weights > 0)[:, None, None]
        return Target.of(
            image,
            weights=weights,
            points=points,
            point_weights=weights,
            width=torch.tensor(width),
            points_only=not self.mask,
        )


class SoftMask(TargetBuilder):
    """The subject's mask alone, its edge softened.

    Everything that grows pulls: for a belly or hair, choose keypoints instead.
    """

    name: ClassVar[str] = "mask"

    softness: Annotated[
        float,
        Field(description="width of the edge, in square roots of the mask's area", ge=0, le=1),
    ] = 0.05

    def requires(self) -> frozenset[Ability]:
        """Return ``masks``."""
        return frozenset({"masks"})

    def build(self, subject: Subject, size: tuple[int, int]) -> Target:
        """Draw the mask; see ``TargetBuilder.build``.

        Returns:
            One channel, 1 inside the mask and 0 outside; no points.

        Raises:
            ValueError: there is no mask, or nothing of it lies in the target.
        """
        from alignimation_targets._mask import draw_mask, soften

        mask = draw_mask(subject, size)
        area = float(mask.sum())
        if area < 1:
            raise ValueError("the subject's mask is empty")
        return Target.of(soften(mask, self.softness * area**0.5)[None])


class Pixels(TargetBuilder):
    """The photo's own pixels around the subject.

    For series in which the whole scene stands still, or subjects that no detector knows by parts.
    """

    name: ClassVar[str] = "pixels"

    channels: Annotated[
        Literal["colour", "grey", "gradient"],
        Field(
            description="colour: RGB; grey: luminance; gradient: strength of the edges relative "
            "to the photo's own, which changes of light leave alone"
        ),
    ] = "gradient"

    def requires(self) -> frozenset[Ability]:
        """Return ``pixels``."""
        return frozenset({"pixels"})

    def build(self, subject: Subject, size: tuple[int, int]) -> Target:
        """Return the pixels of the subject's ``image``; see ``TargetBuilder.build``.

        Returns:
            Three channels for ``colour``, one otherwise. The points are all that the detector
            knows, weighed by their scores; none without keypoints.

        Raises:
            ValueError: ``image`` is missing or not of ``size``.
        """
        import torch

        from alignimation_targets._pixels import appearance

        if subject.image is None:
            raise ValueError("the subject comes without the photo's pixels")
        if tuple(subject.image.shape) != (3, *size):
            raise ValueError(
                f"image: expected shape {(3, *size)}, got {tuple(subject.image.shape)}"
            )
        names = subject.keypoint_names
        return Target.of(
            appearance(subject.image, self.channels),
            points=torch.tensor([subject.keypoints.get(n, (0.0, 0.0)) for n in names]).view(-1, 2),
            point_weights=torch.tensor([subject.keypoint_scores.get(n, 0.0) for n in names]),
        )


@hookimpl
def alignimation_target_builders() -> Sequence[type[TargetBuilder]]:
    """Return the target builders of this package."""
    return [GaussianKeypoints, SoftMask, Pixels]
