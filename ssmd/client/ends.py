"""How each format shows that it is whole. What was cut must never pass for a short answer."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec
from msgspec import Struct

from ssmd.client.http import cut
from ssmd.client.rows import Quality

Format = Literal["ndjson", "csv", "arrow", "parquet"]

ARROW_END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""End of a stream of Arrow IPC. Its readers take the end of the data for the end of the stream."""
PARQUET_MARK: Final = b"PAR1"
QUALITY_HEADER: Final = "X-Ssmd-Quality"


class End(Struct, frozen=True):
    """What the end of an answer tells. rows: None where the format does not say."""

    rows: int | None = None
    quality: Quality | None = None


class _LastLine(Struct, frozen=True):
    rows: int
    quality: Quality
    is_end: bool = msgspec.field(name="_end", default=False)


class Watch:
    """Looks at an answer piece by piece; `end` says whether it is whole."""

    def __init__(self, form: Format, headers: Mapping[str, str]) -> None:
        self._form = form
        self._headers = headers
        self._first = b""
        self._tail = b""
        self._lines = 0
        self.size = 0

    def saw(self, piece: bytes) -> None:
        self._first = (self._first + piece[:4])[:4]
        self.size += len(piece)
        self._lines += piece.count(b"\n") if self._form in {"csv", "ndjson"} else 0
        if self._form == "ndjson":
            self._tail = _last_line(self._tail + piece)
        else:
            self._tail = (self._tail + piece)[-8:]

    def end(self) -> End:
        """Raises Unavailable when something is missing. CSV alone does not show it: there HTTP itself must."""
        match self._form:
            case "ndjson":
                return ndjson_end(self._tail)
            case "csv":
                return End(max(0, self._lines - 1), _header_quality(self._headers))
            case "arrow":
                arrow_end(self._tail)
            case "parquet":
                self._parquet_end()
        return End()

    def _parquet_end(self) -> None:
        footer = int.from_bytes(self._tail[:4], "little")
        is_whole = self._first == PARQUET_MARK and self._tail.endswith(PARQUET_MARK)
        if not is_whole or footer + 12 > self.size:
            raise cut(f"{self.size} bytes of Parquet without their footer")


def ndjson_end(line: bytes) -> End:
    """Return what the last line says. Raises Unavailable when it is not the last one."""
    try:
        last = msgspec.json.decode(line, type=_LastLine)
    except msgspec.MsgspecError:
        last = None
    if last is None or not last.is_end:
        raise cut("its last line is missing")
    return End(last.rows, last.quality)


def arrow_end(body: bytes) -> None:
    if not body.endswith(ARROW_END):
        raise cut("its end mark is missing")


def split_ndjson(body: bytes) -> tuple[bytes, End]:
    """Return the rows and what the last line says. Raises Unavailable."""
    rows, _, last = body.rstrip(b"\n").rpartition(b"\n")
    return rows, ndjson_end(last)


def _last_line(data: bytes) -> bytes:
    """Return the last line, whole or not."""
    return data[data.rstrip(b"\n").rfind(b"\n") + 1 :]


def _header_quality(headers: Mapping[str, str]) -> Quality | None:
    text = headers.get(QUALITY_HEADER, "")
    return msgspec.json.decode(text, type=Quality) if text else None
