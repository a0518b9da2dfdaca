"""One large file over the network, taken up again where it broke off.

What has come lies in a ``.part`` file. Bytes are written as they come, so whatever ends a download
(Ctrl-C, a lost connection, a crash) leaves a beginning that the next one asks the rest for, with
HTTP's ``Range``. Whether the result is the right file is for the caller to check, by its digest.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import IO, cast
from urllib.parse import urlsplit

Progress = Callable[[int, int | None], None]
"""Called with the bytes on disk so far and, where known, the bytes of the whole file."""

TIMEOUT = 30.0
"""Seconds without a sign of life after which a server counts as silent."""

_CHUNK = 1 << 16
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class DownloadError(Exception):
    """The server cannot be reached or answers wrongly; the text says why in a few words."""


def is_safe(url: str) -> bool:
    """Whether a URL is https, or http to this very machine."""
    if not re.fullmatch("[!-~]+", url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    loopback = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return bool(parts.hostname) and (parts.scheme == "https" or loopback)


def size_of(part: Path) -> int:
    """Return the bytes that are there, 0 where there is no file."""
    return part.stat().st_size if part.exists() else 0


def download(url: str, part: Path, *, size: int | None, progress: Progress | None) -> None:
    """Bring `part` to its full length, from where it is.

    A broken connection is taken up again for as long as every attempt brings bytes. A server that
    knows no ranges is asked for everything again.

    Args:
        url: an address that `is_safe`; redirects are followed to such addresses alone.
        part: the file to continue or begin.
        size: bytes of the whole file where known. A server that offers another size (a wireless
            network's login page, say) is refused before `part` is given up for it.
        progress: called before the first piece and after every piece.

    Raises:
        DownloadError: the server cannot be reached or answers wrongly.
        OSError: `part` cannot be written.
    """
    have = size_of(part)
    while broken := _receive(url, part, size, progress):
        if size_of(part) <= have:
            raise DownloadError(broken)
        have = size_of(part)


def _receive(url: str, part: Path, size: int | None, progress: Progress | None) -> str | None:
    """Append what one answer brings; return why it broke off, None where it did not."""
    have = size_of(part)
    response = _ask(url, have)
    if response is None:
        return None
    with response:
        start, total = _span(response)
        if size is not None and total not in {None, size}:
            raise DownloadError(f"the server offers {total} bytes where {size} are expected")
        if start not in {0, have}:
            part.unlink()
            raise DownloadError("the server sent another range than was asked for")
        have, total = start, total or size
        with part.open("ab" if start else "wb", buffering=0) as out:
            while True:
                if progress:
                    progress(have, total)
                try:
                    piece = memoryview(response.read(_CHUNK))
                except (OSError, http.client.HTTPException) as error:
                    return _reason(error)
                if not piece:
                    break
                have += len(piece)
                while piece:
                    piece = piece[out.write(piece) :]
    broken = total is not None and have < total
    return f"the connection broke after {have} of {total} bytes" if broken else None


def _ask(url: str, have: int) -> http.client.HTTPResponse | None:
    """Ask for the bytes from `have` on; None where there are no more."""
    request = urllib.request.Request(url, headers={"User-Agent": "alignimation"})  # noqa: S310 - is_safe
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        opener = urllib.request.build_opener(_SafeRedirects)
        return cast("http.client.HTTPResponse", opener.open(request, timeout=TIMEOUT))
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise DownloadError(_reason(error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(_reason(error)) from error


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to safe addresses alone."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not is_safe(newurl):
            fp.close()
            raise urllib.error.URLError(f"it redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _span(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """Return where in the file an answer starts, and the bytes of the whole file if stated."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        stated = response.headers.get("Content-Range", "")
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", stated)
        if span is None:
            return -1, None
        return int(span[1]), None if span[2] == "*" else int(span[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _reason(error: BaseException) -> str:
    """Say in a few words, on one line, why a server could not be reached."""
    match error:
        case urllib.error.HTTPError():
            text = f"the server answered {error.code} {error.reason}"
        case urllib.error.URLError(reason=BaseException() as cause):
            text = _reason(cause)
        case urllib.error.URLError():
            text = str(error.reason)
        case TimeoutError():
            text = f"no answer for {TIMEOUT:g} seconds"
        case socket.gaierror():
            text = "its name cannot be looked up: is this machine online?"
        case ssl.SSLCertVerificationError():
            text = f"its certificate is not trusted: {error.verify_message}"
        case OSError(strerror=str(strerror)):
            text = strerror
        case _:
            text = f"{type(error).__name__}: {error}"
    return " ".join(text.split())
