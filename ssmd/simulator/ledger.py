"""The record of everything handed to a socket, so that a checker can compare sent with received."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

FLUSH_EVERY_S: Final = 0.25
_BUFFER_BYTES: Final = 1 << 20


class Outgoing(Struct, frozen=True, gc=False):
    """One frame in the order in which it was decided; a withheld one is recorded but never sent."""

    frame: bytes
    withheld: bool = False


class Ledger:
    """Append one JSON line per frame: `{"conn","n","sent_ns","withheld","frame"}`.

    Lines are written before their frames are handed to the socket: what a client received is always a prefix
    of its connection's lines. `n` counts a connection's lines from 0. Bytes that are not UTF-8 appear as escapes.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: IO[bytes] | None = None if path is None else path.open("ab", buffering=_BUFFER_BYTES)

    def write(self, conn: int, first_n: int, sent_ns: int, batch: Sequence[Outgoing]) -> None:
        if self._file is None:
            return
        quote = msgspec.json.Encoder().encode
        for n, outgoing in enumerate(batch, first_n):
            withheld = b"true" if outgoing.withheld else b"false"
            text = outgoing.frame.decode("utf-8", "backslashreplace")
            head = b'{"conn":%d,"n":%d,"sent_ns":%d,"withheld":%b,"frame":' % (conn, n, sent_ns, withheld)
            self._file.write(b"%b%b}\n" % (head, quote(text)))

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
