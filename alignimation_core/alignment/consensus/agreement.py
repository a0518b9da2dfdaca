"""Photos correct each other: every firm keypoint goes to where most photos agree that it is."""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from alignimation_core.alignment.consensus.correlation import (
    WINDOW,
    Spectra,
    shifts,
    thumbnails,
)
from alignimation_core.alignment.consensus.neighbours import hubs_of, neighbours
from alignimation_core.alignment.consensus.patches import Cut, Sampler, Spool
from alignimation_core.alignment.consensus.settlement import settle
from alignimation_core.alignment.consensus.shape import are_usable, common_frame
from alignimation_core.alignment.consensus.witnesses import Points, overruled
from alignimation_core.alignment.subjects import in_working_frames, keypoints_of
from alignimation_core.alignment.targets import Targets, stacked
from alignimation_core.api import geometry
from alignimation_core.api.data import Photo, Subject
from alignimation_core.api.stages import TargetBuilder, TransformModel
from alignimation_core.execution.executor import Executor
from alignimation_core.photos.decoder import Parts
from alignimation_core.store.fits import Fits

PASSES = 2
MARGIN = 12
"""Pixels around what is compared: room for what the passes move, and for a frame that is off."""
FIRM = 0.5
"""Least weight of a keypoint that is corrected, as a share of the greatest."""
MOST = 8
"""Keypoints that are corrected at most: the first of those that count most."""
WITNESSES = 3
"""Other keypoints that tell where these must be, at most."""
PHOTOS_A_BATCH = 4
BLOCK = 32
"""Photos whose patches are compared together."""
SAME = 0.01
"""Distance of a target's point from a keypoint at which it is that keypoint, pixels."""

Subjects = Sequence[tuple[Photo, Subject]]


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """The keypoints of N photos that count in their targets.

    Attributes:
        names: K of them.
        points: (N, K, 2) float64 in the photos' pixels; 0 where one was not found.
        weights: (N, K) float64, 0 for one that does not count.
        firm: (K,) bool, those that are corrected.
    """

    names: list[str]
    points: Tensor
    weights: Tensor
    firm: Tensor


def agree(
    subjects: Subjects,
    builder: TargetBuilder,
    model: TransformModel,
    executor: Executor,
    kept: Fits,
    step: Callable[[], None],
    parts: Parts,
    names: Container[str] | None = None,
) -> list[tuple[Photo, Subject]]:
    """Move keypoints to where the patches around them agree, photo against photo.

    Only those are moved on which the target builder lays weight, and of these the ones that count
    most. What patches cannot decide stays where the detector saw it. The answer is kept in the
    store. ``subjects``, in full-size pixels, are in the order of time; ``step`` is called for
    each; with ``names``, no others are moved. ``parts`` of photos need not be decoded again.

    Returns:
        The same photos, with their subjects' keypoints corrected.
    """
    keypoints = keypoints_that_count(subjects, builder, model, kept, names)
    if keypoints is not None and not keypoints.firm.any():
        keypoints = None
    places = None
    if keypoints is not None and len(subjects) > 1:
        key = _digest(subjects, keypoints, parts.min_side)
        places = kept.recall_series("agreement", key)
        if places is None:
            places = corrected(subjects, keypoints, executor, step, parts)
            kept.keep_series("agreement", key, places)
        else:
            for _ in subjects:
                step()
    if keypoints is None or places is None:
        for _ in subjects:
            step()
        return list(subjects)
    some = [(i, name) for i, name in enumerate(keypoints.names) if keypoints.firm[i]]
    rows = zip(subjects, places.tolist(), keypoints.weights.tolist(), strict=True)
    answer = []
    for (photo, subject), found, weights in rows:
        points = {name: (found[i][0], found[i][1]) for i, name in some if weights[i]}
        answer.append((photo, replace(subject, keypoints={**subject.keypoints, **points})))
    return answer


