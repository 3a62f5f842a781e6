"""Rows as text: JSON, NDJSON, CSV."""

import csv
from collections.abc import Sequence
from io import StringIO

import msgspec

from ssmd.gateway.formats.rows import cell_text, columns_of, cut_depth, json_text
from ssmd.gateway.history.quality import Quality, quality_json
from ssmd.gateway.query import Shape
from ssmd.model import Event, EventType


class JsonRows:
    """Writes events as JSON objects."""

    def __init__(self, kind: EventType, shape: Shape) -> None:
        in_ns = shape.times == "ns"
        columns = columns_of(kind, shape.fields)
        self._cells = [(f'"{column.name}":', json_text(kind, column, in_ns=in_ns)) for column in columns]
        self._depth_levels = shape.depth_levels

    def texts(self, events: Sequence[Event]) -> list[str]:
        cells = self._cells
        return [
            "{" + ",".join([name + text(event) for name, text in cells]) + "}"
            for event in cut_depth(events, self._depth_levels)
        ]


class NdjsonWriter:
    """A row per line, and a last line that says that it is the last one, so that a cut answer is noticed."""

    def __init__(self, kind: EventType, shape: Shape, quality: Quality) -> None:
        self._rows = JsonRows(kind, shape)
        self._quality = quality_json(quality)
        self._count = 0

    def begin(self) -> bytes:
        return b""

    def rows(self, events: list[Event]) -> bytes:
        self._count += len(events)
        return "".join([f"{text}\n" for text in self._rows.texts(events)]).encode()

    def end(self, next_cursor: str | None) -> bytes:
        more = f',"next_cursor":"{next_cursor}"' if next_cursor else ""
        return f'{{"_end":true,"rows":{self._count}{more},"quality":{self._quality}}}\n'.encode()


class CsvWriter:
    """A line of names, then a row per line. Its end cannot be seen: a cut one looks like a short one."""

    def __init__(self, kind: EventType, shape: Shape) -> None:
        self._columns = columns_of(kind, shape.fields)
        self._cells = [cell_text(kind, column, in_ns=shape.times == "ns") for column in self._columns]
        self._depth_levels = shape.depth_levels

    def begin(self) -> bytes:
        return _lines([[column.name for column in self._columns]])

    def rows(self, events: list[Event]) -> bytes:
        cells = self._cells
        return _lines([[text(event) for text in cells] for event in cut_depth(events, self._depth_levels)])

    def end(self, next_cursor: str | None) -> bytes:
        del next_cursor
        return b""


def _lines(rows: Sequence[Sequence[str]]) -> bytes:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def page_json(rows: Sequence[str], members: dict[str, object]) -> bytes:
    """Return a page: the rows, then what is said about them."""
    rest = msgspec.json.encode(members)
    return b'{"data":[' + ",".join(rows).encode() + b"]," + rest[1:]
