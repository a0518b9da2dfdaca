"""What detectors, embedders and subject selectors keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import dist
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core.api.data import Detections
from alignimation_core.api.errors import PhotoError
from alignimation_core.api.stages import AnnotationDetector, Detector, Embedder, SubjectSelector
from alignimation_core.api.stages.individuals import IdentitySelector
from alignimation_core.plugin import contract
from alignimation_core.scoring.judges import scored_by
from alignimation_core.testing import samples
from alignimation_core.testing.faults import (
    attempted,
    fail,
    need_weights,
    told,
    told_of_batch,
)

SHIFT = (48, 16)
"""Pixels by which an image is put further right and further down."""
APART = 0.15
"""Share of a box's longer side by which places may differ that should be the same."""
SAME = 1e-3
"""Distance of two embeddings that should be the same."""


class DetectorTests:
    """The tests of every detector that looks at pixels.

    Attributes:
        images: (3, h, w) uint8 photos in which the detector finds something; the kit's portraits
            where it is None.
    """

    stage: ClassVar[Detector]
    images: ClassVar[Sequence[Tensor] | None] = None

    def _images(self) -> list[Tensor]:
        need_weights(self.stage)
        return samples.images() if self.images is None else [each.clone() for each in self.images]

    def _alone(self, image: Tensor) -> Detections:
        torch.manual_seed(0)
        (found,) = contract.detect(self.stage, [image])
        return found

    def test_it_finds_what_its_contract_allows_in_images_of_any_size(self) -> None:
        """Each image by itself, so that a fault of batches is another test's."""
        for image in self._images():
            told(self.stage, partial(self._alone, image))

    def test_a_batch_gives_what_each_image_gives_alone(self) -> None:
        """A run detects in batches of images of different sizes."""
        images = self._images()
        alone = attempted(lambda: [self._alone(image) for image in images])
        torch.manual_seed(0)
        together = told_of_batch(
            self.stage, len(images), partial(contract.detect, self.stage, images)
        )
        for one, other in zip(alone, together, strict=True):
            if len(one) != len(other) or not torch.allclose(one.boxes, other.boxes, atol=1):
                counts = f"{len(one)} detections alone, {len(other)}"
                fail(self.stage, f"it finds in an image {counts} among others, or elsewhere")

    def test_what_looks_at_frames_finds_what_is_scored(self) -> None:
        """Frames are scored by the eyes or the torso, if it finds them, else by all keypoints."""
        light = told(self.stage, partial(contract.score_detector, self.stage))
        wanted, got = scored_by(self.stage), scored_by(light)
        if got != wanted:
            names = [", ".join(some) or "nothing" for some in (wanted, got)]
            fail(self.stage, f"score_detector: expected one that finds {names[0]}, got {names[1]}")

    def test_the_best_comes_first(self) -> None:
        """Selectors may take the first for the surest."""
        for image in self._images():
            scores = attempted(partial(self._alone, image)).scores.tolist()
            if scores != sorted(scores, reverse=True):
                fail(self.stage, f"scores: expected the best first, got {scores}")

    def test_it_gives_the_same_twice_and_leaves_the_images_as_they_are(self) -> None:
        """As in a run that goes on, and by several threads where it says that it is parallel."""
        images = self._images()
        first = attempted(lambda: [self._alone(image) for image in images])
        if not all(map(torch.equal, images, self._images())):
            fail(self.stage, "detect: it writes into the images that it is given; copy them")
        threads = 2 if self.stage.parallel else 1
        with ThreadPoolExecutor(threads) as pool:
            again = list(pool.map(self._alone, images))
        for one, other in zip(first, again, strict=True):
            if len(one) != len(other) or not torch.allclose(one.boxes, other.boxes, atol=1e-3):
                what = "by two threads at once" if threads == 2 else "the second time"
                fail(self.stage, f"it finds something else {what}, though torch is seeded alike")

    def test_its_coordinates_are_pixels_of_the_image(self) -> None:
        """An image twice as large doubles them, one that lies further right moves them."""
        image = self._images()[0]
        best = _best(attempted(lambda: self._alone(image)))
        right, down = SHIFT
        larger = functional.interpolate(image[None].float(), scale_factor=2, mode="bilinear")
        moved = functional.pad(image, (right, 0, down, 0))
        x0, y0, x1, y1 = best
        if (x1 - x0) * (y1 - y0) < 0.8 * image[0].numel():
            self._expect(moved, (x0 + right, y0 + down, x1 + right, y1 + down), "put further by")
        middle = [2 * side for side in best]
        self._expect(larger[0].round().byte(), (*middle,), "twice as large as")

    def _expect(self, image: Tensor, box: tuple[float, ...], how: str) -> None:
        """Expect a detection about the middle of a box."""
        found = attempted(lambda: self._alone(image))
        middles = [_middle(each) for each in found.boxes.tolist()]
        wanted, side = _middle(box), max(box[2] - box[0], box[3] - box[1])
        nearest = min(middles, key=lambda each: dist(each, wanted), default=None)
        if nearest is None or dist(nearest, wanted) > APART * side + 2:
            got = "nothing" if nearest is None else f"({nearest[0]:.0f}, {nearest[1]:.0f})"
            expected = f"({wanted[0]:.0f}, {wanted[1]:.0f})"
            by = f" {SHIFT}" if how.endswith("by") else ""
            fail(
                self.stage,
                f"boxes: in an image {how}{by or ' before'} the middle should be {expected}, got "
                f"{got}; expected (x, y) in pixels of the image that it is given",
            )

    def test_left_and_right_are_the_subjects_own(self) -> None:
        """On the portraits, whose eyes are known: a left eye is on the right of the image."""
        if self.images is not None:
            pytest.skip("where left and right are is known of the kit's own photos alone")
        for image, face in zip(self._images(), samples.FACES, strict=False):
            found = attempted(partial(self._alone, image))
            across = dist(face[0], face[1])
            for index in range(len(found)):
                points = found.subject(index).keypoints
                _check_face(self.stage, points, dict(zip(samples.FACE, face, strict=True)), across)