def keypoints_that_count(
    subjects: Subjects,
    builder: TargetBuilder,
    model: TransformModel,
    kept: Fits,
    allowed: Container[str] | None = None,
) -> Keypoints | None:
    """Return which keypoints the targets are built on: where these have points of weight.

    Firm are those that count most, of the allowed ones if there is a choice.
    """
    names = [*dict.fromkeys(name for _, subject in subjects for name in subject.keypoints)]
    framed = in_working_frames(subjects, model)
    built, summaries, _ = Targets(builder, model.working_side).summarise(framed, kept)
    if not names or not built:
        return None
    target = stacked(summaries)
    if target.points.shape[1] == 0:
        return None
    row_of = {item: row for row, item in enumerate(framed)}
    rows = torch.tensor([row_of[item] for item in built])
    points = keypoints_of([subject for _, subject in subjects], names)
    working_from_photo = torch.stack([item.working_from_photo for item in built])
    inside = geometry.apply(working_from_photo, points[rows])
    same = (inside[:, :, None] - target.points[:, None]).abs().amax(-1) < SAME
    weights = torch.zeros(points.shape[:2], dtype=torch.float64)
    weights[rows] = (same * target.point_weights[:, None]).amax(-1).double()
    usual = weights.amax(0)
    counted = usual > 0
    if not counted.any():
        return None
    usual = usual[counted]
    chosen = [name for name, counts in zip(names, counted.tolist(), strict=True) if counts]
    firm = usual >= FIRM * usual.max()
    if allowed is not None:
        firm &= torch.tensor([name in allowed for name in chosen])
    firm &= firm.cumsum(0) <= MOST
    return Keypoints(chosen, points[:, counted].nan_to_num(0.0), weights[:, counted], firm)


def _digest(subjects: Subjects, keypoints: Keypoints, min_side: int) -> str:
    """Return the digest, hex, of everything that the answer depends on, but the code."""
    told = sha256(repr((keypoints.names, keypoints.firm.tolist(), min_side)).encode())
    for tensor in (keypoints.points, keypoints.weights):
        told.update(tensor.numpy().astype("<f8").tobytes())
    for photo, subject in subjects:
        told.update(bytes.fromhex(photo.sha256))
        if (mask := subject.mask) is not None:
            numbers = [value for row in mask.image_from_mask for value in row]
            told.update(struct.pack(f"<2I{len(numbers)}d", mask.height, mask.width, *numbers))
            told.update(sha256(mask.data).digest())
    return told.hexdigest()


def corrected(
    subjects: Subjects,
    keypoints: Keypoints,
    executor: Executor,
    step: Callable[[], None],
    parts: Parts,
) -> Tensor:
    """Return the (N, K, 2) float64 places on which the photos agree, in the photos' pixels."""
    firm = keypoints.firm
    weights = keypoints.weights
    detected = keypoints.points
    places = detected.clone()
    looked_at = torch.cat([firm.nonzero()[:, 0], (~firm).nonzero()[:WITNESSES, 0]])
    count = int(firm.sum())
    first_from_photo, shape = common_frame(places, weights, firm)
    usable = are_usable(first_from_photo)
    size = WINDOW[0] + 2 * MARGIN, WINDOW[1] + 2 * MARGIN
    half = torch.tensor([size[1] / 2, size[0] / 2], dtype=torch.float64)
    corners = (shape[looked_at] - half).round()
    cut = Cut(tuple((int(x), int(y)) for x, y in corners.tolist()), size, parts.min_side)
    with Spool((len(corners), *size)) as spool:
        _cut_all(subjects, first_from_photo, usable, cut, executor, spool, step, parts)
        frame_from_photo = first_from_photo
        for _ in range(PASSES):
            photo_from_frame = _inverse(frame_from_photo, usable)
            sampler = Sampler(
                spool, first_from_photo @ photo_from_frame, corners[:count], shape[firm]
            )
            here, there, moved, agreeing = _compare(sampler, len(subjects))
            seen = (weights[:, firm] > 0) & usable[:, None]
            offsets = geometry.apply(frame_from_photo, detected[:, firm]) - shape[firm]
            offsets = torch.where(seen[..., None], offsets, torch.nan)
            settled, confirmed = settle(offsets, here, there, moved, agreeing)
            found = geometry.apply(photo_from_frame, settled + shape[firm])
            places[:, firm] = torch.where(seen[..., None], found, detected[:, firm])
            frame_from_photo, shape = common_frame(places, weights, firm)
            usable &= are_usable(frame_from_photo)

        others = looked_at[count:]

        def of_witnesses(frame_from_photo: Tensor) -> Sampler:
            inverse = _inverse(frame_from_photo, are_usable(frame_from_photo))
            there = corners[count:], shape[others]
            return Sampler(spool, first_from_photo @ inverse, *there, count)

        points = Points(places[:, firm], seen, shape[firm])
        witnesses = Points(places[:, others], weights[:, others] > 0, shape[others])
        places[:, firm] = overruled(points, confirmed, witnesses, frame_from_photo, of_witnesses)
    return places


