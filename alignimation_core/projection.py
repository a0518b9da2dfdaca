"""What a trial run says of the whole: how long it will take, and how large it will be."""

from __future__ import annotations

from pathlib import Path

from alignimation_core.record import Record

STEPS = {
    "detecting": ("detector", "embedder"),
    "aligning": ("transform_model", "refine"),
    "rendering": ("renderer",),
}


def projection(record: Record, whole: int, looked: int, unknown: int) -> str:
    """Return a line on the cost of all photos, as a trial run with some of them lets expect.

    Args:
        record: of the trial run.
        whole: how many photos there are.
        looked: how many photos the trial's networks looked at; the others came from the store.
        unknown: of how many photos of the whole, the trial's among them, nothing was stored before
            the trial.
    """
    trial = max(1, sum(photo.sha256 is not None for photo in record.photos))
    often = {"detecting": unknown / looked if looked else 0.0}
    seconds = {
        step: sum(record.seconds.get(kind, 0.0) for kind in kinds) * often.get(step, whole / trial)
        for step, kinds in STEPS.items()
    }
    parts = ", ".join(f"{step} {_duration(value)}" for step, value in seconds.items() if value)
    size = sum(_bytes(record.folder / name) for name in record.outputs) * whole / trial
    line = f"all {whole} photos: about {_duration(sum(seconds.values()))} ({parts})"
    line += f" and {size / 1e6:.0f} MB" if size >= 1e6 else f" and {size / 1e3:.0f} kB"
    if unknown and not looked:
        line += (
            f"; without detecting {unknown} photos, which was not measured: the trial's photos "
            "were stored"
        )
    return line


def _bytes(output: Path) -> int:
    files = output.rglob("*") if output.is_dir() else [output]
    return sum(file.stat().st_size for file in files)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
