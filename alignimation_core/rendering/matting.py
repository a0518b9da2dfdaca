"""From a coarse silhouette and the picture below it to a matte, and to the colours within it.

A silhouette of 28 x 28 cells on a whole person says where the edge is to within a cell, tens of
pixels of the picture. A guided filter alone cannot refine that: it takes every structure of its
window for the edge, and measured worse than the silhouette itself. So it comes last:

1. around each pixel, the colours of what is surely subject and what surely is not, one Gaussian
   each, give the odds of the pixel (Bai et al., Video SnapCut, SIGGRAPH 2009, with one Gaussian
   for their mixture);
2. a random walker with these odds and the silhouette's as its priors finds the edge where the
   picture has one (Grady, Multilabel Random Walker Image Segmentation Using Prior Models, CVPR
   2005);
3. a guided filter brings that from the reduced picture to every pixel of it (He and Sun, Fast
   Guided Filter, 2015, https://arxiv.org/abs/1505.00996), evaluated near the edge alone: kornia's,
   which evaluates it everywhere, costs three times as much on a CPU;
4. what of the old background shines through the edge is taken out of its colours.

Everything here is of one picture of (3, h, w) float32 RGB in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
"""The entries of a symmetric 3x3 matrix, in the order in which they are kept."""

COLOUR_NOISE = 1e-3
"""Least variance of a colour model."""
TRUST_IN_COLOUR = 0.3
MOST_FROM_COLOUR = 3.0
"""Log-odds at most that colour may speak against the silhouette."""
TRUST_IN_SILHOUETTE = 4.0
"""Factor on the silhouette's log-odds: its half-way line is more precise than its cells are."""
PRIOR = 0.02
"""Weight of a pixel's odds, against that of a link between two pixels of one colour."""
CONTRAST = 1500.0
"""How fast a link weakens with the squared difference of its pixels' colours."""
WEAKEST_LINK = 0.01
ITERATIONS = 20
GUIDED_NOISE = 1e-4
"""Variance of colour, in a window of the guided filter, below which there is no edge."""


def refine(image: Tensor, silhouette: Tensor, cell: float, real: Tensor) -> Tensor:
    """Move the edge of a silhouette to where the picture has it.

    Silhouette and result, which is steeper, are (h, w) float32 in [0, 1], and so is ``real``: how
    much of a pixel is picture and not an invented border. Of a silhouette's own ``cell`` the side
    is some ten pixels at best.
    """
    sure = 2 * silhouette - 1
    inside = _colour_model(image, real * sure.clamp(min=0).square(), cell)
    outside = _colour_model(image, real * sure.clamp(max=0).square(), cell)
    odds = TRUST_IN_COLOUR * (_distance(image, *outside) - _distance(image, *inside)) / 2
    odds = box(odds.clamp(-MOST_FROM_COLOUR, MOST_FROM_COLOUR)[None], 1)[0]
    prior = torch.sigmoid(odds + TRUST_IN_SILHOUETTE * torch.logit(silhouette, 1e-3))
    weight = PRIOR * (2 * prior - 1).abs() + 1e-4 + (sure.abs() > 0.98)
    walked = _random_walker(image, prior, weight)
    return ((walked - 0.5) * 4 + 0.5).clamp(0, 1)


def _colour_model(image: Tensor, weight: Tensor, cell: float) -> tuple[Tensor, Tensor]:
    """Return mean (3, h, w) and covariance (6, h, w) of the colours around each pixel."""
    step = max(2, round(cell / 2))
    weight = weight + 1e-6  # far from what is sure, all colours around
    sums = torch.cat([weight[None], weight * image, weight * _products(image)])
    reduced = _block_sums(sums, step)
    reduced = box(box(reduced, 1), 1)
    mean = reduced[1:4] / reduced[0]
    covariance = reduced[4:] / reduced[0] - _products(mean) + _diagonal(COLOUR_NOISE)
    height, width = weight.shape
    model = functional.interpolate(
        torch.cat([mean, covariance])[None],
        scale_factor=float(step),
        mode="bilinear",
        align_corners=False,
    )[0, :, :height, :width]
    return model[:3], model[3:]


