"""Whose the files in the output folder are: only outputs of earlier runs are ever replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from alignimation_core.record import RECORD_NAME
from alignimation_core.source import Place


def name(path: str) -> str:
    """Return the path of a renderer as the run record names it, with ``/``."""
    return str(PurePosixPath(path.replace("\\", "/")))


def known(folder: Path) -> list[str]:
    """Return the outputs of earlier runs that stand in a folder, as its run record names them."""
    try:
        record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
        listed = {*record["outputs"], *record.get("kept", ())}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return sorted(each for each in listed if isinstance(each, str) and (folder / each).exists())


def obstacles(folder: Path, paths: list[str]) -> Iterator[tuple[Place, str]]:
    """Yield what stands in the way of writing outputs, each with its place in the recipe.

    Args:
        folder: the output folder; it need not exist.
        paths: the paths of the renderers, relative to it.
    """
    record = folder / RECORD_NAME
    if (record.exists() or record.is_symlink()) and not _is_record(record):
        yield ("output",), f"{record} is no run record; move it away, or choose another folder"
    earlier = known(folder)
    for i, path in enumerate(paths):
        relative = PurePosixPath(name(path))
        place: Place = ("renderers", i, "path")
        final = folder / relative
        for part in (*reversed(list(relative.parents)[:-1]), relative):
            here = folder / part
            if here.is_symlink():
                yield place, f"{here} is a link; outputs are not written through links"
                break
            if part != relative and here.exists() and not here.is_dir():
                yield place, f"{here} is a file; choose another path"
                break
        else:
            if final.exists() and str(relative) not in earlier:
                yield (
                    place,
                    f"{final} is no output of an earlier run; move it away, or choose another path",
                )


def _is_record(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and {"alignimation", "photos", "outputs"} <= record.keys()
