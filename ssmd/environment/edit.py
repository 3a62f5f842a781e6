"""Change a file of YAML in place: only the lines that must change, everything else stays byte for byte.

ruamel.yaml tells where everything stands; the changes themselves are cuts and insertions in the text, because a
round trip through a dumper moves comments from one list item to its neighbour and respells what nobody touched.
Each function returns the whole new text.
"""

import json
import re
from collections.abc import Mapping as Dict
from collections.abc import Sequence as List
from typing import Final

from ssmd.environment.problem import dotted
from ssmd.environment.scalars import is_ambiguous, typed
from ssmd.environment.source import Mapping, Node, Path, Scalar, Sequence, Source, lookup, parse, plain
from ssmd.errors import ConfigError

Value = str | int | float | bool | None | List["Value"] | Dict[str, "Value"]

_BARE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _./@+-]*[A-Za-z0-9_./+-]|[A-Za-z0-9]")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*")  # YAML 1.1 takes it for a time
_COMMENT: Final = re.compile(r"[ \t]+#[^\r\n]*")
_REST_OF_LINE: Final = re.compile(r"[^\r\n]*")
_NOTHING_MORE: Final = re.compile(r"[ \t]*(#[^\r\n]*)?(\r?\n|\Z)")
_COMMA: Final = re.compile(r"\s*,")
_BLANKS: Final = re.compile(r"[ \t]*")
_STEP: Final = 2


def set_value(source: Source, path: Path, value: Value) -> str:
    """Put a value at a path: in place of the one that is there, or as the last key of its mapping."""
    node = lookup(source.root, path)
    if node is None:
        return _add_key(source, path, value)
    if isinstance(node, Scalar) and not isinstance(value, (dict, list, tuple)):
        before, after = source.text[: node.mark.start], source.text[node.mark.end :]
        gap = " " if before.endswith(":") else ""  # a key without a value
        return _checked(source, before + gap + scalar_text(value) + after, path, value)
    return _replace_block(source, path, node, value)


def append(source: Source, path: Path, *values: Value) -> str:
    """Add items at the end of a list, which is made when there is nothing."""
    node = lookup(source.root, path)
    if node is not None and not isinstance(node, Sequence) and plain(node) is not None:
        raise ConfigError(f"{node.mark}: {dotted(path)} is no list; make it one by hand")
    if not isinstance(node, Sequence):
        return set_value(source, path, list(values))
    if not node.items:
        return _replace_block(source, path, node, list(values))
    expected = [*_items(node), *values]
    if node.is_flow:
        at = _end(node.items[-1])
        more = "".join(f", {flow_text(value)}" for value in values)
        return _checked(source, source.text[:at] + more + source.text[at:], path, expected)
    lines = [line for value in values for line in _block_item(value, node.mark.column - 1)]
    return _checked(source, _insert_after(source.text, _last_line(node), lines), path, expected)


def remove(source: Source, path: Path) -> str:
    """Take a list item or a key away. The last item of a list leaves `[]` behind, the last key `{}`."""
    parent = lookup(source.root, path[:-1])
    node = lookup(source.root, path)
    if node is None or not isinstance(parent, (Mapping, Sequence)):
        raise ConfigError(f"{source.file} has nothing at {dotted(path)}")
    expected = _without(plain(parent), path[-1])
    if len(parent.items) == 1:
        return _empty(source, path[:-1], parent, expected)
    if parent.is_flow:
        return _checked(source, _cut_flow(source.text, parent, path[-1]), path[:-1], expected)
    first = _first_line(source.text, parent, path[-1])
    return _checked(source, _cut_lines(source.text, first, _last_line(node)), path[:-1], expected)


def scalar_text(value: Value) -> str:
    """Return a scalar as YAML: bare where every reader takes it for the same, else in double quotes."""
    if not isinstance(value, str):
        return json.dumps(value)
    if not value.isprintable():
        raise ConfigError(f"{value!a} has a line break or an invisible character; only visible ones may be written")
    is_bare = _BARE.fullmatch(value) and isinstance(typed(value), str)
    is_clear = not is_ambiguous(value) and not _DATE.fullmatch(value)
    return value if is_bare and is_clear else json.dumps(value, ensure_ascii=False)


