"""Raw lines <-> records: one JSON object per line, the received text last and byte for byte.

`{"recv_ns":N,"conn":"…","seq":N,"frame":<text>}` when the text is one line of JSON, else `"text":"<escaped>"`;
`"base64":"…"` for bytes that are no text; our own notes carry their members inline, `"event":"…"` first.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw, Struct

from ssmd.errors import BadRecord
from ssmd.model import is_token
from ssmd.records import Count, FrameLine, Note, Record


class _Line(Struct, gc=False):
    recv_ns: Count
    conn: str
    seq: Count
    frame: Raw = Raw()
    text: str | None = None
    base64: bytes | None = None
    event: str | None = None


_ANY_JSON: Final = msgspec.json.Decoder(Raw)
_LINE: Final = msgspec.json.Decoder(_Line)
_NOTE: Final = msgspec.json.Decoder(Note)

_FRAME_MEMBER: Final = b',"frame":'
_TEXT_MEMBER: Final = b',"text":'
_EVENT_MEMBER: Final = b',"event":"'
_HEAD: Final = re.compile(rb'\{"recv_ns":([0-9]{1,20}),"conn":"([A-Za-z0-9_-]{1,32})","seq":([0-9]{1,20})(?=,"(\w+)":)')
_CONN: Final = re.compile(rb'^\{"recv_ns":[0-9]{1,20},"conn":"([A-Za-z0-9_-]{1,32})",', re.MULTILINE)


def frame_record(recv_ns: int, conn: str, seq: int, received: str | bytes) -> tuple[Record, bytes]:
    """Return what `decode_line` makes of anything received, and its line with the newline; nothing is parsed twice.

    Never raises for any text or bytes. Bytes that are UTF-8 become text; only others are kept as base64.
    """
    try:
        text = received if isinstance(received, str) else received.decode()
    except UnicodeDecodeError as no_text:
        data = no_text.object
        member = f'"base64":"{base64.b64encode(data).decode()}"'
        return Record(recv_ns, conn, seq, data=data), _line(recv_ns, conn, seq, member)
    if _is_one_line_of_json(text):  # nearly always, so without the detour through _line
        line = f'{{"recv_ns":{recv_ns},"conn":"{_token(conn)}","seq":{seq},"frame":{text}}}\n'
        return Record(recv_ns, conn, seq, text), line.encode()
    escaped = json.dumps(text)  # two surrogates that make a pair come back as the character that they are
    return Record(recv_ns, conn, seq, text=json.loads(escaped)), _line(recv_ns, conn, seq, f'"text":{escaped}')


def encode_frame(recv_ns: int, conn: str, seq: int, text: str) -> bytes:
    return frame_record(recv_ns, conn, seq, text)[1]


def encode_bytes(recv_ns: int, conn: str, seq: int, data: bytes) -> bytes:
    return frame_record(recv_ns, conn, seq, data)[1]


def encode_note(recv_ns: int, conn: str, seq: int, note: Note) -> bytes:
    """Return the line of one of our own notes."""
    return _line(recv_ns, conn, seq, msgspec.json.encode(note)[1:-1].decode())


def decode_line(line: bytes | memoryview) -> Record:
    """Return the record of one line, with or without its newline; BadRecord if it is no whole raw line."""
    line = bytes(line)
    try:
        return _record(line, _LINE.decode(line))
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        return _decode_unusual(line, error)


UNREADABLE: Final = "unreadable"
"""The connection name of a line that cannot be read; no real connection has it."""


def read_line(line: bytes) -> Record:
    """Return the record of one line of the journal; one that cannot be read becomes a text of no connection.

    So bit rot costs its own line, is counted as a reject, and stops nobody.
    """
    try:
        return decode_line(line)
    except BadRecord:
        return Record(0, UNREADABLE, 0, text=line.decode("utf-8", "backslashreplace"))


class LineReader:
    """Reads raw lines, frames of market data at once with their lines: half the price of one after the other."""

    def __init__(self, frame_type: object) -> None:
        """frame_type: what msgspec makes of a frame of market data. Any other frame comes as text."""
        self._decode = msgspec.json.Decoder(FrameLine[frame_type]).decode  # type: ignore[valid-type]

    def read(self, lines: Iterable[bytes]) -> list[Record | FrameLine[object]]:
        """Return for each line, without its newline, the record of `read_line`, or what stands for it.

        A FrameLine has the time, connection and number that the record has, but its connection is not checked. A line
        that ends with two braces ends with its frame, since no other member holds an object; what is not ASCII is left
        to `read_line` because msgspec does not look into strings that it skips.
        """
        decode = self._decode
        found: list[Record | FrameLine[object]] = []
        for line in lines:
            if line.endswith(b"}}") and line.isascii():
                try:
                    found.append(decode(line))
                    continue
                except (msgspec.DecodeError, RecursionError):
                    pass
            found.append(read_line(line))
        return found


def decode_lines(chunk: bytes) -> Iterator[Record | BadRecord]:
    """Yield the record of each line; a line that cannot be read comes as BadRecord, and the next one follows.

    What stands behind the last newline is a line cut off and comes as BadRecord too.
    """
    *lines, tail = chunk.split(b"\n")
    for line in lines:
        try:
            yield decode_line(line)
        except BadRecord as bad:
            yield bad
    if tail:
        yield BadRecord(f"line cut off after {len(tail)} bytes")


def note_lines(data: bytes) -> Iterator[bytes]:
    """Yield the lines of `data` that hold notes, newline included, at the speed of a byte search."""
    hit = data.find(_EVENT_MEMBER)
    while hit >= 0:
        start = data.rfind(b"\n", 0, hit) + 1
        end = data.find(b"\n", hit) + 1 or len(data)
        head = _HEAD.match(data, start)
        if head is not None and head.end() == hit:  # else the words stand somewhere in a frame
            yield data[start:end]
        hit = data.find(_EVENT_MEMBER, end)


def connections(data: bytes) -> set[str]:
    """Return the connections of whole lines, without reading more than each line's head."""
    return {found.decode() for found in _CONN.findall(data)}