def _best(found: Detections) -> tuple[float, ...]:
    if not len(found):
        pytest.skip("it finds nothing in the kit's photos; set `images` to some in which it does")
    return tuple(found.boxes[0].tolist())


def _middle(box: Sequence[float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _check_face(
    stage: Detector,
    points: Mapping[str, tuple[float, float]],
    face: Mapping[str, tuple[float, float]],
    across: float,
) -> None:
    """Check keypoints that lie on the face by their names and those of the other side."""
    for name in ("left_eye", "right_eye"):
        other = name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        if name not in points or dist(points[name], face[other]) > across / 4:
            continue
        fail(
            stage,
            f"keypoints: {name} is where the subject's {other} is; left and right are the "
            "subject's own",
        )


class AnnotationDetectorTests:
    """The tests of every detector that goes by the photo's file."""

    stage: ClassVar[AnnotationDetector]

    def test_it_answers_for_photos_that_it_does_not_know(self) -> None:
        """It finds nothing in them, or says why they do not fit."""
        photos = [samples.photo(index) for index in range(3)]
        for photo in photos:
            try:
                told(self.stage, partial(contract.annotate, self.stage, photo))
            except PhotoError:
                continue  # it says that they do not fit
        if not isinstance(strangers := self.stage.strangers(photos), str | None):
            fail(self.stage, f"strangers: expected a text or None, got {strangers!r}")


class EmbedderTests:
    """The tests of every embedder."""

    stage: ClassVar[Embedder]

    def _vectors(self, count: int | None = None) -> list[Tensor]:
        need_weights(self.stage)
        torch.manual_seed(0)
        return contract.embed(self.stage, samples.images()[:count], samples.detections()[:count])

    def _alone(self) -> list[Tensor]:
        need_weights(self.stage)
        rows = []
        for image, found in zip(samples.images(), samples.detections(), strict=True):
            torch.manual_seed(0)
            rows += contract.embed(self.stage, [image], [found])
        return rows

    def test_it_embeds_as_its_contract_allows(self) -> None:
        """One row a detection, of length 1; none where there is no detection."""
        rows = told(self.stage, self._alone)
        if len(widths := {row.shape[1] for row in rows}) > 1:
            fail(self.stage, f"embeddings: expected as many numbers in every row, got {widths}")

    def test_a_batch_gives_what_each_image_gives_alone(self) -> None:
        """A run embeds in batches of images of different sizes."""
        alone = attempted(self._alone)
        together = told_of_batch(self.stage, len(alone), self._vectors)
        for one, other in zip(alone, together, strict=True):
            if (apart := float((one - other).norm(dim=1).sum())) > SAME:
                fail(self.stage, f"a row is another among others than alone, by {apart:.2g}")

    def test_it_gives_the_same_twice_and_leaves_the_images_as_they_are(self) -> None:
        """As in a run that goes on."""
        need_weights(self.stage)
        images, found = samples.images()[:2], samples.detections()[:2]
        torch.manual_seed(0)
        first = attempted(lambda: contract.embed(self.stage, images, found))
        if not all(torch.equal(*pair) for pair in zip(images, samples.images(), strict=False)):
            fail(self.stage, "embed: it writes into the images that it is given; copy them")
        for one, other in zip(first, self._vectors(2), strict=True):
            if float((one - other).norm(dim=1).sum()) > SAME:
                fail(self.stage, "it gives another row the second time, though torch is seeded")

    def test_two_people_have_two_vectors(self) -> None:
        """Two that are the same tell nobody apart."""
        first, second = attempted(lambda: self._vectors(2))
        if float((first[0] - second[0]).norm()) < SAME:
            fail(self.stage, "embeddings: the same for two different people")

    def test_same_above_is_a_cosine(self) -> None:
        """It is compared with products of rows of length 1."""
        if not -1 < self.stage.same_above <= 1:
            fail(self.stage, f"same_above: expected -1 to 1, got {self.stage.same_above}")


class SubjectSelectorTests:
    """The tests of every subject selector."""

    stage: ClassVar[SubjectSelector]

    def test_it_chooses_or_says_why_not(self) -> None:
        """In five photos with no, one and two people."""
        observations = samples.observations(embedded="embeddings" in self.stage.requires())
        choices = told(self.stage, lambda: contract.select(self.stage, observations, {}))
        for choice, observation in zip(choices, observations, strict=True):
            if choice.index is None and not str(choice.reason).strip():
                fail(self.stage, f"{observation.photo.name}: it rejects it without a reason")
        again = contract.select(self.stage, observations, {})
        if choices != again:
            fail(self.stage, "it chooses otherwise the second time")

    @pytest.mark.parametrize("count", [0, 1])
    def test_few_photos_are_enough(self, count: int) -> None:
        """A series of none, and of one photo."""
        some = samples.observations(embedded="embeddings" in self.stage.requires())[:count]
        told(self.stage, lambda: contract.select(self.stage, some, {}))

    def test_photos_that_show_nothing_are_rejected(self) -> None:
        """Whatever else it goes by."""
        every = samples.observations(embedded="embeddings" in self.stage.requires())
        nothing = [each for each in every if not len(each.detections)] * 3
        for choice in attempted(lambda: contract.select(self.stage, nothing, {})):
            if not choice.reason:
                fail(self.stage, f"expected a reason for a photo without detections, got {choice}")

    def test_those_whom_it_tells_apart_are_in_the_photos(self) -> None:
        """Only where it tells individuals apart."""
        if not isinstance(self.stage, IdentitySelector):
            pytest.skip("it does not tell individuals apart")
        stage, every = self.stage, samples.observations()
        told(stage, lambda: contract.individuals(stage, every))
