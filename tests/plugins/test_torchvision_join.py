"""A mask and keypoints are joined when they are of one person, and never otherwise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core import Detections, Mask
from alignimation_core.api.data import COCO_KEYPOINTS
from alignimation_torchvision._join import agreement, join, pair

SIZE = (300, 500)
PROPORTIONS = (  # of somebody standing, sideways from the middle and down, in heights
    (0.0, 0.08),
    *((0.02, 0.06), (-0.02, 0.06), (0.04, 0.07), (-0.04, 0.07)),
    *((0.11, 0.2), (-0.11, 0.2), (0.15, 0.35), (-0.15, 0.35), (0.16, 0.5), (-0.16, 0.5)),
    *((0.07, 0.52), (-0.07, 0.52), (0.07, 0.74), (-0.07, 0.74), (0.07, 0.95), (-0.07, 0.95)),
)
LIMBS = [(0, 0), (5, 6), (5, 11), (6, 12), (11, 12), (5, 12), (6, 11), (0, 5), (0, 6)]
LIMBS += [(5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16)]


def skeleton(x: float, top: float = 20, height: float = 250) -> Tensor:
    """The 17 keypoints of somebody standing, (17, 2)."""
    return torch.tensor(PROPORTIONS) * height + torch.tensor([x, top])


def silhouette(points: Tensor, thickness: float = 0.06) -> Tensor:
    """What lies within a fraction of the height from a limb, (h, w) bool."""
    height = float(points[:, 1].max() - points[:, 1].min())
    y = torch.arange(SIZE[0])[:, None] + 0.5
    x = torch.arange(SIZE[1])[None, :] + 0.5
    filled = torch.zeros(SIZE, dtype=torch.bool)
    for a, b in LIMBS:
        (ax, ay), (dx, dy) = points[a].tolist(), (points[b] - points[a]).tolist()
        length = max(dx * dx + dy * dy, 1e-9)
        along = (((x - ax) * dx + (y - ay) * dy) / length).clamp(0, 1)
        filled |= (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2 < (
            thickness * height
        ) ** 2
    return filled


def box_of(mask: Tensor) -> tuple[float, float, float, float]:
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    return float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1


def as_mask(mask: Tensor) -> Mask:
    """The silhouette as a network draws it: 28 x 28 on its box."""
    x0, y0, x1, y1 = (int(side) for side in box_of(mask))
    part = mask[None, None, y0:y1, x0:x1].float()
    small = functional.interpolate(part, (28, 28), mode="bilinear", antialias=True)
    return Mask.of(small[0, 0], box_of(mask))


def box_around(points: Tensor, thickness: float = 0.06) -> tuple[float, ...]:
    margin = thickness * (points[:, 1].max() - points[:, 1].min())
    return (*(points.amin(0) - margin).tolist(), *(points.amax(0) + margin).tolist())


def masked(silhouettes: list[Tensor], scores: list[float] | None = None) -> Detections:
    if not silhouettes:
        return Detections.empty(masks=True)
    return Detections(
        boxes=torch.tensor([box_of(mask) for mask in silhouettes]),
        scores=torch.tensor(scores or [0.9] * len(silhouettes)),
        masks=tuple(map(as_mask, silhouettes)),
    )


def skeletal(
    skeletons: list[Tensor], scores: list[float] | None = None, seen: list[Tensor] | None = None
) -> Detections:
    if not skeletons:
        return Detections.empty(COCO_KEYPOINTS)
    return Detections(
        boxes=torch.tensor([box_around(points) for points in skeletons]),
        scores=torch.tensor(scores or [0.9] * len(skeletons)),
        keypoints=torch.stack(skeletons),
        keypoint_scores=None if seen is None else torch.stack(seen),
        keypoint_names=COCO_KEYPOINTS,
    )


def owners(found: Detections, masks: list[Tensor], skeletons: list[Tensor]) -> set[tuple[str, str]]:
    """For each detection whose mask and whose keypoints it has, by letter."""
    letters = "ABCDEFGH"
    mask_of = {as_mask(mask): letters[i] for i, mask in enumerate(masks)}
    pairs = set()
    for i in range(len(found)):
        mine = [
            letters[k]
            for k, points in enumerate(skeletons)
            if torch.equal(found.keypoints[i], points) and found.keypoint_scores[i].any()
        ]
        mask = found.masks[i]
        pairs.add((mask_of[mask] if mask else "", mine[0] if mine else ""))
    return pairs


def test_each_mask_gets_its_own_keypoints_in_whatever_order_they_come() -> None:
    skeletons = [skeleton(x, height=h) for x, h in ((80, 250), (170, 180), (260, 240), (360, 120))]
    masks = [silhouette(points) for points in skeletons]
    silhouettes = masked(masks)
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)):
        found = join(silhouettes, skeletal([skeletons[k] for k in order]))
        assert owners(found, masks, skeletons) == {("A", "A"), ("B", "B"), ("C", "C"), ("D", "D")}


def test_somebody_half_hidden_keeps_what_is_seen_of_them() -> None:
    front, back = skeleton(200), skeleton(235, top=25)
    in_front = silhouette(front)
    behind = silhouette(back) & ~in_front
    agreed = agreement(masked([in_front, behind]), skeletal([front, back]))
    assert agreed[0, 1] > 0.15, "keypoints of one lie in the mask of the other"
    found = join(masked([in_front, behind]), skeletal([front, back]))
    assert owners(found, [in_front, behind], [front, back]) == {("A", "A"), ("B", "B")}


@pytest.mark.parametrize("apart", [20, 30, 45, 60, 90])
def test_halves_of_two_persons_are_never_joined(apart: float) -> None:
    """One network sees only the one who embraces, the other only the one who is embraced."""
    front, back = skeleton(200), skeleton(200 + apart, top=32)
    in_front = silhouette(front)
    found = join(masked([in_front], [0.9]), skeletal([back], [0.8]))
    assert owners(found, [in_front], [front, back]) == {("A", ""), ("", "B")}


def test_a_whole_person_wins_over_a_part_found_as_another() -> None:
    points = skeleton(200)
    whole = silhouette(points)
    torso = whole.clone()
    torso[150:] = False
    found = join(masked([torso, whole]), skeletal([points]))
    assert owners(found, [torso, whole], [points]) == {("B", "A"), ("A", "")}


def test_keypoints_that_were_not_seen_do_not_count() -> None:
    points = skeleton(200)
    upper = silhouette(points)
    upper[160:] = False  # cut by a table, and so is the skeletons' box
    seen = torch.where(points[:, 1] < 160, 0.95, 0.02)
    people = skeletal([points], seen=[seen])
    people = Detections(
        boxes=torch.tensor([box_of(upper)]),
        scores=people.scores,
        keypoints=people.keypoints,
        keypoint_scores=people.keypoint_scores,
        keypoint_names=COCO_KEYPOINTS,
    )
    assert agreement(masked([upper]), people)[0, 0] > 0.9
    found = join(masked([upper]), people)
    assert owners(found, [upper], [points]) == {("A", "A")}


def test_keypoints_of_no_weight_agree_with_nothing() -> None:
    points = skeleton(200)
    assert agreement(
        masked([silhouette(points)]), skeletal([points], seen=[torch.zeros(17)])
    ).tolist() == [[0.0]]


def test_who_was_found_by_one_network_alone_stays() -> None:
    both, mask_only, points_only = skeleton(90), skeleton(240), skeleton(390)
    masks = [silhouette(both), silhouette(mask_only)]
    found = join(masked(masks, [0.8, 0.9]), skeletal([points_only, both], [0.7, 0.6]))
    assert torch.allclose(found.scores, torch.tensor([0.7, 0.45, 0.35]))
    assert [mask is None for mask in found.masks] == [False, False, True]
    assert found.keypoint_scores.tolist() == [[1.0] * 17, [0.0] * 17, [1.0] * 17]
    assert torch.equal(found.keypoints[0], both)
    assert torch.equal(found.keypoints[2], points_only)
    assert found.boxes.tolist() == [
        list(box_of(masks[0])),
        list(box_of(masks[1])),
        pytest.approx(box_around(points_only)),
    ]
    assert found.subject(1).keypoints == {}


def test_an_image_without_persons_joins_to_nothing() -> None:
    found = join(masked([]), skeletal([]))
    assert len(found) == 0
    assert found.masks == ()
    assert found.keypoints.shape == (0, 17, 2)
    assert found.keypoint_names == COCO_KEYPOINTS


def test_one_network_without_persons_leaves_the_others() -> None:
    points = skeleton(200)
    assert join(masked([silhouette(points)]), skeletal([])).keypoint_scores.sum() == 0
    assert join(masked([]), skeletal([points])).masks == (None,)


def test_the_sum_of_agreement_counts_not_the_best_pair() -> None:
    assert pair(torch.tensor([[0.9, 0.8], [0.8, 0.1]])) == {0: 1, 1: 0}


def test_a_toss_up_is_left_open() -> None:
    assert pair(torch.tensor([[0.7, 0.68], [0.68, 0.7]])) == {}
    assert pair(torch.tensor([[0.8, 0.5], [0.5, 0.7]])) == {0: 0, 1: 1}
    assert pair(torch.tensor([[0.7, 0.68, 0], [0.68, 0.7, 0], [0, 0, 0.8]])) == {2: 2}


def test_what_hardly_agrees_is_no_pair() -> None:
    assert pair(torch.tensor([[0.34]])) == {}
    assert pair(torch.tensor([[0.36]])) == {0: 0}
    assert pair(torch.zeros(0, 3)) == {}


def test_a_crowd_is_paired_quickly_and_right() -> None:
    rng = torch.Generator().manual_seed(0)
    count = 25
    truth = torch.randperm(count, generator=rng)
    agreed = torch.rand(count, count, generator=rng) * 0.6
    agreed[torch.arange(count), truth] = 0.8 + 0.1 * torch.rand(count, generator=rng)
    assert pair(agreed) == dict(enumerate(truth.tolist()))
