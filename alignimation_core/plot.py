"""Plots for notebooks: what was found, what must coincide, and what came of it, one call each.

::

    from alignimation_core import load, plot

    photo = load("photo.jpg")
    plot.detections(photo, MTCNN().detect(photo))

Each returns a matplotlib figure that a notebook shows; ``savefig`` writes it. Photos are what
``load`` returns, floating point in [0, 1], files, or what ``order`` lists. It needs matplotlib:
``pip install 'alignimation[plot]'``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

try:
    from matplotlib.axes import Axes
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke
except ImportError as error:
    what = "alignimation_core.plot needs matplotlib: pip install 'alignimation[plot]'"
    raise ImportError(what) from error

from alignimation_core.api import images
from alignimation_core.api.data import Detections, File, Photo, Subject
from alignimation_core.api.errors import printable
from alignimation_core.api.mask import scaling
from alignimation_core.api.registration import Target
from alignimation_core.photos import decoder
from alignimation_core.record import Record, read_file
from alignimation_core.report.plots import outliers

if TYPE_CHECKING:
    from torch import Tensor

Picture: TypeAlias = "Tensor | str | File | Photo"
"""A photo: its pixels, its file, or its facts as ``order`` lists them."""

COLOURS = ("#0c8599", "#e8590c", "#9c36b5", "#2f9e44", "#f08c00", "#1864ab")
"""Of one detection after the other."""
MOST_NAMED = 17
"""Keypoints whose names are drawn."""
LONGEST, SMALL = 900, 300
"""Pixels of a picture's longer side that are drawn at least, of a large one and of a small one."""
INCHES = 5.2
"""Of the longer side of a picture."""