def flow_text(value: Value) -> str:
    """Return a value in one line: `{name: BTC/USD, depth: l1}`."""
    if isinstance(value, Dict):
        return "{" + ", ".join(f"{scalar_text(key)}: {flow_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, List) and not isinstance(value, str):
        return "[" + ", ".join(map(flow_text, value)) + "]"
    return scalar_text(value)


# where things stand ------------------------------------------------------------------------------------------


def _end(node: Node) -> int:
    """Return the offset behind the last character of a node, comments and blank lines behind it not counted."""
    if isinstance(node, Scalar) or node.is_flow or not node.items:
        return node.mark.end
    last = node.items[-1]
    return max(_end(last[1]), last[0].mark.end + 1) if isinstance(last, tuple) else _end(last)


def _last_line(node: Node) -> int:
    """Return the index of the line on which a node ends."""
    if isinstance(node, Scalar) or node.is_flow or not node.items:
        return node.mark.end_line - 1
    last = node.items[-1]
    return max(_last_line(last[1]), last[0].mark.line - 1) if isinstance(last, tuple) else _last_line(last)


def _first_line(text: str, parent: Mapping | Sequence, step: str | int) -> int:
    """Return the index of the line on which a key or a list item begins, with its dash."""
    if isinstance(parent, Mapping):
        key = parent.key(str(step))
        return key.mark.line - 1 if key else 0
    at = int(step)
    if at == 0:
        return parent.mark.line - 1
    lines = text.splitlines()
    line = parent.items[at].mark.line - 1
    while line > _last_line(parent.items[at - 1]) and lines[line][: parent.mark.column].strip() != "-":
        line -= 1  # comments may stand between a dash and its item
    return line


def _items(node: Node | None) -> list[Value]:
    value = plain(node) if node is not None else None
    return list(value) if isinstance(value, list) else []


# changing text -----------------------------------------------------------------------------------------------


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _insert_after(text: str, line: int, new: List[str]) -> str:
    newline = _newline(text)
    lines = text.splitlines(keepends=True)
    if lines and not lines[line].endswith(("\n", "\r")):
        lines[line] += newline
    return "".join([*lines[: line + 1], *(each + newline for each in new), *lines[line + 1 :]])


def _cut_lines(text: str, first: int, last: int) -> str:
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:first], *lines[last + 1 :]])


def _cut_flow(text: str, parent: Mapping | Sequence, step: str | int) -> str:
    """Cut an item of `[a, b]` or `{a: 1, b: 2}` together with one comma; its line too if nothing else is on it."""
    spans = [
        (item[0].mark.start, _end(item[1])) if isinstance(item, tuple) else (item.mark.start, _end(item))
        for item in parent.items
    ]
    at = int(step) if isinstance(parent, Sequence) else [key.value for key, _ in parent.items].index(step)
    start, end = spans[at]
    comma = _COMMA.match(text, end)
    stop = comma.end() if comma else end
    line_start = text.rfind("\n", 0, start) + 1
    rest = _NOTHING_MORE.match(text, stop)
    if rest and not text[line_start:start].strip():
        return text[:line_start] + text[rest.end() :]
    before = spans[at - 1][1] if at else start
    if at + 1 == len(spans) and "#" not in text[before:start]:
        return text[:before] + text[end:]
    blanks = _BLANKS.match(text, stop)
    return text[:start] + text[blanks.end() if blanks and not rest else stop :]


def _block_item(value: Value, column: int) -> list[str]:
    lines = _block(value, column + _STEP)
    return [f"{' ' * column}- {lines[0].lstrip()}", *lines[1:]]


def _block(value: Value, column: int) -> list[str]:
    """Return a value as lines that begin at a column; short lists of scalars stay in one line."""
    if isinstance(value, Dict) and value:
        lines: list[str] = []
        for key, item in value.items():
            lines += _block_key(key, item, column)
        return lines
    if isinstance(value, List) and not isinstance(value, str) and any(isinstance(item, Dict) for item in value):
        return [line for item in value for line in _block_item(item, column)]
    return [" " * column + flow_text(value)]


def _block_key(key: str, value: Value, column: int) -> list[str]:
    first, *more = _behind_key(value, column)
    return [" " * column + scalar_text(key) + first, *more]


def _behind_key(value: Value, column: int) -> list[str]:
    """Return what stands behind a key that begins at a column: `: value`, or a colon and further lines."""
    lines = _block(value, column + _STEP)
    if (isinstance(value, Dict) and value) or len(lines) > 1 or lines[0].lstrip().startswith("- "):
        return [":", *lines]
    return [f": {lines[0].lstrip()}"]


