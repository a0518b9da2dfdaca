"""Addresses such as ``s3://bucket/photos/``: told from local paths, looked at, and explained.

An address is what fsspec reads at one of ``SCHEMES``, as universal_pathlib's ``UPath``; both are
imported only when there is an address. ``file://`` is another spelling of a local path, and no
address.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from alignimation_core.api.errors import in_one_line

if TYPE_CHECKING:
    from upath import UPath


SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "sftp", "ssh", "memory")
"""Of fsspec's, those that hold photos and outputs under credentials that the user has set up.

The others run what a recipe names (``reference://``, ``cached://``), read what it does not name
(``http://``: whatever this machine can reach), or hold nothing that a run could write.
"""
HELD = "a recipe must hold no password; put it into fsspec's configuration (~/.config/fsspec/)"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters or more: C: is a drive
_CONTENT = ("ETag", "etag", "md5Hash", "content_md5", "Content-MD5", "checksum", "crc32c")
"""Where file systems keep what changes with a file's content, in fsspec's ``info``."""
_listed: dict[UPath, str | None] = {}
"""The versions of files by the last listing; a file system looks through all of it for each."""


class AddressError(ValueError):
    """An address cannot be used; the text is the reason and what to do, without the address."""


def plain(text: str) -> str:
    """Return the path in a ``file://`` address (nothing in it is decoded), other text as it is."""
    match = re.match(r"(?:file|local)://(.*)", text, re.IGNORECASE | re.DOTALL)
    return re.sub(r"^/(?=[A-Za-z]:)", "", match[1]) if match else text


def is_address(text: str) -> bool:
    """Return whether a text is an address: a scheme, ``://`` and the rest."""
    return _SCHEME.match(text) is not None


def at(text: str) -> UPath:
    """Return the place at an address; nothing is asked of its server.

    Raises:
        AddressError: a package is missing, the scheme is none of ``SCHEMES``, addresses are
            chained, or the address holds a password.
    """
    match = _SCHEME.match(text)
    assert match is not None
    scheme = match[1].lower()
    if scheme not in SCHEMES:
        raise AddressError(_refused(scheme))
    if "::" in text:
        raise AddressError("addresses are not chained by `::`; give the one of the photos")
    if _has_password(text[match.end() :]):
        raise AddressError(HELD)
    try:
        from upath import UPath
    except ImportError:
        raise AddressError(
            "addresses need one more package: pip install 'alignimation[remote]'"
        ) from None
    _require(scheme)
    try:
        place = UPath(scheme + text[len(scheme) :])
        options = place.storage_options.keys()
    except Exception as error:  # whatever a file system makes of an address
        raise AddressError(f"this is no address of {scheme}: {in_one_line(error)}") from error
    if {"password", "secret", "token"} & options:
        raise AddressError(HELD)
    return place


def _has_password(rest: str) -> bool:
    """Return whether what follows a scheme holds a password."""
    return ":" in rest.partition("/")[0].rpartition("@")[0]


def _refused(scheme: str) -> str:
    known = ", ".join(f"{each}://" for each in SCHEMES if each != "memory")
    near = difflib.get_close_matches(scheme, SCHEMES, n=1)
    hint = f"did you mean {near[0]}://? " if near else ""
    return f"{scheme}:// is not read; {hint}known are {known}"


def _require(scheme: str) -> None:
    """Raise unless the package is there that a scheme stands on."""
    from fsspec import get_filesystem_class
    from fsspec.registry import known_implementations

    try:
        get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        package = known_implementations.get(scheme, {}).get("class", "").partition(".")[0]
        what = f"{scheme}:// needs one more package"
        if package and package != "fsspec":
            what += f": pip install {package}"
        cause = error.__cause__ or error
        raise AddressError(f"{what} ({in_one_line(cause)})") from error


def reason(error: BaseException) -> str:
    """Return what a file system's error means, and what to do."""
    if isinstance(error, AddressError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, PermissionError):
        text = " ".join(str(error).split()) or "no reason given"
        return f"access is denied ({text}); check your credentials and what they allow"
    return (
        f"access failed ({in_one_line(error)}); check the network and your credentials, and try "
        "again"
    )


def look(place: UPath, path: str | None = None) -> dict[str, Any] | None:
    """Return what a file system knows of a place, or of another path in it; None if there is none.

    Raises:
        Exception: whatever the file system raises where it cannot say.
    """
    try:
        info: dict[str, Any] = place.fs.info(place.path if path is None else path)
    except FileNotFoundError:
        return None
    return info


def missing_bucket(place: UPath) -> str | None:
    """Return why nothing can be at a place: there is no such bucket; None if that is not known."""
    if not place.fs.async_impl or "://" in place.path:  # no object store, but folders or HTTP
        return None
    bucket = place.path.partition("/")[0]
    try:
        found = look(place, bucket)
    except Exception:  # who may use what is in a bucket may not always ask for the bucket itself
        return None
    return None if found else f"there is no bucket {bucket}; make it, or correct the address"


def remember(path: UPath, info: dict[str, Any]) -> None:
    """Keep the version of a file that a listing told, for ``stamp``."""
    _listed[path] = version(info)


def modified(path: UPath) -> datetime | None:
    """Return when a file was last written; None where its file system does not say.

    Raises:
        Exception: whatever the file system raises where it cannot say.
    """
    time = path.fs.modified(path.path)
    return time if isinstance(time, datetime) else None


def stamp(path: UPath) -> str | None:
    """Return a text that changes with the file, from what its file system says of it.

    An ETag or checksum where there is one, else size and time; None without either, or where the
    file system does not answer. What the last ``find`` was told of the file is not asked again.
    """
    if known := _listed.get(path):
        return known
    try:
        info = path.fs.info(path.path)
        known = version(info)
        time = None if known else modified(path)
    except Exception:  # whoever reads the file will be told why it cannot be read
        return None
    return known or (f"{info.get('size')} {time.isoformat()}" if time else None)


def version(info: Mapping[str, Any]) -> str | None:
    """Return a text that changes with a file's content, of what a file system says of it; or None.

    It is of an ETag or a checksum; where there is none, there is no text.
    """
    key = next((key for key in _CONTENT if info.get(key)), None)
    return f"{info.get('size')} {key} {info[key]}" if key else None