def _line(recv_ns: int, conn: str, seq: int, member: str) -> bytes:
    return f'{{"recv_ns":{recv_ns},"conn":"{_token(conn)}","seq":{seq},{member}}}\n'.encode()


def _is_one_line_of_json(text: str) -> bool:
    if "\n" in text or "\r" in text:
        return False
    try:
        _ANY_JSON.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
    return True


@lru_cache(maxsize=1024)
def _token(conn: str) -> str:
    if not is_token(conn):
        raise ValueError(f"conn is {conn!r}; it must be a token")
    return conn


def _record(line: bytes, fields: _Line) -> Record:
    conn = _token(fields.conn)
    frame = bytes(fields.frame)
    if frame:
        end = _FRAME_MEMBER + frame + b"}"
        if not (line.endswith(end) or line.endswith(end + b"\n")):  # a tuple of both would copy both  # noqa: PIE810
            frame = _cut_out(line, frame)
        return Record(fields.recv_ns, conn, fields.seq, frame.decode())
    if fields.text is not None:
        return Record(fields.recv_ns, conn, fields.seq, text=fields.text)
    if fields.base64 is not None:
        return Record(fields.recv_ns, conn, fields.seq, data=fields.base64)
    return Record(fields.recv_ns, conn, fields.seq, note=_NOTE.decode(line))


def _cut_out(line: bytes, frame: bytes) -> bytes:
    """Return the bytes between `"frame":` and the last brace; `frame` is the same without blanks around it."""
    exact = line[line.index(_FRAME_MEMBER) + len(_FRAME_MEMBER) :].removesuffix(b"\n").removesuffix(b"}")
    if exact.strip(b" \t") != frame:
        raise ValueError("frame is not the last member")
    return exact


def _decode_unusual(line: bytes, error: Exception) -> Record:
    """Return what msgspec refuses and we wrote: lone surrogates in a text, a frame at its depth limit."""
    head, line = _HEAD.match(line), line.removesuffix(b"\n")
    try:
        if head is not None and line.endswith(b"}"):
            recv_ns, conn, seq = int(head[1]), head[2].decode(), int(head[3])
            if head[4] == b"text" and isinstance(error, msgspec.DecodeError):
                return Record(recv_ns, conn, seq, text=_escaped_text(line[head.end() + len(_TEXT_MEMBER) : -1]))
            if head[4] == b"frame" and isinstance(error, RecursionError):
                return Record(recv_ns, conn, seq, frame=line[head.end() + len(_FRAME_MEMBER) : -1].decode())
    except ValueError as unreadable:
        error = unreadable
    raise BadRecord(f"not a raw line: {error}") from error


def _escaped_text(value: bytes) -> str:
    text = json.loads(value) if value.startswith(b'"') else None
    if not isinstance(text, str):
        raise ValueError("text is not a string")  # noqa: TRY004 bad data, not a caller's mistake
    return text