def _add_key(source: Source, path: Path, value: Value) -> str:
    parent = lookup(source.root, path[:-1])
    key = str(path[-1])
    if parent is None or (isinstance(parent, Scalar) and parent.value is None):
        return set_value(source, path[:-1], {key: value})
    if not isinstance(parent, Mapping):
        raise ConfigError(f"{parent.mark}: a mapping is needed here to set {key}")
    before = plain(parent)
    expected = {**(before if isinstance(before, dict) else {}), key: value}
    if not parent.items:
        return _replace_block(source, path[:-1], parent, expected)
    if parent.is_flow:
        at = _end(parent.items[-1][1])
        text = f"{source.text[:at]}, {scalar_text(key)}: {flow_text(value)}{source.text[at:]}"
        return _checked(source, text, path[:-1], expected)
    column = parent.items[0][0].mark.column - 1
    text = _insert_after(source.text, _last_line(parent), _block_key(key, value, column))
    return _checked(source, text, path[:-1], expected)


def _replace_block(source: Source, path: Path, node: Node, value: Value) -> str:
    """Put a mapping or list in place of what stands at a path."""
    parent = lookup(source.root, path[:-1])
    key = parent.key(str(path[-1])) if isinstance(parent, Mapping) and not parent.is_flow and path else None
    if key is None or (isinstance(node, Scalar) and node.value is not None):
        text = source.text[: node.mark.start] + flow_text(value) + source.text[_end(node) :]
        return _checked(source, text, path, value)
    first, *more = _behind_key(value, key.mark.column - 1)
    start = stop = node.mark.end
    if _is_block(node):
        start = source.text.index(":", key.mark.end) + 1
        stop = _end(node) + len(_REST_OF_LINE.findall(source.text, _end(node))[0])
    comment = _COMMENT.match(source.text, start)  # it stays on the line of the key
    if not _is_block(node):
        stop = comment.end() if comment else stop
    new = _newline(source.text).join([first + (comment[0] if comment else ""), *more])
    return _checked(source, source.text[: key.mark.end] + new + source.text[stop:], path, value)


def _is_block(node: Node) -> bool:
    return isinstance(node, (Mapping, Sequence)) and not node.is_flow and bool(node.items)


def _empty(source: Source, path: Path, node: Mapping | Sequence, expected: object) -> str:
    """Leave `[]` or `{}` of a list or mapping with one item."""
    bare = "[]" if isinstance(node, Sequence) else "{}"
    if node.is_flow:
        text = source.text[: node.mark.start] + bare + source.text[node.mark.end :]
        return _checked(source, text, path, expected)
    parent = lookup(source.root, path[:-1])
    key = parent.key(str(path[-1])) if isinstance(parent, Mapping) and path else None
    if key is None:
        what = dotted(path) or "the file"
        raise ConfigError(
            f"{node.mark}: {what} would be left with nothing; take it away as a whole, or edit it by hand"
        )
    text = _cut_lines(source.text, _first_line(source.text, node, _first_step(node)), _last_line(node))
    colon = source.text.index(":", key.mark.end) + 1
    return _checked(source, f"{text[:colon]} {bare}{text[colon:]}", path, expected)


def _first_step(node: Mapping | Sequence) -> str | int:
    return 0 if isinstance(node, Sequence) else str(node.items[0][0].value)


def _without(value: object, step: str | int) -> object:
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if key != step}
    return [item for at, item in enumerate(value) if at != step] if isinstance(value, list) else value


def _checked(source: Source, text: str, path: Path, expected: object) -> str:
    """Read the new text back: exactly the wanted change must be in it, or nothing is changed at all."""
    after = parse(text.encode(), source.file)
    whole = _with(plain(source.root) if source.root else {}, path, expected)
    if after.root is None or plain(after.root) != whole:
        node = lookup(source.root, path)
        where = source.file if node is None else node.mark
        what = dotted(path) or "the file"
        raise ConfigError(f"{where}: {what} is laid out in a way that this change would break; edit it by hand")
    return text


def _with(value: object, path: Path, new: object) -> object:
    """Return the value with another one at a path."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(value, list) and isinstance(step, int):
        return [_with(item, rest, new) if at == step else item for at, item in enumerate(value)]
    known = value if isinstance(value, dict) else {}
    return {**known, str(step): _with(known.get(str(step)), rest, new)}
