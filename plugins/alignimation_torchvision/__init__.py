"""Detectors: torchvision's Mask R-CNN and Keypoint R-CNN, and `body`, which joins the two."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from alignimation_core import Detections, Detector, Mask, hookimpl
from alignimation_core.api.data import COCO_KEYPOINTS
from alignimation_core.api.stages import Ability, RecipePath
from alignimation_core.api.weights import Weights, load
from alignimation_torchvision._published import KEYPOINT_RCNN, LABELS, MASK_RCNN

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN

    from alignimation_torchvision._networks import Prediction


def _known_category(category: str) -> str:
    if category not in LABELS:
        lower = category.lower()
        near = [lower] if lower in LABELS else difflib.get_close_matches(lower, LABELS, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(LABELS)}"
        raise ValueError(f"{category!r} is not one of COCO's 80 categories; {hint}")
    return category


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; leave this out to use torchvision's weights")
    return path


Version = Annotated[
    Literal["v1", "v2"],
    Field(description="of Mask R-CNN; v2 draws better masks at two and a half times the work"),
]
OwnFile = Annotated[RecipePath, AfterValidator(_existing)]
OwnWeights = Annotated[
    OwnFile | None,
    Field(description="your own file: a state dict of the same network; relative to the recipe"),
]


class _RegionDetector(Detector):
    """A detector whose region-based network runs on a reduced image."""

    score_threshold: Annotated[
        float, Field(description="detections that score less are dropped", ge=0, lt=1)
    ] = 0.7
    short_side: Annotated[
        int,
        Field(
            description="pixels of an image's short side that the network sees; less is faster and "
            "finds less. The long side is limited to 5/3 of it",
            ge=64,
            le=2048,
        ),
    ] = 800

    def input_side(self) -> int:
        """Return the longest side that the network sees: 1333 pixels by default."""
        return self._input_size()[1]

    def _input_size(self) -> tuple[int, int]:
        return self.short_side, round(self.short_side * 1333 / 800)

    def finds(self) -> str:
        """Return ``person``."""
        return "person"

    def hint(self) -> str:
        """Return that there may be some of which it is less sure."""
        return f"try a lower `score_threshold` than {self.score_threshold:g}, or another detector"


class _NetworkDetector(_RegionDetector):
    @cached_property
    def network(self) -> GeneralizedRCNN:
        """The network with its weights, on the device, made when first used.

        Raises:
            WeightsError: the weights are missing, damaged, or those of another network.
        """
        from alignimation_torchvision import _networks

        [(published, own)] = self.weights_needed()
        state = load(published, own)
        network, needed = self._built()
        _networks.load_state(network, state, own or published.filename, needed)
        return _networks.optimised(network, self.torch_device())

    @abstractmethod
    def _built(self) -> tuple[GeneralizedRCNN, str]:
        """Return the network without weights, and the torchvision constructor that it is of."""

    @abstractmethod
    def _detections(self, found: Prediction) -> Detections: ...

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Detect what the network knows; see ``Detector.detect``.

        Raises:
            WeightsError: see `network`.
        """
        from alignimation_torchvision._networks import predict

        found = predict(self.network, images, self._input_size())
        return [self._detections(prediction) for prediction in found]


class MaskRCNN(_NetworkDetector):
    """Finds persons, cats, bicycles or any other of COCO's 80 categories, each with its mask.

    Mask R-CNN (He et al., ICCV 2017, https://arxiv.org/abs/1703.06870) with a ResNet-50 and a
    feature pyramid, as torchvision trained it on COCO: ``maskrcnn_resnet50_fpn`` (mask AP 34.6)
    and ``maskrcnn_resnet50_fpn_v2`` (41.8).

    A mask is kept as the network draws it, 28 x 28 on its box: less than a kilobyte. torchvision
    pastes masks with their boxes rounded to whole pixels; here they are placed unrounded, so that
    they do not jitter from photo to photo.
    """

    name: ClassVar[str] = "mask-rcnn"

    category: Annotated[
        str,
        AfterValidator(_known_category),
        Field(
            description="what to find: one of COCO's 80 categories, such as person, cat, dog, "
            "bicycle",
            json_schema_extra={"enum": list(LABELS)},
        ),
    ] = "person"
    version: Version = "v1"
    weights: OwnWeights = None

    def finds(self) -> str:
        """Return the category."""
        return self.category

    def provides(self) -> frozenset[Ability]:
        """Return ``masks``."""
        return frozenset({"masks"})

    def weights_needed(self) -> tuple[tuple[Weights, Path | None], ...]:
        """Return the file of the version."""
        return ((MASK_RCNN[self.version], self.weights),)

    def _built(self) -> tuple[GeneralizedRCNN, str]:
        from alignimation_torchvision._networks import mask_rcnn

        needed = "maskrcnn_resnet50_fpn" + ("_v2" if self.version == "v2" else "")
        return mask_rcnn(self.version, self._input_size(), self.score_threshold), needed

    def _detections(self, found: Prediction) -> Detections:
        assert found.masks is not None
        ours = found.labels == LABELS[self.category]
        boxes = found.boxes[ours]
        masks = tuple(
            Mask.of(mask, (x0, y0, x1, y1))
            for mask, (x0, y0, x1, y1) in zip(found.masks[ours], boxes.tolist(), strict=True)
        )
        return Detections(boxes=boxes, scores=found.scores[ours], masks=masks)


