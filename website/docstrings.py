"""Docstrings as Markdown: what is indented after ``::`` is code."""

import re
from typing import Any

import griffe


def markdown(text: str) -> str:
    """Return a docstring with its blocks of code as Markdown marks them."""
    text = re.sub(r"^::\n\n", "", text, flags=re.MULTILINE)
    return re.sub(r"::\n\n(?= )", ":\n\n", text)


class Docstrings(griffe.Extension):
    """Changes every docstring before it is taken apart."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