def _inverse(matrices: Tensor, usable: Tensor) -> Tensor:
    unit = torch.eye(3, dtype=torch.float64)
    return geometry.inverse(torch.where(usable[:, None, None], matrices, unit))


def _cut_all(
    subjects: Subjects,
    frame_from_photo: Tensor,
    usable: Tensor,
    cut: Cut,
    executor: Executor,
    spool: Spool,
    step: Callable[[], None],
    parts: Parts,
) -> None:
    """Cut the patches of all photos; nothing is seen on those that cannot be read."""
    nothing = np.zeros((len(cut.corners), *cut.size), np.uint8)
    known = [i for i, is_usable in enumerate(usable.tolist()) if is_usable]
    items = [
        (photo, frame_from_photo[i], subject.mask, parts.of(photo))
        for i, (photo, subject) in ((i, subjects[i]) for i in known)
    ]
    starts = range(0, len(items), PHOTOS_A_BATCH)
    batches = (items[start : start + PHOTOS_A_BATCH] for start in starts)
    answers = (answer for batch in executor.map(cut, batches) for answer in batch)
    for is_usable in usable.tolist():
        answer = next(answers) if is_usable else nothing
        spool.append(answer if isinstance(answer, np.ndarray) else nothing)
        step()


def _in_blocks(photos: Tensor) -> list[Tensor]:
    return [photos[start : start + BLOCK] for start in range(0, len(photos), BLOCK)]


def _compare(sampler: Sampler, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compare each photo with its neighbours.

    Returns:
        Photos and others, (M,) int64; (M, K, 2) shifts and (M, K) weights, float64.
    """
    blocks = _in_blocks(torch.arange(count))
    hubs = hubs_of(count)
    reduced = torch.cat([thumbnails(sampler.windows(block)[0]) for block in blocks])
    here, there = neighbours(reduced, hubs)
    of_hubs = Spectra.join([Spectra.of(*sampler.windows(some)) for some in _in_blocks(hubs)])
    moved, weights = [], []
    for block in blocks:
        mine = (here >= block[0]) & (here <= block[-1])
        needed = torch.zeros(count, dtype=torch.bool)
        needed[here[mine]] = needed[there[mine]] = True
        needed[hubs] = False
        others = needed.nonzero()[:, 0]
        table = of_hubs
        if len(others):
            table = Spectra.join([of_hubs, Spectra.of(*sampler.windows(others))])
        row = torch.full((count,), -1)
        row[hubs] = torch.arange(len(hubs))
        row[others] = len(hubs) + torch.arange(len(others))
        for shift, weight in shifts(table, row[here[mine]], row[there[mine]]):
            moved.append(shift.double())
            weights.append(weight.double())
    return here, there, torch.cat(moved), torch.cat(weights)