def _block_sums(images: Tensor, step: int) -> Tensor:
    height, width = images.shape[-2:]
    padded = functional.pad(images, (0, -width % step, 0, -height % step))
    down, across = padded.shape[-2] // step, padded.shape[-1] // step
    return padded.reshape(len(images), down, step, across, step).sum((2, 4))


def _products(colour: Tensor) -> Tensor:
    return torch.stack([colour[i] * colour[j] for i, j in PAIRS])


def _diagonal(value: float) -> Tensor:
    return torch.tensor([value if i == j else 0.0 for i, j in PAIRS])[:, None, None]


def _distance(image: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return minus twice the log density of a Gaussian, up to a constant, (h, w)."""
    away = image - mean
    solved, determinant = _solve(covariance, away)
    return (away * solved).sum(0) + determinant.log()


def _solve(symmetric: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return the solutions (3, ...) of symmetric (6, ...) systems, and their determinants.

    Written out: torch.linalg.solve takes eight times as long on many small matrices.
    """
    rr, rg, rb, gg, gb, bb = symmetric
    u, v, w = right
    a, b, c = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    d, e, f = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = (a * rr + b * rg + c * rb).clamp(min=1e-20)
    x = a * u + b * v + c * w
    y = b * u + d * v + e * w
    z = c * u + e * v + f * w
    return torch.stack([x, y, z]) / determinant, determinant


def _random_walker(image: Tensor, prior: Tensor, weight: Tensor) -> Tensor:
    """Return the (h, w) that is near the prior and smooth but across edges.

    Minimises ``sum weight (x - prior)^2 + sum link (x_i - x_j)^2`` over neighbours i, j by
    conjugate gradients with Jacobi's preconditioner, started at the prior.
    """
    across = _links(image[:, :, 1:] - image[:, :, :-1])
    down = _links(image[:, 1:] - image[:, :-1])
    diagonal = weight.clone()
    diagonal[:, 1:] += across
    diagonal[:, :-1] += across
    diagonal[1:] += down
    diagonal[:-1] += down

    def times(x: Tensor) -> Tensor:
        y = diagonal * x
        y[:, 1:].addcmul_(across, x[:, :-1], value=-1)
        y[:, :-1].addcmul_(across, x[:, 1:], value=-1)
        y[1:].addcmul_(down, x[:-1], value=-1)
        y[:-1].addcmul_(down, x[1:], value=-1)
        return y

    x = prior.clone()
    residual = weight * prior - times(x)
    ahead = residual / diagonal
    direction, size = ahead, (residual * ahead).sum()
    for _ in range(ITERATIONS):
        if float(size) <= 1e-12 * x.numel():
            break
        forward = times(direction)
        length = size / (direction * forward).sum()
        x += length * direction
        residual -= length * forward
        ahead = residual / diagonal
        known, size = size, (residual * ahead).sum()
        direction = ahead + (size / known) * direction
    return x.clamp(0, 1)


def _links(difference: Tensor) -> Tensor:
    return torch.exp(-CONTRAST * difference.square().sum(0)) + WEAKEST_LINK


def guided(image: Tensor, reduced: Tensor, matte: Tensor, reach: int) -> Tensor:
    """Bring a matte of the reduced picture to the full one, along the picture's own edges.

    The fast guided filter (He and Sun, 2015) with a colour guide: from (h', w') to (h, w) float32
    in [0, 1]. ``reach`` is half the side of its window, pixels of the reduced picture.
    """
    sums = box(torch.cat([reduced, matte[None], matte * reduced, _products(reduced)]), reach)
    mean, level = sums[:3], sums[3]
    covariance = sums[7:] - _products(mean) + _diagonal(GUIDED_NOISE)
    slope, _ = _solve(covariance, sums[4:7] - level * mean)
    offset = level - (slope * mean).sum(0)
    plane = box(torch.cat([slope, offset[None]]), reach)
    # beyond these pixels all windows are flat
    around = (4 * reach + 1, 1, 2 * reach)
    edge = functional.max_pool2d(matte[None], *around) + functional.max_pool2d(
        -matte[None], *around
    )
    size = (image.shape[-2], image.shape[-1])
    flat, edge = (functional.interpolate(map_[None], size)[0, 0] for map_ in (matte[None], edge))
    place = edge.flatten().nonzero()[:, 0]
    slope_and_offset = _interpolated(plane, place, size, size)
    fine = (slope_and_offset[:3] * image.flatten(1)[:, place]).sum(0) + slope_and_offset[3]
    return flat.flatten().index_copy(0, place, ((fine - 0.05) / 0.9).clamp(0, 1)).reshape(size)


def foreground(image: Tensor, matte: Tensor, reach: int) -> Tensor:
    """Take the background out of the colours of half-covered pixels.

    Blur fusion (Forte, Approximate Fast Foreground Colour Estimation, ICIP 2021,
    https://arxiv.org/abs/2006.14970), its two means taken from the reduced picture, and from pure
    pixels rather than from mixed ones, in windows of twice ``reach`` pixels. The matte is (h, w).

    Returns:
        (3, h, w) float32 in [0, 1]: the picture where the matte is 1; the subject's colours
        alone where it is less, spread outwards, and nothing of the picture where it is 0.
    """
    step = max(1, reach // 4)
    few, share = sampled(image, step), sampled(matte[None], step)
    front, back = share**3, (1 - share) ** 3  # the purest pixels count
    sums = box(torch.cat([front * few, front, back * few, back]), reach // step)
    means = torch.cat([sums[:3] / (sums[3] + 1e-3), sums[4:7] / (sums[7] + 1e-3)])
    height, width = matte.shape
    grown = functional.interpolate(means[None, :3], scale_factor=float(step))[0, :, :height, :width]
    result = torch.where(matte == 1, image, grown).flatten(1)
    place = ((matte > 0) & (matte < 1)).flatten().nonzero()[:, 0]
    spanned = (means.shape[-2] * step, means.shape[-1] * step)
    here = _interpolated(means, place, (height, width), spanned)
    alpha, (front, back) = matte.flatten()[place], (here[:3], here[3:])
    left = image.flatten(1)[:, place] - alpha * front - (1 - alpha) * back
    result[:, place] = (front + alpha * left).clamp(0, 1)
    return result.reshape(3, height, width)


def _interpolated(
    maps: Tensor, place: Tensor, size: tuple[int, int], spanned: tuple[int, int]
) -> Tensor:
    """Return (C, n) of reduced maps at n pixels, bilinearly: far less work than at all of them.

    ``place`` is ``row * width + column`` in an image of ``size`` (height, width), of whose pixels
    the (C, h', w') maps cover ``spanned`` (height, width).
    """
    x = (place % size[1] + 0.5) * (2 / spanned[1]) - 1
    y = (torch.div(place, size[1], rounding_mode="floor") + 0.5) * (2 / spanned[0]) - 1
    grid = torch.stack([x, y], dim=-1)[None, None]
    return functional.grid_sample(
        maps[None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )[0, :, 0]


def sampled(images: Tensor, step: int) -> Tensor:
    """Return every ``step``-th pixel of (C, h, w), the middle ones of their blocks."""
    down, across = (
        (torch.arange(0, side, step) + step // 2).clamp(max=side - 1) for side in images.shape[-2:]
    )
    return images[:, down][:, :, across]


def box(images: Tensor, reach: int) -> Tensor:
    """Return the means of (C, h, w) over windows of ``2 reach + 1``, edges repeated.

    For small windows: by shifted sums, which take a fifth of the time of ``avg_pool2d``.
    """
    for axis, pad in ((-1, (reach, reach, 0, 0)), (-2, (0, 0, reach, reach))):
        length = images.shape[axis]
        padded = functional.pad(images[None], pad, mode="replicate")[0]
        images = padded.narrow(axis, 0, length).clone()
        for shift in range(1, 2 * reach + 1):
            images += padded.narrow(axis, shift, length)
    return images / (2 * reach + 1) ** 2
