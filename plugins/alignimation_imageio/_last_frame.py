"""How long the last frame of an animation is shown, of which ffmpeg knows no next one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO


def set_last_duration(path: Path, codec: str, seconds: Fraction) -> None:
    """Write into a WebP or an APNG how long its last frame is shown."""
    with path.open("r+b") as file:
        if codec == "apng":
            _, start = [found for found in _png_chunks(file) if found[0] == b"fcTL"][-1]
            file.seek(start)
            data = bytearray(file.read(26))
            delay = seconds.limit_denominator(int(65535 / (seconds + 1)))
            data[20:24] = struct.pack(">HH", delay.numerator, delay.denominator)
            file.seek(start)
            file.write(data + struct.pack(">I", zlib.crc32(b"fcTL" + data)))
        else:
            _, start = [found for found in _riff_chunks(file) if found[0] == b"ANMF"][-1]
            file.seek(start + 12)
            file.write(struct.pack("<I", round(seconds * 1000))[:3])


def _png_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and start of the data of every chunk."""
    start = 8
    while file.seek(start) and len(head := file.read(8)) == 8:
        yield head[4:], start + 8
        start += 12 + int.from_bytes(head[:4], "big")


def _riff_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield name and start of the data of every chunk."""
    start = 12
    while file.seek(start) and len(head := file.read(8)) == 8:
        yield head[:4], start + 8
        start += 8 + (int.from_bytes(head[4:], "little") + 1) // 2 * 2