class Plot(Figure):
    """A figure that is shown where it is the result of a notebook's cell."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()


def detections(photo: Picture, found: Detections | Subject) -> Plot:
    """Draw what was found in a photo: boxes with scores, keypoints, masks.

    Args:
        photo: the photo, full size.
        found: what a detector found in it, or the subject alone. Of one, keypoints are named.
    """
    image = _image_of(photo)
    subjects = (
        [found]
        if isinstance(found, Subject)
        else [found.subject(index) for index in range(len(found))]
    )
    plot, (axes,) = _figure([image], 1, INCHES)
    _show(axes, image)
    for i, subject in enumerate(subjects):
        _outline(axes, subject, COLOURS[i % len(COLOURS)], (image.shape[1], image.shape[2]))
    if len(subjects) == 1 and len(subjects[0].keypoints) <= MOST_NAMED:
        _name_keypoints(axes, subjects[0], image.shape[2])
    return plot


def targets(drawn: Target | Sequence[Target], photos: Sequence[Picture] | None = None) -> Plot:
    """Draw targets as heat maps: of each its channels, as bright as they weigh.

    Args:
        drawn: a target, several, or a stacked batch.
        photos: of as many, the pictures in whose pixels they are drawn, to be seen below them.

    Raises:
        ValueError: there are not as many photos as targets.
    """
    listed = _unstacked(drawn)
    if photos is not None and len(photos) != len(listed):
        raise ValueError(f"expected a photo for each of {len(listed)} targets, got {len(photos)}")
    plot, every = _figure([target.image for target in listed], len(listed), INCHES)
    for i, (axes, target) in enumerate(zip(every, listed, strict=True)):
        weights = (target.weights / target.weights.max().clamp(min=1e-12)).sqrt()
        heat = (target.image * weights[:, None, None]).amax(0).detach().cpu()
        extent = (0.0, float(heat.shape[1]), float(heat.shape[0]), 0.0)
        opaque = None
        if photos is not None:
            grey = _image_of(photos[i]).float().mean(0).numpy()
            axes.imshow(grey, cmap="gray", vmin=0, vmax=255, extent=extent)
            opaque = (1.2 * heat).sqrt().clamp(max=0.85).numpy()
        axes.imshow(heat.numpy(), cmap="inferno", vmin=0, vmax=1, extent=extent, alpha=opaque)
    return plot


def before_after(before: Sequence[Picture], after: Sequence[Picture]) -> Plot:
    """Draw photos above what became of them; last the mean of each row, sharp where all agree.

    Args:
        before: the photos as they were.
        after: as many, as they lie on one frame: all of one size.

    Raises:
        ValueError: there are not as many, or none; or what became of them differs in size.
    """
    import torch
    from torch.nn.functional import interpolate

    if len(before) != len(after):
        counts = f"got {len(before)} and {len(after)}"
        raise ValueError(f"expected as many photos before as after, {counts}")
    rows = [[_image_of(photo) for photo in row] for row in (before, after)]
    for place, image in enumerate(rows[1]):
        if image.shape != rows[1][0].shape:
            first, got = (tuple(each.shape) for each in (rows[1][0], image))
            raise ValueError(f"after[{place}]: expected shape {first} as of the first, got {got}")
    plot, places = _figure(2 * rows[1] + [*rows[1][:1]] * 2, len(before) + 1, INCHES / 2)
    drawn = iter(places)
    for row in rows:
        size = [*rows[1][0].shape[1:]]
        floats = [interpolate(image[None].float(), size, mode="bilinear") for image in row]
        mean = torch.cat(floats).mean(0).round().byte()
        for image in (*row, mean):
            _show(next(drawn), image)
    for at, text in ((0, "before"), (len(before), "mean"), (len(before) + 1, "after")):
        places[at].set_title(text, size=9)
    return plot


def contact_sheet(
    photos: Sequence[Picture], captions: Sequence[str] | None = None, columns: int | None = None
) -> Plot:
    """Draw many photos small, side by side.

    Args:
        photos: the photos.
        captions: a line for each; left out, what ``order`` lists has its date, or its name where
            only the file has one.
        columns: how many stand side by side; by the count of photos if left out.

    Raises:
        ValueError: there are none, or another number of captions, or no columns.
    """
    if columns is not None and columns < 1:
        raise ValueError(f"columns: expected 1 or more, got {columns}")
    if captions is None:
        captions = [_caption(photo) for photo in photos]
    if len(captions) != len(photos):
        raise ValueError(f"expected {len(photos)} captions, got {len(captions)}")
    pictures = [_image_of(photo, SMALL) for photo in photos]
    plot, every = _figure(pictures, columns or ceil(sqrt(2 * len(pictures))), 0.3 * INCHES)
    for axes, image, caption in zip(every, pictures, captions, strict=True):
        _show(axes, image, SMALL)
        axes.set_title(printable(caption), size=7, pad=2, parse_math=False)
    return plot


def _caption(photo: Picture) -> str:
    if not isinstance(photo, Photo):
        return ""
    return photo.path.name if photo.taken_from == "file" else f"{photo.taken:%Y-%m-%d}"


def residuals(record: Record | str | Path) -> Plot:
    """Draw how far the subject's keypoints are from the reference's, over time; outliers by name.

    In percent of the canvas's height, of every photo used, before the alignment and after it.

    Args:
        record: what ``run`` returned, or the ``run.json`` of an earlier run.

    Raises:
        ValueError: no photo has a residual.
        OutputError: the file is no run record.
    """
    told = record.as_json() if isinstance(record, Record) else read_file(Path(record))
    measured = [
        (datetime.fromisoformat(each["taken"]), each)
        for each in told["photos"]
        if each["status"] == "used" and each.get("residual") is not None
    ]
    if not measured:
        raise ValueError("no photo of this run has a residual: its detector knows no keypoints")
    times = [at for at, _ in measured]
    plot = Plot(figsize=(1.5 * INCHES, 0.7 * INCHES), layout="constrained")
    axes = plot.subplots()
    for key, label, colour in (
        ("residual_before", "before", "#adb5bd"),
        ("residual", "after", COLOURS[0]),
    ):
        values: Any = [each[key] for _, each in measured]
        axes.plot(times, values, "o", ms=4, color=colour, label=label)  # type: ignore[arg-type]
    for at, value, name in outliers([(at, e["residual"], e["path"]) for at, e in measured]):
        place: Any = at, value
        text = printable(name.rpartition("/")[2])
        axes.annotate(text, place, (5, 3), textcoords="offset points", size=7, parse_math=False)
    locator: Any = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(
        ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("% of the canvas's height")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    return plot


def _outline(axes: Axes, subject: Subject, colour: str, size: tuple[int, int]) -> None:
    """Draw the mask, the box with its score, and the keypoints of one subject."""
    if subject.mask is not None:
        scale = min(1.0, LONGEST / max(size))
        height, width = (max(1, round(side * scale)) for side in size)
        grid = subject.mask.transformed(scaling(scale, scale)).on((height, width)).numpy()
        half = 0.5 / scale
        spans = (half, width / scale - half, half, height / scale - half)
        axes.contourf(grid, [0.5, 2], colors=[colour], alpha=0.4, extent=spans)
        axes.contour(grid, [0.5], colors=[colour], linewidths=1.5, extent=spans)
    x0, y0, x1, y1 = subject.box
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color=colour, lw=2))
    label = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
    score = f"{subject.score:.2f}"
    axes.text(x0, y0, score, color="white", size=8, va="bottom", bbox=label, in_layout=False)
    for x, y in subject.keypoints.values():
        axes.plot(x, y, "o", color=colour, mec="white", mew=0.8, ms=5)


def _name_keypoints(axes: Axes, subject: Subject, width: int) -> None:
    """Write the names of keypoints on the outer side of the subject, where there is room."""
    middle = (subject.box[0] + subject.box[2]) / 2
    for name, (x, y) in subject.keypoints.items():
        outwards = "left" in name or ("right" not in name and x > middle)
        right = x < width * (0.8 if outwards else 0.2)
        axes.annotate(
            name,
            (x, y),
            (6 if right else -6, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            color="white",
            size=7,
            parse_math=False,
            path_effects=[withStroke(linewidth=1.5, foreground="black")],
            in_layout=False,
        )


def _figure(pictures: Sequence[Tensor], columns: int, inches: float) -> tuple[Plot, list[Axes]]:
    """Return a figure with axes for pictures, each as long as the first is of so many inches."""
    if not pictures:
        raise ValueError("there is nothing to draw")
    columns = min(columns, len(pictures))
    rows = ceil(len(pictures) / columns)
    height, width = pictures[0].shape[-2:]
    scale = inches / max(height, width)
    plot = Plot(figsize=(columns * width * scale, rows * height * scale), layout="constrained")
    every = [axes for row in plot.subplots(rows, columns, squeeze=False) for axes in row]
    for axes in every:
        axes.set_axis_off()
    return plot, every[: len(pictures)]


def _show(axes: Axes, image: Tensor, longest: int = LONGEST) -> None:
    """Show an image in its continuous pixels, from (0, 0) at its top left corner."""
    from torch.nn.functional import interpolate

    _, height, width = image.shape
    scale = longest / max(height, width)
    if scale < 1:
        size = [max(1, round(side * scale)) for side in (height, width)]
        image = interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0]
        image = image.round().byte()
    axes.imshow(image.permute(1, 2, 0).numpy(), extent=(0.0, width, height, 0.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def _image_of(photo: Picture, side: int | None = None) -> Tensor:
    """Return the (3, h, w) uint8 pixels of a photo; of a file, perhaps only as many as needed."""
    given: Any = photo
    if isinstance(given, str | Photo) or hasattr(given, "as_posix"):
        return decoder.load(given, side)
    return images.as_bytes(given, "photo")


def _unstacked(drawn: Target | Sequence[Target]) -> list[Target]:
    if not isinstance(drawn, Target):
        return [*drawn]
    if drawn.image.ndim == 3:
        return [drawn]
    pairs = zip(drawn.image, drawn.weights, strict=True)
    return [Target.of(image, weights=weights) for image, weights in pairs]
