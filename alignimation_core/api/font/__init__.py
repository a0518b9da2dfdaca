"""The font that comes along, for what is written onto pictures."""

from __future__ import annotations

from pathlib import Path

FONT = Path(__file__).with_name("DejaVuSans.ttf")
"""DejaVu Sans: Latin, Greek, Cyrillic, Arabic, Hebrew and more; Pillow's own has ASCII alone."""
