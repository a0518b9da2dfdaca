"""Which of ffmpeg's encoders writes a format, and how."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Encoder:
    """One format of ffmpeg, in ffmpeg's names.

    Both sides of a picture must be multiples of ``step``. ``matte`` is the colour to put behind
    transparent frames; None where the format takes transparency. In a film of ``constant_rate`` a
    frame that is shown longer is repeated; elsewhere the next one comes later.
    """

    container: str
    codec: str
    pixel_format: str
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    step: int = 1
    matte: str | None = None
    constant_rate: bool = True

    @property
    def is_yuv(self) -> bool:
        """Whether colours must be converted, and the file must say how."""
        return self.pixel_format.startswith("yuv")
