"""The seam between the neutral server and what one exchange says. A further exchange implements `Venue`."""

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

from ssmd.simulator.faults import Fault
from ssmd.simulator.session import Session

MaintenancePhase = Literal["announced", "begun", "over"]


class Request(Struct, frozen=True):
    method: str
    path: str
    query: Mapping[str, str]


class Reply(Struct, frozen=True):
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class BookView(Struct, frozen=True):
    """The best levels as exact texts (price, size), best first."""

    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    checksum: int | None = None


class Client(Protocol):
    """One connection as the venue sees it. Nothing here waits: frames are queued on the session."""

    def receive(self, message: str | bytes) -> None: ...

    def heartbeat(self) -> None: ...

    def leave(self) -> None:
        """Forget the connection. Idempotent."""
        ...


class Venue(Protocol):
    path: str
    """Where the WebSocket lives."""

    def join(self, session: Session) -> Client:
        """Greet a new connection."""
        ...

    async def run(self) -> None:
        """Keep the market going until cancelled."""
        ...

    def inject(self, fault: Fault) -> None:
        """Do, or prepare, a fault on the feed; faults on connections are the server's."""
        ...

    def maintain(self, phase: MaintenancePhase) -> None: ...

    def answer(self, request: Request) -> Reply | None:
        """Return the REST answer; None where the venue has nothing."""
        ...

    def books(self, levels: int) -> Mapping[str, BookView]:
        """Return the present book of each symbol."""
        ...
