"""Where a recipe comes from: YAML text with the line of every key, or plain values."""

from __future__ import annotations

import re
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from alignimation_core.api.errors import Fault, RecipeError, shown

Location = tuple[str | int, ...]
"""Where a value stands: ``("renderers", 1, "fps")``."""

LISTS = ("photos", "effects", "renderers")
"""Lists that may be written without brackets where they hold one."""
MAX_SHOWN = 200
"""Characters of a ``--set`` that a message repeats."""
MAX_DIGITS = 100
"""Characters of a number: no setting takes a longer one, and Python cannot show every integer."""
_KEY = re.compile(r"[^.\[\]]+(\[\d{1,9}\])*(\.[^.\[\]]+(\[\d{1,9}\])*)*")


class _NumberError(yaml.MarkedYAMLError):
    """A number is longer than any setting takes."""


_CLOCK = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")


class _Loader(yaml.SafeLoader):
    """The safe loader, but for numbers.

    ``9:16`` is text, as in YAML 1.2, and not 556; numbers that no setting takes are refused.
    """

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        """Return the tag of a node that has none."""
        if kind is ScalarNode and implicit[0] and _CLOCK.match(value):
            return "tag:yaml.org,2002:str"
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return tag

    def construct_number(self, node: ScalarNode) -> int | float:
        """Return what a node's digits say."""
        if len(node.value) > MAX_DIGITS:
            what = f"a number of {len(node.value)} characters; no setting takes so long a one"
            raise _NumberError(problem=what, problem_mark=node.start_mark)
        integer = node.tag == "tag:yaml.org,2002:int"
        number: int | float = (
            self.construct_yaml_int(node) if integer else self.construct_yaml_float(node)
        )
        return number


for _name in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_name}", _Loader.construct_number)


class Form(NamedTuple):
    """What a file of settings is called, how its lines look, and how large it can be."""

    what: str = "recipe"
    file: str = "recipe's file"
    example: str = "photos: a/"
    max_bytes: int = 1_000_000
    max_nodes: int = 20_000
    may_be_empty: bool = False
    loader: type[Any] = _Loader


RECIPE = Form()


