"""The files of an output folder at an address, by what its file system says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignimation_core.api import urls
from alignimation_core.output.written import Found, digest_in

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


class RemoteFiles:
    """An output folder at an address; see ``Files``."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs, self._root = fs, root

    def listing(self, name: str) -> dict[str, Found]:
        """Return what stands in the place of an output; see ``Files``."""
        path = f"{self._root}/{name}"
        try:
            info = self._fs.info(path)
            if info["type"] != "directory":
                return {name: _found(info)}
            found = self._fs.find(path, detail=True)
        except FileNotFoundError:
            return {}
        return {
            f"{name}/{each.removeprefix(path).lstrip('/')}": _found(info)
            for each, info in found.items()
            if info["type"] != "directory"
        }

    def digest(self, path: str) -> str:
        """Return the hex digest of a file."""
        with self._fs.open(f"{self._root}/{path}", "rb") as stream:
            return digest_in(stream)


def _found(info: Mapping[str, Any]) -> Found:
    linked = info["type"] == "link" or info.get("islink")
    time = next((f"{key} {info[key]}" for key in _TIMES if info.get(key)), None)
    return Found(None if linked else info.get("size"), urls.version(info) or time)
