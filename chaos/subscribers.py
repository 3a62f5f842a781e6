"""Clients of the gateway that are not ours (`websockets`), many in one process of its own; each keeps a diary.

`python -m chaos.subscribers PLAN.json`: every client subscribes, comes back behind its last message whenever its
connection ends, and at SIGTERM unsubscribes, waits for the answer and leaves: then nothing is under way to it.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from ssmd.gateway.access import ClientType
from ssmd.gateway.live.notices import Subscription
from ssmd.model import EVENT_TYPES, EventType

AGAIN_S = 0.1
ANSWER_WITHIN_S = 20.0
LOOK_EVERY_S = 0.1
COLLECT_S = 0.02


class Stay(Struct, frozen=True):
    """A time in which a client is connected, by the wall clock."""

    from_ns: int
    to_ns: int


class Plan(Struct, frozen=True):
    """One client. stays: empty means all the time. is_stubborn: comes back also after a close that says not to."""

    name: str
    client_id: str
    key: str
    symbols: tuple[str, ...]
    types: tuple[EventType, ...] = EVENT_TYPES
    stays: tuple[Stay, ...] = ()
    client_type: ClientType = "display"
    is_stubborn: bool = True


class Plans(Struct, frozen=True):
    url: str
    folder: str
    clients: tuple[Plan, ...]


class Entry(Struct, frozen=True, omit_defaults=True):
    """One line of a diary. kind: opened, subscribed, message, closed, refused, and whatever else the gateway says.

    pos of `opened`: where the stream stood. code of `closed`: 0 when the connection just broke.
    """

    kind: str
    at_ns: int
    id: str = ""
    series: str = ""
    pos: int = 0
    received_at: str = ""
    text: str = ""
    code: int = 0
    subscriptions: tuple[Subscription, ...] = ()


class Got(Struct, frozen=True):
    """Of anything the gateway sends, what a diary keeps."""

    type: str
    id: str | int | None = None
    exchange: str = ""
    symbol: str = ""
    pos: int = 0
    received_at: str = ""
    session: str = ""
    stream: str = ""
    detail: str = ""
    subscriptions: tuple[Subscription, ...] = ()


_got = msgspec.json.Decoder(Got)
_entry = msgspec.json.Encoder()


class Diary:
    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=1 << 16)

    def write(self, entry: Entry) -> None:
        self._file.write(_entry.encode(entry) + b"\n")
        if entry.kind != "message":
            self._file.flush()

    def close(self) -> None:
        self._file.close()


class Client:
    """One client: a thread of its own."""

    def __init__(self, plan: Plan, plans: Plans, leave: threading.Event) -> None:
        self._plan = plan
        self._url = plans.url
        self._leave = leave
        self._diary = Diary(Path(plans.folder) / f"{plan.name}.jsonl")
        self._place = ""
        """Behind the last message."""
        self._stream = ""
        self._is_over = False

    def run(self) -> None:
        stays = self._plan.stays or (Stay(0, 1 << 62),)
        for stay in stays:
            self._leave.wait(max(0.0, (stay.from_ns - time.time_ns()) / 1e9))
            while not self._leave.is_set() and time.time_ns() < stay.to_ns and not self._is_over:
                self._stay(stay.to_ns)
        self._diary.close()

    def _stay(self, to_ns: int) -> None:
        """Be connected until told to leave, or until the connection ends."""
        try:
            with self._connected() as connection:
                try:
                    self._talk(connection, to_ns)
                except ConnectionClosed as closed:
                    self._note_closed(closed)
        except (OSError, InvalidHandshake, TimeoutError) as error:
            self._note("away", text=f"{type(error).__name__}: {error}"[:200])
        if not self._is_over:
            self._leave.wait(AGAIN_S)

    def _connected(self) -> ClientConnection:
        header = {"Authorization": f"Bearer {self._plan.key}", "X-Device-Id": self._plan.name}
        return connect(
            f"{self._url}/subscribe",
            additional_headers=header,
            compression=None,
            proxy=None,
            open_timeout=ANSWER_WITHIN_S,
            close_timeout=5,
            max_queue=4096,
        )

    def _talk(self, connection: ClientConnection, to_ns: int) -> None:
        self._say(connection, op="subscribe", id="begin", **self._begin(connection), **self._wanted())
        while not self._leave.is_set() and time.time_ns() < to_ns:
            try:
                got = self._hear(connection, LOOK_EVERY_S)
            except TimeoutError:
                continue
            if got.type == "error":  # such as: the bus is away. The next connection asks again
                self._note("closed", code=1000)
                return
        self._say(connection, op="unsubscribe", id="end", **self._wanted())
        while self._hear(connection, ANSWER_WITHIN_S).id != "end":
            pass
        self._note("left")
        connection.close()
        self._note("closed", code=1000)

    def _begin(self, connection: ClientConnection) -> dict[str, str]:
        welcome = self._hear(connection, ANSWER_WITHIN_S)
        assert welcome.type == "welcome", welcome
        self._stream = self._stream or welcome.stream
        self._place = self._place or f"pos:{welcome.pos}@{welcome.stream}"
        return {"from": self._place}

    def _wanted(self) -> dict[str, Any]:
        return {"symbols": self._plan.symbols, "types": self._plan.types}

    def _say(self, connection: ClientConnection, **command: object) -> None:
        connection.send(msgspec.json.encode(command).decode())

    def _hear(self, connection: ClientConnection, within_s: float) -> Got:
        text = connection.recv(within_s)
        at_ns = time.time_ns()
        got = _got.decode(text)
        if got.type in EVENT_TYPES:
            series = f"{got.exchange}/{got.type}/{got.symbol}"
            self._place = f"pos:{got.pos}@{self._stream}"
            self._diary.write(Entry("message", at_ns, str(got.id), series, got.pos, got.received_at))
        elif got.type == "welcome":
            self._note("opened", id=got.session, pos=got.pos)
        else:
            self._note(got.type, id=str(got.id), text=got.detail, subscriptions=got.subscriptions)
        return got

    def _note_closed(self, closed: ConnectionClosed) -> None:
        code = closed.rcvd.code if closed.rcvd is not None else 0
        self._note("closed", code=code, text=closed.rcvd.reason if closed.rcvd is not None else "")
        self._is_over = not self._plan.is_stubborn

    def _note(self, kind: str, **more: Any) -> None:
        self._diary.write(Entry(kind, time.time_ns(), **more))


# what they wrote ---------------------------------------------------------------------------------------------


def entries_of(path: Path) -> Iterator[Entry]:
    """Give the whole lines of a diary."""
    if not path.exists():
        return
    decoder = msgspec.json.Decoder(Entry)
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield decoder.decode(line)


def main(path: Path) -> None:
    plans = msgspec.json.decode(path.read_bytes(), type=Plans)
    leave = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leave.set())
    threads = [threading.Thread(target=Client(plan, plans, leave).run, name=plan.name) for plan in plans.clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(LOOK_EVERY_S)  # a signal is taken between two of these
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # from here on it leaves anyway


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main(Path(sys.argv[1]))
