"""WebSocket frames (RFC 6455): ready-made ones out, bounded messages in.

What a server sends is not masked, so one frame serves all clients and is made once. What comes in is read by wsproto.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from wsproto.frame_protocol import Frame, FrameProtocol, Opcode, ParseFailed

_FIN: Final = 0x80
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
_MAX_REASON_BYTES: Final = 123

NORMAL: Final = 1000
NO_CODE: Final = 1005
"""Stands for a close that says nothing; it is never sent."""
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

    __slots__ = ("_max_message_bytes", "_parts", "_protocol", "_size")

    def __init__(self, max_message_bytes: int) -> None:
        self._protocol = FrameProtocol(client=False, extensions=[])
        self._max_message_bytes = max_message_bytes
        self._parts: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Inbound]:
        """Yield what has come completely. After a Closed nothing more is to be fed."""
        self._protocol.receive_bytes(data)
        try:
            for frame in self._protocol.received_frames():
                event = self._read(frame)
                if event is not None:
                    yield event
                if isinstance(event, Closed):
                    return
        except ParseFailed as error:
            yield Closed(int(error.code), is_fault=True)

    def _read(self, frame: Frame) -> Inbound | None:
        match frame.opcode, frame.payload:
            case Opcode.PING, bytes(payload):
                return Ping(payload)
            case Opcode.PONG, _:
                return Pong()
            case Opcode.CLOSE, (code, _reason):
                return Closed(NORMAL if code == NO_CODE else int(code))
            case _, str(text):
                return self._collect(text, is_whole=frame.message_finished)
        return Closed(NOT_UNDERSTOOD, "a message is one JSON object, as text", is_fault=True)

    def _collect(self, text: str, *, is_whole: bool) -> Inbound | None:
        self._size += len(text.encode())
        if self._size > self._max_message_bytes:
            return Closed(TOO_BIG, f"a message may have {self._max_message_bytes} bytes", is_fault=True)
        self._parts.append(text)
        if not is_whole:
            return None
        text, self._parts, self._size = "".join(self._parts), [], 0
        return Text(text)