class KeypointRCNN(_NetworkDetector):
    """Finds persons with COCO's 17 keypoints: nose, eyes, ears, shoulders, ..., ankles.

    Keypoint R-CNN (He et al., ICCV 2017, https://arxiv.org/abs/1703.06870) with a ResNet-50 and a
    feature pyramid, as torchvision trained it on COCO: ``keypointrcnn_resnet50_fpn`` (keypoint
    AP 65.0).

    The network draws a heat map for every keypoint, seen or not, and names the place of its peak;
    the height of the peak has no bounds. The score is ``sigmoid(height - 2)``: 2 is the height
    above which the authors' own code (Detectron) takes a keypoint for seen, and scores 0.5 here;
    clearly seen keypoints reach 5 and more, which is 0.95.
    """

    name: ClassVar[str] = "keypoint-rcnn"

    weights: OwnWeights = None

    def provides(self) -> frozenset[Ability]:
        """Return ``keypoints`` and each by its name."""
        return frozenset({"keypoints", *(f"keypoints.{name}" for name in COCO_KEYPOINTS)})

    def weights_needed(self) -> tuple[tuple[Weights, Path | None], ...]:
        """Return the one file."""
        return ((KEYPOINT_RCNN, self.weights),)

    def _built(self) -> tuple[GeneralizedRCNN, str]:
        from alignimation_torchvision._networks import keypoint_rcnn

        network = keypoint_rcnn(self._input_size(), self.score_threshold)
        return network, "keypointrcnn_resnet50_fpn"

    def _detections(self, found: Prediction) -> Detections:
        assert found.keypoint_logits is not None
        return Detections(
            boxes=found.boxes,
            scores=found.scores,
            keypoints=found.keypoints,
            keypoint_scores=(found.keypoint_logits - 2).sigmoid(),
            keypoint_names=COCO_KEYPOINTS,
        )


class Body(_RegionDetector):
    """Finds persons with mask and keypoints, both of one and the same person.

    Runs `MaskRCNN` and `KeypointRCNN` on the same image and joins what they find, one to one, by
    how far the boxes overlap and how many keypoints lie in the mask. Where it cannot be told which
    keypoints belong to a mask, as of two persons in a close embrace, they are not joined. Persons
    found by one network alone stay among the detections, or the selector would take somebody else
    for the subject: their keypoint scores, or their mask, are 0 throughout, so that a target
    builder which needs the missing half refuses the photo. A score is the mean of both networks'.
    """

    name: ClassVar[str] = "body"

    version: Version = "v1"
    mask_weights: Annotated[
        OwnFile | None,
        Field(description="your own file for Mask R-CNN: a state dict; relative to the recipe"),
    ] = None
    keypoint_weights: Annotated[
        OwnFile | None,
        Field(description="your own file for Keypoint R-CNN: a state dict; relative to the recipe"),
    ] = None

    def provides(self) -> frozenset[Ability]:
        """Return ``masks``, ``keypoints`` and each keypoint by its name."""
        return self.silhouettes.provides() | self.skeletons.provides()

    def weights_needed(self) -> tuple[tuple[Weights, Path | None], ...]:
        """Return the files of both networks."""
        return self.silhouettes.weights_needed() + self.skeletons.weights_needed()

    @cached_property
    def silhouettes(self) -> MaskRCNN:
        """The detector that gives the masks."""
        return MaskRCNN(version=self.version, weights=self.mask_weights, **self._shared())

    @cached_property
    def skeletons(self) -> KeypointRCNN:
        """The detector that gives the keypoints."""
        return KeypointRCNN(weights=self.keypoint_weights, **self._shared())

    def _shared(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _RegionDetector.model_fields}

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Detect persons: boxes, scores, masks and keypoints; see ``Detector.detect``.

        Raises:
            WeightsError: weights are missing, damaged, or those of another network.
        """
        from alignimation_torchvision._join import join

        return list(map(join, self.silhouettes.detect(images), self.skeletons.detect(images)))


@hookimpl
def alignimation_detectors() -> Sequence[type[Detector]]:
    """Return the three detectors."""
    return [MaskRCNN, KeypointRCNN, Body]
