"""Network weights: found in PyTorch's cache, downloaded once, verified, loaded.

A plugin declares what it needs as a `Weights` and asks for the tensors when its network is built::

    VGGFACE2 = Weights(
        filename="20180402-114759-vggface2.pt",
        url="https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
        "20180402-114759-vggface2.pt",
        sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        size=111_898_327,
        licence="published with facenet-pytorch (MIT); trained on VGGFace2, which has its terms",
    )
    network.load_state_dict(load(VGGFACE2))

A download goes to ``<file>.part``, is checked against its SHA-256 and only then gets its name. What
an interruption leaves in the ``.part`` is kept, and the next run asks for the rest alone. A lock
(``<file>.lock``, an empty file that stays) lets one process fetch while others wait for it.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from alignimation_core.api.errors import WeightsError
from alignimation_core.api.weights._download import (
    DownloadError,
    Progress,
    download,
    is_safe,
    size_of,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Progress", "Weights", "cache_folder", "fetch", "find", "load"]


@dataclass(frozen=True, slots=True)
class Weights:
    """A published file of weights.

    Attributes:
        filename: name in the cache; a plain file name, the publisher's own so that a copy which
            another program fetched is found.
        url: where the publisher keeps it: https, or http on this very machine.
        sha256: digest in lower-case hex: all 64 digits, or the first 8 or more (torchvision has
            eight of them in its file names).
        size: bytes; None where unknown. A server that offers another size is refused before what
            has been fetched so far is thrown away for it.
        licence: one line for people: terms of the weights and of the data they were trained on.

    Raises:
        WeightsError: a field has none of these forms.
    """

    filename: str
    url: str
    sha256: str
    size: int | None
    licence: str

    def __post_init__(self) -> None:
        """Check the fields."""
        if not self.filename or {"/", "\\"} & {*self.filename} or self.filename in {".", ".."}:
            raise WeightsError(
                f"weights {self.filename!r}: filename must be a plain file name, without folders"
            )
        if not is_safe(self.url):
            raise WeightsError(
                f"weights {self.filename}: url {self.url!r} must start with https:// (http:// is "
                "for this very machine only)"
            )
        if not re.fullmatch("[0-9a-f]{8,64}", self.sha256):
            raise WeightsError(
                f"weights {self.filename}: sha256 {self.sha256!r} must be 8 to 64 lower-case "
                "hexadecimal digits"
            )


def cache_folder() -> Path:
    """Return the folder where `torch.hub` keeps weights, which need not exist.

    ``$TORCH_HOME/hub/checkpoints``; without ``TORCH_HOME``,
    ``$XDG_CACHE_HOME/torch/hub/checkpoints``; without either, ``~/.cache/torch/hub/checkpoints``.
    """
    return _torch_home() / "hub" / "checkpoints"


def find(weights: Weights, local: Path | None = None) -> Path | None:
    """Return the local file, without reading it, which is cheap enough for a listing.

    Args:
        weights: what to look for, in `cache_folder` and in ``checkpoints`` of the same
            ``TORCH_HOME``, where facenet-pytorch keeps its own.
        local: the file that a recipe names as ``weights:``; nothing else is looked at then.

    Returns:
        The file, or None where there is none.
    """
    folders = (cache_folder(), _torch_home() / "checkpoints")
    paths = [folder / weights.filename for folder in folders] if local is None else [local]
    return next((path for path in paths if os.path.isfile(path)), None)  # noqa: PTH113 - never raises


def fetch(weights: Weights, *, progress: Progress | None = None) -> Path:
    """Return the verified file in the cache, downloading it where it is missing.

    A broken connection is resumed for as long as every attempt brings bytes; an earlier run's
    ``.part`` is resumed too, and fetched afresh where it proves wrong.

    Args:
        weights: what to fetch.
        progress: called after every piece, and once before the first; not called where the file is
            there already.

    Returns:
        The file; its SHA-256 has just been checked.

    Raises:
        WeightsError: the file cannot be fetched or written, or its digest is wrong.
    """
    if found := find(weights):
        return _verified(weights, found)
    import filelock

    path = cache_folder() / weights.filename
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{path}.lock"):
            if found := find(weights):
                return _verified(weights, found)
            _complete(weights, part, progress)
            part.replace(path)
    except DownloadError as error:
        raise WeightsError(
            f"{weights.filename} cannot be fetched from {weights.url}: {error}; try again later, "
            f"or save the file as {path}, or name a copy in the recipe, in the stage's option for "
            "weights"
        ) from error
    except OSError as error:
        raise WeightsError(
            f"{path}: cannot be written ({error.strerror or error}); make room or give leave to "
            "write there, or set TORCH_HOME to another folder"
        ) from error
    return path


def _complete(weights: Weights, part: Path, progress: Progress | None) -> None:
    """Download and verify `part`; what an earlier run left of it may be of a wrong file."""
    while True:
        resumed = size_of(part) > 0
        download(weights.url, part, size=weights.size, progress=progress)
        digest = _digest(part)
        if digest.startswith(weights.sha256):
            return
        part.unlink()
        if not resumed:
            raise DownloadError(
                f"what came has SHA-256 {digest}, expected {_expected(weights)}: the file there "
                "has changed, or something on the way alters it"
            )


def load(
    weights: Weights, local: Path | None = None, progress: Progress | None = None
) -> dict[str, Tensor]:
    """Return a file's tensors, downloading and verifying it first.

    Nothing in the file is ever run: PyTorch reads it with ``weights_only=True``.

    Args:
        weights: what to load.
        local: the file that a recipe names as ``weights:``, used in its stead and as it is: weights
            that somebody trained further have a digest of their own.
        progress: as in `fetch`.

    Returns:
        The state dict, on the CPU: tensors by the name of their parameter or buffer.

    Raises:
        WeightsError: the file is missing, cannot be fetched, has the wrong digest, or holds
            something else than a state dict.
    """
    if local is None:
        path = fetch(weights, progress=progress)
    elif find(weights, local):
        path = local
    else:
        raise WeightsError(
            f"{local}: no such file; name a file of weights that is there, or leave the option out "
            f"to use {weights.filename}"
        )
    import torch

    advice = "name a file written by torch.save(network.state_dict(), ...)"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    except Exception as error:  # whatever the bytes of a foreign file make the reader raise
        raise WeightsError(
            f"{path}: no file of weights, or a damaged one, or one with code in it; {advice}"
        ) from error
    if not isinstance(state, dict) or not state:
        raise WeightsError(f"{path}: holds no named tensors; {advice}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(
                f"{path}: {name!r} is of type {type(value).__name__}, not a named tensor; {advice}"
            )
    return cast("dict[str, Tensor]", state)


def _torch_home() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", f"{caches}/torch")
    return Path(os.path.expanduser(home))  # noqa: PTH111 - like torch.hub's, never raises


def _verified(weights: Weights, path: Path) -> Path:
    try:
        digest = _digest(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); check the file") from error
    if not digest.startswith(weights.sha256):
        raise WeightsError(
            f"{path}: SHA-256 is {digest}, expected {_expected(weights)}; delete it to fetch it "
            "again"
        )
    return path


def _expected(weights: Weights) -> str:
    return weights.sha256 if len(weights.sha256) == 64 else f"{weights.sha256}…"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
