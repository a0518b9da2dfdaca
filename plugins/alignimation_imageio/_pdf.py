"""A PDF whose pages are pictures, written page by page; the same pictures give the same bytes.

Pillow's own writes all pages anew with each that is added, and the time.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from alignimation_imageio._saving import FORMATS

POINTS = 595.276, 841.89
"""Points, of which an inch has 72, across and down an A4 page."""


class Pdf:
    """Adds pages to a file; between two calls it is not open.

    Object 1 is the catalogue, 2 the list of pages; each page has three: itself, what it draws, and
    its picture.
    """

    def __init__(self, part: Path) -> None:
        self._part = part
        self._offsets: dict[int, int] = {}
        part.write_bytes(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")

    def add(self, picture: Image.Image) -> None:
        """Add an RGB picture as a page, A4 across and as high as the picture asks for."""
        width, height = POINTS[0], POINTS[0] * picture.height / picture.width
        jpeg = io.BytesIO()
        picture.save(jpeg, "jpeg", **FORMATS["jpeg"][1])
        page = 3 + self._pages * 3
        size = f"/Width {picture.width} /Height {picture.height} /BitsPerComponent 8"
        self._write(
            page,
            f"/Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.3f} {height:.3f}] "
            f"/Resources << /XObject << /P {page + 2} 0 R >> >> /Contents {page + 1} 0 R",
        )
        self._write(page + 1, "", f"{width:.3f} 0 0 {height:.3f} 0 0 cm /P Do".encode())
        colours = "/Type /XObject /Subtype /Image /ColorSpace /DeviceRGB /Filter /DCTDecode"
        self._write(page + 2, f"{colours} {size}", jpeg.getvalue())

    def finish(self) -> None:
        """Write the list of pages, and where everything stands."""
        kids = " ".join(f"{3 + 3 * page} 0 R" for page in range(self._pages))
        self._write(2, f"/Type /Pages /Kids [{kids}] /Count {self._pages}")
        self._write(1, "/Type /Catalog /Pages 2 0 R")
        count = len(self._offsets) + 1
        with self._part.open("ab") as file:
            start = file.tell()
            lines = [f"{self._offsets[number]:010d} 00000 n " for number in range(1, count)]
            table = "\n".join([f"xref\n0 {count}", "0000000000 65535 f ", *lines])
            trailer = f"trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
            file.write(f"{table}\n{trailer}".encode())

    @property
    def _pages(self) -> int:
        return len(self._offsets) // 3

    def _write(self, number: int, entries: str, stream: bytes | None = None) -> None:
        with self._part.open("ab") as file:
            self._offsets[number] = file.tell()
            length = "" if stream is None else f" /Length {len(stream)}"
            file.write(f"{number} 0 obj\n<< {entries}{length} >>\n".encode())
            if stream is not None:
                file.write(b"stream\n" + stream + b"\nendstream\n")
            file.write(b"endobj\n")
