"""Resumable HTTP download of one file.

What has come lies in a ``.part`` file, written through at once, so that whatever ends a download
(Ctrl-C, a lost connection, a crash) leaves a beginning; the next one asks for the rest, with HTTP's
``Range``. Whether the result is the right file is for the caller to check, by its digest.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Progress = Callable[[int, int | None], None]
"""Called with the bytes on disk so far and, where known, the bytes of the whole file."""

TIMEOUT = 30.0  # seconds without a sign of life after which a server counts as silent
_CHUNK = 1 << 16
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class DownloadError(Exception):
    """The server cannot be reached or answers wrongly; the text says why in a few words."""


def is_safe(url: str) -> bool:
    """Whether a URL is https, or http to this very machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    loopback = parts.scheme == "http" and parts.hostname in _LOOPBACK
    encrypted = parts.scheme == "https" and bool(parts.hostname)
    return (encrypted or loopback) and re.fullmatch("[!-~]+", url) is not None


def size_of(part: Path) -> int:
    """Return the bytes that are there, 0 where there is no file."""
    return part.stat().st_size if part.exists() else 0


def download(url: str, part: Path, *, size: int | None, progress: Progress | None) -> None:
    """Bring `part` to its full length, from where it is.

    A broken connection is resumed for as long as every attempt brings bytes. A server that knows
    no ranges is asked for everything again; one that offers another `size` (a wireless network's
    login page, say) is refused before `part` is given up for it.
    """
    while True:
        have = size_of(part)
        try:
            return _receive(url, part, size, progress)
        except DownloadError:
            if size_of(part) <= have:
                raise


def _receive(url: str, part: Path, size: int | None, progress: Progress | None) -> None:
    """Append what one response brings."""
    have = size_of(part)
    headers = {"User-Agent": "alignimation"} | ({"Range": f"bytes={have}-"} if have else {})
    with _as_download_error():
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - is_safe
        opener = urllib.request.build_opener(_SafeRedirects)
        try:
            response = opener.open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            error.close()
            if have and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return  # there are no more
            raise
    with response:
        partial = response.status == HTTPStatus.PARTIAL_CONTENT
        sent = response.headers.get("Content-Range", "")
        if partial and not sent.startswith(f"bytes {have}-"):
            part.unlink()
            raise DownloadError("the server sent another range than was asked for")
        if not partial:
            have = 0
        total = size if response.length is None else have + response.length
        if size not in {None, total}:
            raise DownloadError(f"the server offers {total} bytes where {size} are expected")
        with part.open("ab" if partial else "wb", buffering=0) as out:
            while True:
                if progress:
                    progress(have, total)
                with _as_download_error():
                    piece = response.read(_CHUNK)
                if not piece:
                    break
                have += len(piece)
                while piece:
                    piece = piece[out.write(piece) :]
    if total is not None and have < total:
        raise DownloadError(f"the connection broke after {have} of {total} bytes")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to safe addresses alone."""

    def redirect_request(self, *redirect: Any) -> urllib.request.Request | None:
        _, page, *_, url = redirect
        if not is_safe(url):
            page.close()
            raise urllib.error.URLError(f"it redirects to {url}, which is not https")
        return super().redirect_request(*redirect)


@contextmanager
def _as_download_error() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(" ".join(_reason(error).split())) from error


def _reason(error: BaseException) -> str:
    """Return in a few words why a server could not be reached."""
    match error:
        case urllib.error.HTTPError():
            return f"the server answered {error.code} {error.reason}"
        case urllib.error.URLError(reason=BaseException() as cause):
            return _reason(cause)
        case urllib.error.URLError():
            return str(error.reason)
        case TimeoutError():
            return f"no answer for {TIMEOUT:g} seconds"
        case socket.gaierror():
            return "its name cannot be looked up: is this machine online?"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}"
        case OSError(strerror=str(strerror)):
            return strerror
        case _:
            return f"{type(error).__name__}: {error}"