def field_name(location: Iterable[str | int]) -> str:
    """Return a location as a person writes it: ``renderers[1].fps``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class Source:
    """Settings as plain data, each with the location that it came from.

    Attributes:
        name: the file, or what stands for it in messages.
        folder: what relative paths are relative to.
        data: the settings; a mapping.
    """

    def __init__(self, name: str, folder: Path, data: dict[str, Any]) -> None:
        self.name, self.folder, self.data = name, folder, data
        self._lines: dict[Location, int] = {}
        self._overrides: dict[Location, str] = {}

    def fault(self, location: Location, message: str) -> Fault:
        """Return a fault at a location: with its line, or the ``--set`` that put it there."""
        written = location
        if location[1:2] == (0,) and not isinstance(self.data.get(str(location[0])), list):
            written = (location[0], *location[2:])  # see LISTS
        for end in range(len(written), -1, -1):
            if written[:end] in self._overrides:
                return Fault(self._overrides[written[:end]], None, field_name(location), message)
            if written[:end] in self._lines:
                return Fault(self.name, self._lines[written[:end]], field_name(location), message)
        return Fault(self.name, None, field_name(location), message)

    def overridden(self, locations: Iterable[Location], origin: str) -> Source:
        """Return the same source, in which values at some locations came from elsewhere."""
        source = Source(self.name, self.folder, self.data)
        source._lines = self._lines
        source._overrides = self._overrides | dict.fromkeys(locations, origin)
        return source

    def top_keys(self) -> list[str]:
        """Return the keys of the whole file as they are written: ``2008`` is a text, too."""
        return [str(location[0]) for location in self._lines if len(location) == 1]

    @classmethod
    def read(cls, path: Path, form: Form = RECIPE) -> Source:
        """Read a YAML file with the safe loader.

        Raises:
            RecipeError: the file cannot be read, is no YAML, or says one key twice.
        """
        name = str(path)

        def refuse(message: str, line: int | None = None) -> RecipeError:
            return RecipeError([Fault(name, line, "", message)])

        try:
            found = path.stat()
            if stat.S_ISDIR(found.st_mode):
                raise refuse(f"this is a folder; give the {form.file}")
            if not stat.S_ISREG(found.st_mode):  # a pipe or a device may never end
                raise refuse(f"this is no file of text; give the {form.file}")
            if found.st_size > form.max_bytes:
                most = f"{form.max_bytes // 1_000_000} MB"
                raise refuse(f"the file is larger than a {form.what} can be ({most})")
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise refuse("there is no such file") from None
        except UnicodeDecodeError:
            beginning = path.read_bytes()[:4096]
            if b"\0" in beginning and not beginning.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
                raise refuse(f"this is no file of text; give the {form.file}") from None
            raise refuse(f"this is no UTF-8 text; save the {form.what} as UTF-8") from None
        except OSError as error:
            raise refuse(f"cannot be read: {error.strerror}") from None
        try:
            loader = form.loader(text)
            root = loader.get_single_node()
            if root is None and form.may_be_empty:
                return cls(name, path.resolve().parent, {})
            if not isinstance(root, MappingNode):
                line = root.start_mark.line + 1 if root else None
                what = f"a {form.what} is a list of `key: value` lines, such as `{form.example}`"
                raise refuse(what, line)
            source = cls(name, path.resolve().parent, {})
            source._take_lines(root, form.max_nodes)
            data = loader.construct_document(root)
        except yaml.YAMLError as error:
            raise refuse(*_explain(error, text)) from None
        except RecipeError:
            raise
        except Exception as error:  # what PyYAML makes of a tag such as !!int "" may be anything
            raise refuse(f"this is no valid YAML: {' '.join(str(error).split())}") from None
        source.data = data
        return source

    def _take_lines(self, root: Node, max_nodes: int) -> None:
        faults: list[Fault] = []
        waiting: list[tuple[Location, Node, tuple[int, ...]]] = [((), root, ())]
        for count, (location, node, above) in enumerate(waiting):  # which grows meanwhile
            if id(node) in above or count >= max_nodes:
                line = node.start_mark.line + 1
                faults = [Fault(self.name, line, field_name(location), "too many nested aliases")]
                break
            self._lines.setdefault(location, node.start_mark.line + 1)
            inner = (*above, id(node))
            if isinstance(node, SequenceNode):
                waiting += [((*location, i), item, inner) for i, item in enumerate(node.value)]
            elif isinstance(node, MappingNode):
                seen: set[str] = set()
                for key, value in node.value:
                    text = key.value if isinstance(key, ScalarNode) else ""
                    line = key.start_mark.line + 1
                    if text in seen or not text:
                        what = f"the key {text!r} stands here twice" if text else "no usable key"
                        faults.append(Fault(self.name, line, field_name(location), what))
                    seen.add(text)
                    self._lines[(*location, text)] = line
                    waiting.append(((*location, text), value, inner))
        if faults:
            raise RecipeError(faults)

    def override(
        self, settings: Sequence[str], defaults: Mapping[str, object] = MappingProxyType({})
    ) -> None:
        """Apply ``key=value`` settings, such as ``renderers[0].fps=24``; values are YAML.

        ``defaults`` are what the recipe has where it says nothing, for settings inside them.

        Raises:
            RecipeError: a setting is no ``key=value``, or its key leads nowhere.
        """
        self.data = deepcopy(self.data)
        for setting in settings:
            origin = f"--set {setting[:MAX_SHOWN]}" + "..." * (len(setting) > MAX_SHOWN)
            key, equals, text = setting.partition("=")
            location = _location(key)
            if not equals or not location:
                what = "expected key=value, such as canvas.size=1080x1080"
                raise RecipeError([Fault(origin, None, "", what)])
            if len(location) > 1 and location[0] in defaults:
                self.data.setdefault(str(location[0]), deepcopy(defaults[str(location[0])]))
            try:
                value = yaml.load(text, _Loader)  # noqa: S506 - a safe one
            except Exception:  # what PyYAML makes of a tag such as !!timestamp "" may be anything
                what = f"the value {shown(text)} is no valid YAML; quote it"
                raise RecipeError([Fault(origin, None, field_name(location), what)]) from None
            try:
                _put(self.data, location, value)
            except LookupError:
                what = "the recipe has no such place to set"
                raise RecipeError([Fault(origin, None, field_name(location), what)]) from None
            self._forget(location)
            self._overrides[location] = origin

    def _forget(self, location: Location) -> None:
        """Forget where a value came from, and all in it, in whose place another is put."""
        for known in (self._lines, self._overrides):
            for each in [each for each in known if each[: len(location)] == location]:
                del known[each]


def _explain(error: yaml.YAMLError, text: str) -> tuple[str, int | None]:
    """Return what is wrong with a text that is no YAML and what to do, and the line."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        found = chr(error.character) if isinstance(error.character, int) else error.character
        return f"this is no valid YAML: the character {found!r} is not allowed; remove it", line
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"this is no valid YAML: {' '.join(str(error).split())}", None
    problem = error.problem or error.context or "it cannot be read"
    mark = error.problem_mark or error.context_mark
    if isinstance(error, _NumberError):
        return problem, mark.line + 1 if mark else None
    if "quoted scalar" in (error.context or "") and "end of stream" in problem:
        problem, mark = "the quote that opens here is never closed", error.context_mark
    elif "'\\t'" in problem:
        problem += "; use spaces, not tabs"
    elif isinstance(error, yaml.scanner.ScannerError | yaml.parser.ParserError):
        problem += "; look for a missing colon, space or quote here or on the line before"
    last = text.rstrip().count("\n") + 1
    return f"this is no valid YAML: {problem}", min(mark.line + 1, last) if mark else None


def _put(data: Any, location: Location, value: object) -> None:
    """Set a value deep in plain data; ``mtcnn`` becomes ``{use: mtcnn}`` when given an option.

    And ``sample: month`` becomes ``sample: {every: month}``.
    """
    part: Any = location[0]
    rest = location[1:]
    fits = part in range(len(data)) if isinstance(data, list) else isinstance(data, dict)
    if not fits or (isinstance(data, dict) and not isinstance(part, str)):
        raise LookupError
    if not rest:
        data[part] = value
        return
    inner = data[part] if isinstance(data, list) else data.setdefault(part, {})
    if isinstance(inner, str) and isinstance(rest[0], str):
        inner = data[part] = {"every" if part == "sample" else "use": inner}
    elif part in LISTS and isinstance(inner, str | dict) and inner and isinstance(rest[0], int):
        inner = data[part] = [inner]
    _put(inner, rest, value)


def _location(key: str) -> Location:
    """Return ``("renderers", 1, "fps")`` for ``renderers[1].fps``; empty when malformed."""
    if not _KEY.fullmatch(key := key.strip()):
        return ()
    parts = re.findall(r"\[(\d+)\]|([^.\[\]]+)", key)
    return tuple(int(index) if index else name for index, name in parts)
