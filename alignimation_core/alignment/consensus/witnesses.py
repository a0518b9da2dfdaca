"""Where a point must be that no other photo confirms: the points around it witness.

An eye that is closed or covered looks like no other, and a detector may see it far off. The same
photo's other keypoints, found by patches as eyes are, tell where it should be. How well they know
is seen on photos whose eyes are confirmed; a place that is out of the question by that is replaced.
On a head that turns or smiles they know little, and then the detector's place stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from alignimation_core.alignment.consensus.correlation import Spectra, shifts
from alignimation_core.alignment.consensus.patches import Sampler
from alignimation_core.alignment.consensus.settlement import NOISE, SUPPORT
from alignimation_core.alignment.consensus.shape import are_usable
from alignimation_core.api import geometry
from alignimation_core.api.registration import procrustes
from alignimation_core.api.sampling import spread

PEERS = 8
"""Photos with which a photo's witnesses are compared, at most."""
TESTED = 12
"""Photos on which it is seen how well witnesses know, at most."""
FEWEST = 4
"""Of these, at least."""
BEYOND = 4.0
"""Times the witnesses' usual error at which a place is out of the question, or they are."""
FINEST = 0.5
"""Least usual error, pixels."""
ALIKE = 0.7
"""Least likeness of a witness to its peers, as a share of what is usual."""
ENOUGH = 3
"""Points that must agree on a frame, at least."""
PASSES = 2
"""Times that witnesses are looked for: the first frame is the detector's."""
BLOCK = 32
"""Photos whose witnesses are compared together."""
ROUNDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Points of N photos, P of a kind.

    Attributes:
        places: (N, P, 2) float64 in the photos' pixels.
        seen: (N, P) bool.
        shape: (P, 2) float64, their mean places in the common frame.
    """

    places: Tensor
    seen: Tensor
    shape: Tensor


def overruled(
    points: Points,
    confirmed: Tensor,
    witnesses: Points,
    frame_from_photo: Tensor,
    sampler: Callable[[Tensor], Sampler],
) -> Tensor:
    """Replace places that the witnesses exclude.

    Args:
        points: F of each photo.
        confirmed: (N, F) bool, those that other photos confirm.
        witnesses: W of each photo.
        frame_from_photo: (N, 3, 3), of no use for a photo of which nothing is confirmed.
        sampler: samples the windows of the witnesses in frames, by (N, 3, 3) ``frame_from_photo``.

    Returns:
        (N, F, 2) places of the points.
    """
    places = points.places.clone()
    if len(witnesses.shape) < 2:
        return places
    own_frame = procrustes.similarity_from_points(
        witnesses.places, witnesses.shape.expand_as(witnesses.places), witnesses.seen.double()
    )
    able = are_usable(own_frame)
    known = (confirmed.all(1) & able).nonzero()[:, 0]
    asked = ((points.seen & ~confirmed).any(1) & able).nonzero()[:, 0]
    if len(known) < FEWEST or not len(asked):
        return places
    tested = known[spread(len(known), TESTED)]
    photos = torch.cat([tested, asked])
    is_tested = torch.arange(len(photos)) < len(tested)
    own, sure = points.places[photos], confirmed[photos]
    frame = own_frame[photos]
    peers, of_peers = known[spread(len(known), PEERS)], sampler(frame_from_photo)
    for _ in range(PASSES):
        own_frame[photos] = frame
        off, alike = _found(photos, peers, of_peers, sampler(own_frame))
        seen_at = geometry.apply(geometry.inverse(frame), witnesses.shape)
        here = torch.cat([seen_at, own], 1)
        there = torch.cat([witnesses.shape + off, points.shape.expand_as(own)], 1)
        believed = witnesses.seen[photos] & (alike >= SUPPORT)
        fitted, fine = _frames(here, there, torch.cat([believed, sure & ~is_tested[:, None]], 1))
        frame = torch.where(fine[:, None, None], fitted, frame)
    believed &= alike >= ALIKE * alike[is_tested].median(0).values
    for i, helped in product(range(len(points.shape)), (True, False)):
        rest = torch.arange(len(points.shape)) != i
        say = torch.cat([believed, sure & rest & helped], 1)
        fitted, fine = _frames(here, there, say)
        trial = fine & is_tested
        if int(trial.sum()) < FEWEST:
            continue
        amiss = (geometry.apply(fitted, here) - there).square().sum(-1)
        amiss = ((amiss * say).sum(1) / say.sum(1).clamp(min=1)).sqrt()
        error = geometry.apply(fitted, own)[:, i] - points.shape[i]
        usual = error[trial].median(0).values
        error = (error - usual).norm(dim=1)
        most, worst = (BEYOND * each[trial].median().clamp(min=FINEST) for each in (error, amiss))
        out = fine & (error > most) & (amiss <= worst) & (sure[:, rest].all(1) == helped)
        out &= points.seen[photos, i] & ~sure[:, i]
        meant = geometry.apply(geometry.inverse(fitted), (points.shape[i] + usual)[None])[:, 0]
        places[photos[out], i] = meant[out]
    return places


def _frames(here: Tensor, there: Tensor, say: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (n, 3, 3) frames that points give, and whether there are enough of them."""
    frames = procrustes.similarity_from_points(here, there, say.double())
    fine = are_usable(frames) & (say.sum(1) >= ENOUGH)
    return torch.where(fine[:, None, None], frames, torch.eye(3, dtype=torch.float64)), fine


def _found(
    photos: Tensor, peers: Tensor, of_peers: Sampler, of_photos: Sampler
) -> tuple[Tensor, Tensor]:
    """Return how far off their windows n photos' witnesses are, (n, W, 2); how alike, (n, W)."""
    known = Spectra.of(*of_peers.windows(peers))
    parts = []
    for block in torch.split(photos, BLOCK):
        table = Spectra.join([known, Spectra.of(*of_photos.windows(block))])
        here = torch.arange(len(block)).repeat_interleave(len(peers)) + len(peers)
        there = torch.arange(len(peers)).repeat(len(block))
        pairs = [torch.cat(part) for part in zip(*shifts(table, here, there), strict=True)]
        sizes = len(block), len(peers)
        moved, weights = (part.double().reshape(*sizes, *part.shape[1:]) for part in pairs)
        weights = weights * (block[:, None] != peers)[..., None]
        parts.append(_agreed(moved, weights))
    off, total = (torch.cat(part) for part in zip(*parts, strict=True))
    return off, total


def _agreed(moved: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (n, W, 2) on which most of (n, Q, W, 2) agree, and the weight of these."""
    off = torch.where(weights[..., None] > 0, moved, torch.nan).nanmedian(1).values.nan_to_num(0.0)
    firm = weights
    for _ in range(ROUNDS):
        firm = weights / (1 + (moved - off[:, None]).square().sum(-1) / NOISE**2)
        total = firm.sum(1)
        off = (firm[..., None] * moved).sum(1) / total.clamp(min=1e-9)[..., None]
    return off, firm.sum(1)
