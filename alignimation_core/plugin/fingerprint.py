"""Cache key of a stage: version, code, options, weights."""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

from pydantic_core import to_jsonable_python

from alignimation_core.api.stages import AnnotationDetector, Stage
from alignimation_core.plugin.registry import registry


def fingerprint(kind: str, stage: Stage, on: str | None = None) -> str | None:
    """Return everything that a stage's return values depend on, but the photo.

    The plugin's version and code, this package's, the options but ``device``, and the contents of
    every file that the stage reads: weights, and files that options name.

    Args:
        kind: one of ``registry.KINDS``.
        stage: a stage of that kind.
        on: fingerprint of the stage whose return values this one is given.

    Returns:
        JSON with sorted keys; None for a stage that is not to be cached: an `AnnotationDetector`,
        whose annotations change with its file and cost nothing, and a class that no installed
        plugin has registered, of which nothing says when it changes.
    """
    found = registry().stages[kind].get(stage.name)
    if isinstance(stage, AnnotationDetector) or found is None or found.stage is not type(stage):
        return None
    facts = {
        "kind": kind,
        "name": stage.name,
        "plugin": found.distribution,
        "version": found.version,
        "code": code_digest(type(stage).__module__),
        "alignimation": version("alignimation"),
        "alignimation_code": code_digest(__name__),
        "options": to_jsonable_python(_contents(stage.model_dump(exclude={"device"}))),
        "weights": {
            needed.filename: needed.sha256 if local is None else _digest(local)
            for needed, local in stage.weights_needed()
        },
        "on": None if on is None else digest(on),
    }
    return json.dumps(facts, sort_keys=True, ensure_ascii=False)


def digest(text: str) -> str:
    """Return the SHA-256 of a fingerprint, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def code_digest(module: str) -> str:
    """Return the digest of the Python files of a loaded module's package.

    While a package is worked on, its version stays.
    """
    package = sys.modules[module.partition(".")[0]]
    home = Path(package.__file__ or sys.modules[module].__file__ or "")
    files = sorted(home.parent.rglob("*.py")) if home.name == "__init__.py" else [home]
    return digest("".join(_digest(file) for file in files))


def _contents(value: object) -> object:
    """Return an option with every file replaced by the digest of what is in it."""
    if isinstance(value, Path):
        return _digest(value) if value.is_file() else str(value)
    if isinstance(value, dict):
        return {key: _contents(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_contents(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted((_contents(each) for each in value), key=str)
    return value


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # the stage tells of it better, once it needs the file
        return f"{path}: cannot be read"
