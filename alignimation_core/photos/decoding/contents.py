"""What a file is, told by its first bytes and never by its name."""

from __future__ import annotations

HEAD = 4096
"""Bytes from the beginning that tell."""

_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    b"crx ": "RAW",
    b"qt  ": "a QuickTime film",
}

_PICTURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"FUJIFILMCCD-RAW", "RAW"),
    (b"IIRO", "RAW"),
    (b"IIRS", "RAW"),
    (b"MMOR", "RAW"),
    (b"IIU\0", "RAW"),
    (b"FOVb", "RAW"),
    (b"\0MRM", "RAW"),
    (b"II\x1a\0\0\0HEAPCCDR", "RAW"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    *((b"P%d" % number, "PPM") for number in range(1, 7)),
)

_DNG = (b"\x12\xc6\1\0\4\0\0\0", b"\xc6\x12\0\1\0\0\0\4")
"""The tag of a TIFF that says that it is a DNG, in both orders of bytes."""

_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript drawing"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript drawing"),
    (b"8BPS", "a Photoshop file"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM film"),
    (b"\0\0\1\xba", "an MPEG film"),
    (b"\0\0\1\xb3", "an MPEG film"),
    (b"RIFF", "a RIFF file"),
    (b"ID3", "a sound file"),
    (b"\0\5\x16\7", "what macOS keeps beside a photo"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\0", "a database"),
)


def picture_format(head: bytes) -> str | None:
    """Return the format of a picture, ``RAW`` for all of cameras' own; None for anything else."""
    kind = _kind(head)
    return None if kind is None or " " in kind.removeprefix("JPEG ") else kind


def described(head: bytes) -> str | None:
    """Return what a file is, such as ``a ZIP archive`` or ``a broken JPEG``; None if unknown."""
    kind = _kind(head)
    if kind is None:
        return None
    return f"a broken {kind}" if picture_format(head) else kind


def _kind(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return _box_kind(head)
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"AVI "):
        return "WebP" if head[8:12] == b"WEBP" else "an AVI film"
    if head[257:262] == b"ustar":
        return "a TAR archive"
    for magic, kind in (*_PICTURES, *_OTHERS):
        if head.startswith(magic):
            return "RAW" if kind == "TIFF" and any(tag in head for tag in _DNG) else kind
    return _text_kind(head)


def _box_kind(head: bytes) -> str:
    """Tell apart the formats that are made of boxes: by their brands."""
    length = min(int.from_bytes(head[:4]), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, length, 4))]
    for brand in (brands[0], *(b for b in (b"avif", b"avis") if b in brands)):
        if brand in _BRANDS:
            return _BRANDS[brand]
    return "HEIC" if any(brand in _HEIF for brand in brands) else "an MP4 film"


def _text_kind(head: bytes) -> str | None:
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG drawing"
    if not text or any(byte < 9 for byte in head):
        return None
    try:
        head[: HEAD - 4].decode("utf-8")
    except UnicodeDecodeError:
        return None
    return "a text file"
