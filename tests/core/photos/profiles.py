"""Colour profiles made from the numbers of the ICC's specification, by no library under test."""

import struct


def fixed(number):
    return struct.pack(">i", round(number * 65536))


def profile(space, connection, tags):
    """Return a profile of version 4 that converts a colour space for an input device."""
    table, data = b"", b""
    begin = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        padded = value + b"\0" * (-len(value) % 4)
        table += name + struct.pack(">II", begin + len(data), len(padded))
        data += padded
    size = begin + len(data)
    header = struct.pack(">I4sI4s4s4s12s4s", size, b"", 0x04000000, b"scnr", space, connection,
                         b"\x07\xe6\0\1\0\1\0\0\0\0\0\0", b"acsp")  # fmt: skip
    header += b"\0" * 28 + fixed(0.9642) + fixed(1) + fixed(0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def xyz(*numbers):
    return b"XYZ \0\0\0\0" + b"".join(map(fixed, numbers))


SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + b"".join(
    map(fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)
WHITE = xyz(0.9642, 1, 0.8249)
DISPLAY_P3 = profile(
    b"RGB ",
    b"XYZ ",
    {
        b"wtpt": WHITE,
        b"rXYZ": xyz(0.51512, 0.24120, -0.00105),
        b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
        b"bXYZ": xyz(0.15710, 0.06657, 0.78407),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), SRGB_CURVE),
    },
)
LINEAR_GREY = profile(b"GRAY", b"XYZ ", {b"wtpt": WHITE, b"kTRC": b"curv\0\0\0\0\0\0\0\0"})


def _inks():
    """Return a table by which paper is white, cyan is a middle grey, and all else is black."""
    identity = bytes(range(256))
    head = b"mft1\0\0\0\0\4\3\2\0"
    matrix = b"".join(map(fixed, (1, 0, 0, 0, 1, 0, 0, 0, 1)))
    light = [255, *[0] * 7, 128, *[0] * 7]  # the last ink varies fastest
    grid = b"".join(bytes([each, 128, 128]) for each in light)
    return head + matrix + 4 * identity + grid + 3 * identity


INKS = profile(b"CMYK", b"Lab ", {b"wtpt": WHITE, b"A2B0": _inks()})
