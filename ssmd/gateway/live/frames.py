"""WebSocket frames (RFC 6455): ready-made ones out, bounded messages in.

What a server sends is not masked, so one frame serves all clients and is made once. What comes in is read by wsproto.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, TextMessage
from wsproto.events import Ping as WirePing
from wsproto.events import Pong as WirePong

_FIN: Final = 0x80
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_MAX_REASON_BYTES: Final = 123

TOO_BIG: Final = 1009
NOT_UNDERSTOOD: Final = 4400


class Text(Struct, frozen=True):
    data: str


class Ping(Struct, frozen=True):
    payload: bytes


class Pong(Struct, frozen=True):
    pass


class Closed(Struct, frozen=True):
    """The client closes, or what it sent ends the connection. code: to answer with."""

    code: int
    reason: str = ""
    is_fault: bool = False


Inbound = Text | Ping | Pong | Closed


def text_frame(payload: bytes) -> bytes:
    return _frame(_TEXT, payload)


def ping_frame() -> bytes:
    return _frame(_PING, b"")


def pong_frame(payload: bytes) -> bytes:
    return _frame(_PONG, payload)


def close_frame(code: int, reason: str = "") -> bytes:
    return _frame(_CLOSE, code.to_bytes(2, "big") + reason.encode()[:_MAX_REASON_BYTES])


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


class FrameReader:
    """Reads what a client sends; holds one message of at most so many bytes, whatever its frames announce."""

    def __init__(self, max_message_bytes: int) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._max_message_bytes = max_message_bytes
        self._parts: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Inbound]:
        """Yield what has come completely. After a Closed nothing more is to be fed."""
        self._connection.receive_data(data)
        for event in self._connection.events():
            match event:
                case WirePing():
                    yield Ping(bytes(event.payload))
                case WirePong():
                    yield Pong()
                case CloseConnection():
                    yield _closed(event)
                    return
                case TextMessage() | BytesMessage():
                    whole = self._collect(event)
                    if whole is not None:
                        yield whole
                    if isinstance(whole, Closed):
                        return

    def _collect(self, event: TextMessage | BytesMessage) -> Inbound | None:
        if isinstance(event, BytesMessage):
            return Closed(NOT_UNDERSTOOD, "a message is one JSON object, as text", is_fault=True)
        self._size += len(event.data.encode())
        if self._size > self._max_message_bytes:
            return Closed(TOO_BIG, f"a message may have {self._max_message_bytes} bytes", is_fault=True)
        self._parts.append(event.data)
        if not event.message_finished:
            return None
        text, self._parts, self._size = "".join(self._parts), [], 0
        return Text(text)


def _closed(event: CloseConnection) -> Closed:
    """Answer a close with its own code; 1005 says that there was none. Bad framing comes as a close of our side."""
    is_fault = event.reason is not None and int(event.code) in {1002, 1007, 1009}
    return Closed(1000 if event.code == 1005 else int(event.code), "", is_fault=is_fault)
