"""Documents of YAML as people write them: any indentation, flow or block, three ways of quoting, comments everywhere."""

import json
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

Data = Any
Paths = list[tuple[str | int, ...]]

_KEYS: Final = st.sampled_from(["a", "name", "b-c", "x_y", "no", "010", "K"])
TEXTS: Final = st.sampled_from(
    [
        "x",
        "BTC/USD",
        "no",
        "010",
        "1e3",
        "it's",
        'say "x"',
        "a: b",
        "# x",
        "",
        "é",
        "null",
        "- x",
        "2027-01-31",
        "*",
        "a, b]",
    ]
)
SCALARS: Final = TEXTS | st.booleans() | st.integers(-5, 999) | st.none()
VALUES: Final = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_COMMENT: Final = st.sampled_from(["", "", "  # c", " # a - b: [c, {d", "   # it's"])


class _Writer:
    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def block(self, value: Data, column: int, *, is_compact: bool = False) -> list[str]:
        lines: list[str] = []
        entries = value.items() if isinstance(value, dict) else ((None, item) for item in value)
        for at, (key, item) in enumerate(entries):
            if not (is_compact and at == 0):
                lines += self._noise(column)
            head = " " * column + ("-" if key is None else self._key(key) + ":")
            lines += self._entry(head, item, column, is_item=key is None)
        return lines

    def _entry(self, head: str, value: Data, column: int, *, is_item: bool) -> list[str]:
        if isinstance(value, (dict, list)) and value and self._draw(st.booleans()):
            if is_item and self._draw(st.booleans()):
                inside = column + self._draw(st.integers(2, 5))
                first, *more = self.block(value, inside, is_compact=True)
                return [head + " " * (inside - column - 1) + first.lstrip(), *more]
            least = 0 if isinstance(value, list) and not is_item else 1
            inside = column + self._draw(st.integers(least, 4))
            return [head + self._comment(), *self.block(value, inside)]
        if isinstance(value, list) and value and self._draw(st.booleans()):
            return self._tall(head, value, column)
        if value is None and not is_item and self._draw(st.booleans()):
            return [head + self._comment()]
        if isinstance(value, str) and value.strip() and value[0] != "#" and self._draw(st.integers(0, 5)) == 0:
            return [head + " >-" + self._comment(), " " * (column + 2) + value]
        return [head + " " * self._draw(st.integers(1, 3)) + self._flow(value) + self._comment()]

    def _tall(self, head: str, items: list[Data], column: int) -> list[str]:
        lines = [head + " [" + self._comment()]
        for at, item in enumerate(items):
            lines += self._noise(column + 2)
            comma = "," if at + 1 < len(items) or self._draw(st.booleans()) else ""
            lines.append(" " * (column + 2) + self._flow(item) + comma + self._comment())
        return [*lines, " " * (column + 1) + "]" + self._comment()]

    def _flow(self, value: Data) -> str:
        space = self._draw(st.sampled_from(["", " "]))
        if isinstance(value, dict):
            return "{" + space + ", ".join(f"{self._key(k)}: {self._flow(v)}" for k, v in value.items()) + space + "}"
        if isinstance(value, list):
            return "[" + space + f",{space}".join(map(self._flow, value)) + space + "]"
        return self._scalar(value)

    def _scalar(self, value: Data) -> str:
        if not isinstance(value, str):
            return json.dumps(value) if value is not None or self._draw(st.booleans()) else "~"
        plain = [value] if value in {"x", "BTC/USD", "é", "it's", "2027-01-31"} else []
        single = "'" + value.replace("'", "''") + "'"
        return str(self._draw(st.sampled_from([*plain, single, json.dumps(value, ensure_ascii=False)])))

    def _key(self, key: str) -> str:
        plain = [] if key in {"no", "010"} else [key, key]
        return str(self._draw(st.sampled_from([*plain, f'"{key}"', f"'{key}'"])))

    def _comment(self) -> str:
        return str(self._draw(_COMMENT))

    def _noise(self, column: int) -> list[str]:
        return list(self._draw(st.sampled_from([[], [], [""], ["# far - x: y"], [" " * column + "# near", ""], [" "]])))


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, Data]:
    """Return a text and what it means."""
    data = draw(st.dictionaries(_KEYS, VALUES, min_size=1, max_size=4))
    writer = _Writer(draw)
    start = draw(st.sampled_from([[], [], ["---"], ["# top", "", "--- # start"]]))
    lines = [*start, *writer.block(data, 0), *writer._noise(0)]
    newline = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    return newline.join(lines) + draw(st.sampled_from(["", newline])), data


def paths_of(data: Data, path: tuple[str | int, ...] = ()) -> Paths:
    """Return the path of every value."""
    found: Paths = [path] if path else []
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in entries:
        found += paths_of(value, (*path, step))
    return found
