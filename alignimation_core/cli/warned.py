"""Warnings of plugins, on stderr."""

from __future__ import annotations

import logging

from alignimation_core.api.errors import printable_lines


def show_warnings(*, details: bool) -> None:
    """Have what is logged go to stderr; with ``details`` of this package, all of it."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable())
    logging.basicConfig(handlers=[handler])
    if details:
        logging.getLogger("alignimation_core").setLevel(logging.DEBUG)


class _Printable(logging.Formatter):
    """Some warnings name photos."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))
