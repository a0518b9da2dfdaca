"""Put one setting into the text of a recipe: all other characters stay, comments too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from alignimation_core.api.errors import Fault, RecipeError
from alignimation_core.plugin.registry import KINDS


def edited(name: str, text: str, location: Sequence[str], value: object) -> str:
    """Return the text of a recipe with a setting in it, in place of what is said there.

    Mappings on the way are made where there are none: of ``subject_selector: identity`` becomes
    ``{use: identity, person: 2}``.

    Args:
        name: the file, for messages.
        text: YAML, a mapping.
        location: keys, from the outermost.
        value: what YAML can write.

    Raises:
        RecipeError: the text is written in a way in which nothing can be put there, such as by an
            alias.
    """
    line = f"{'.'.join(location)}: {_written(value)}"
    refused = Fault(name, None, "", f"this cannot be added to; write it by hand: {line}")
    try:
        root, before = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
        if not isinstance(root, MappingNode) or not isinstance(before, dict):
            raise RecipeError([refused])
        after = _put(text, root, location, value)
        if yaml.safe_load(after) != _with(before, location, value):
            raise RecipeError([refused])
    except yaml.YAMLError as error:
        raise RecipeError([refused]) from error
    return after


def _with(data: dict[str, Any], location: Sequence[str], value: object) -> dict[str, Any]:
    """Return settings as plain data with another value in them."""
    result = inner = dict(data)
    for depth, key in enumerate(location[:-1]):
        there = inner.get(key)
        if isinstance(there, dict):
            there = dict(there)  # which an alias elsewhere may mean, too
        else:
            there = {"use": there} if _is_stage(depth, key, there) else {}
        inner[key] = there
        inner = there
    inner[location[-1]] = value
    return result


def _is_stage(depth: int, key: str, written: object) -> bool:
    return depth == 0 and key in KINDS and isinstance(written, str)


def _put(text: str, root: MappingNode, location: Sequence[str], value: object) -> str:
    node: MappingNode = root
    for depth, key in enumerate(location):
        found = _value_of(node, key)
        rest = location[depth + 1 :]
        if isinstance(found, MappingNode) and rest:
            if not found.value:
                return _replaced(text, found, _nested(rest, value))
            node = found
            continue
        whole = _nested(rest, value)
        if found is None:
            return _inserted(text, node, f"{key}: {_written(whole)}")
        if rest and isinstance(found, ScalarNode) and _is_stage(depth, key, found.value):
            whole = {"use": found.value, **dict(whole)}  # type: ignore[call-overload]
        return _replaced(text, found, whole)
    raise AssertionError("a location has a key")


def _value_of(node: MappingNode, key: str) -> Node | None:
    return next((value for name, value in node.value if name.value == key), None)


def _nested(keys: Sequence[str], value: object) -> object:
    for key in reversed(keys):
        value = {key: value}
    return value


def _written(value: object) -> str:
    """Return a value in one line, as it can stand between brackets, too."""
    text = yaml.safe_dump(
        [value], default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False
    )
    return text.strip().removeprefix("[").removesuffix("]")


def _replaced(text: str, node: Node, value: object) -> str:
    start = node.start_mark.index
    end = max(start, start + len(text[start : _end(node)].rstrip()))
    return f"{text[:start]}{' ' * (start == end)}{_written(value)}{text[end:]}"


def _end(node: Node) -> int:
    """Return where a node ends; what follows its last value, such as a comment, is none of it."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _inserted(text: str, node: MappingNode, line: str) -> str:
    """Return the text with another entry in a mapping that has some."""
    if node.flow_style:
        end = node.end_mark.index - 1
        inside = text[:end].rstrip()
        return f"{inside}{'' if inside.endswith(',') else ','} {line}{text[end:]}"
    newline = "\r\n" if "\r\n" in text else "\n"
    if node.start_mark.column == 0:
        end = "" if text.endswith("\n") or not text else newline
        return f"{text}{end}{line}{newline}"
    start = node.value[0][0].start_mark
    indent = " " * start.column
    return f"{text[: start.index]}{line}{newline}{indent}{text[start.index :]}"
