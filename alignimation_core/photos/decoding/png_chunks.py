"""Chunks of a PNG that are no part of the picture, and what may be wrong with them."""

from __future__ import annotations

import zlib
from io import BufferedReader, BytesIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"

LONGEST = 1 << 20
"""Bytes of a chunk that is no part of the picture, also once it is inflated."""

_LOWER_CASE = 32
_FRAME = b"fdAT"  # of an animation: the only long ones that are no part of the first picture


def without_faults(stream: BufferedReader | BytesIO) -> tuple[BufferedReader | BytesIO, bytes]:
    """Leave out what may be left out of a PNG, and is damaged or very long.

    Returns:
        The same stream, or a copy without such chunks; and the EXIF, which may stand behind the
        picture, empty where there is none.
    """
    exif, at = b"", len(SIGNATURE)
    kept: list[tuple[int, int]] = []
    begin = 0
    stream.seek(at)
    while len(header := stream.read(8)) == 8:
        length, kind = int.from_bytes(header[:4]), header[4:]
        end = at + length + 12
        if not kind.isalpha() or kind == b"IEND":
            break
        if kind[0] & _LOWER_CASE and kind != _FRAME:
            body = stream.read(length + 4) if length <= LONGEST else b""
            if len(body) == length + 4 and _is_sound(kind, body[:-4], body[-4:]):
                exif = body[:-4] if kind == b"eXIf" else exif
            else:
                kept.append((begin, at))
                begin = end
        at = end
        stream.seek(at)
    stream.seek(0)
    if not kept:
        return stream, exif
    parts = []
    for first, last in kept:
        stream.seek(first)
        parts.append(stream.read(last - first))
    stream.seek(begin)
    return BytesIO(b"".join([*parts, stream.read()])), exif


def _is_sound(kind: bytes, data: bytes, checksum: bytes) -> bool:
    if zlib.crc32(kind + data).to_bytes(4) != checksum:
        return False
    packed = b""
    _, _, rest = data.partition(b"\0")
    if kind in (b"zTXt", b"iCCP"):
        packed = rest[1:]
    elif kind == b"iTXt" and rest[:1] == b"\1":
        packed = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    try:
        inflate = zlib.decompressobj()
        return len(inflate.decompress(packed, LONGEST)) < LONGEST
    except zlib.error:
        return False
