"""The seam between ssmd and an exchange. A new exchange is one file that implements `Exchange`.

Everything here is pure: text goes in, text and values come out. No socket, no clock, no Trio. Times are passed in.
"""

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from ssmd.records import FeedConfig

Operation = Literal["subscribe", "unsubscribe"]


class Limits(Struct, frozen=True):
    """What the exchange allows and needs; each venue's file gives the source of its numbers."""

    max_frame_bytes: int
    connects_per_window: int
    connect_window_s: float
    idle_timeout_s: float
    ack_timeout_s: float
    ping_interval_s: float
    requests_per_s: float
    symbols_per_request: int
    reconnect_first_s: float
    reconnect_cap_s: float
    after_maintenance_s: float
    stable_after_s: float


class Subscription(Struct, frozen=True, order=True):
    """What the exchange acknowledges one by one: a channel of one name (`BTC/USD`)."""

    channel: str
    name: str


class Request(Struct, frozen=True):
    """One text to send and the subscriptions that it asks for."""

    req_id: int
    text: str
    subscriptions: tuple[Subscription, ...]


class Accepted(Struct, frozen=True):
    operation: Operation
    subscription: Subscription
    req_id: int | None = None
    warnings: tuple[str, ...] = ()


class Rejected(Struct, frozen=True):
    """The exchange says no. What it does not say (name, channel, req_id) is None.

    already: the subscription exists, so nothing is missing. lasting: asking again will not help.
    """

    operation: Operation
    reason: str
    name: str | None = None
    channel: str | None = None
    req_id: int | None = None
    already: bool = False
    lasting: bool = False


class RateLimited(Struct, frozen=True):
    """Requests came too fast; some may be lost, so every pending one is asked again later."""

    reason: str


class SystemStatus(Struct, frozen=True):
    """The state of the exchange as it says it. `open`: market data is to be expected."""

    state: str
    open: bool
    maintenance: str | None = None
    """The phase or advice of an announced maintenance, if any."""


class Pong(Struct, frozen=True):
    req_id: int | None = None


Control = Accepted | Rejected | RateLimited | SystemStatus | Pong


class TradePrint(Struct, frozen=True, gc=False):
    name: str
    price: str
    size: str
    side: Literal["buy", "sell"]
    trade_id: str
    timestamp_ns: int | None


class TopOfBook(Struct, frozen=True, gc=False):
    name: str
    bid_price: str
    bid_size: str
    ask_price: str
    ask_size: str
    timestamp_ns: int | None


class BookChange(Struct, frozen=True, gc=False):
    """A snapshot replaces the book, an update changes levels (size zero deletes).

    checksum: what the exchange says the book must give afterwards; None where it gives none.
    """

    name: str
    snapshot: bool
    bids: Sequence[tuple[str, str]]
    asks: Sequence[tuple[str, str]]
    checksum: int | None
    timestamp_ns: int | None


class BookUnreadable(Struct, frozen=True):
    """A frame about this book cannot be understood, so what it changed is unknown: do not trust the book."""

    name: str
    reason: str
    detail: str


class SequenceBroken(Struct, frozen=True):
    """Frames of this connection were lost: no book of the connection can be trusted."""

    expected: int
    seen: int


Update = TradePrint | TopOfBook | BookChange | BookUnreadable | SequenceBroken


class FrameParser(Protocol):
    """Understands the frames of one connection in order (it may count sequence numbers)."""

    def parse(self, text: str) -> Sequence[Update]:
        """Return what the frame says; empty for control frames, heartbeats and history.

        Raises BadFrame for anything it cannot understand; the parser stays usable. A frame is understood whole or
        not at all: of a bad one nothing is returned but a BookUnreadable for each book that it names. Where frames are
        numbered, a rejected one counts as lost, so that it hides no hole.
        """
        ...

    def understand(self, frame: object) -> Sequence[Update]:
        """Return what `parse` does, of a frame that was read as `Exchange.frame_type`.

        Raises BadFrame, with nothing changed, where `parse` has to see the text.
        """
        ...

    def state(self) -> bytes:
        """Return what `Exchange.parser` needs to go on exactly from here; empty where nothing is kept."""
        ...


def offered_depth(offered: Collection[int], wanted: int) -> int | None:
    """Return the smallest offered depth that holds `wanted`, else the largest; None where books come whole."""
    return min((depth for depth in offered if depth >= wanted), default=max(offered, default=None))


class Exchange(Protocol):
    """What one exchange knows. Instances hold no connection state."""

    name: str
    """Equal to the feed's name in the environment and in subjects."""
    ws_url: str
    """The public market data endpoint; settings may name another one."""
    rest_url: str
    """The root of its public REST; settings may name another one."""
    hosts: frozenset[str]
    """Its public hosts for market data. Another one is only asked when the operator has allowed it."""
    clock_resolution_s: float
    """The steps in which its clock answers: the true time lies within one step after `clock_ns`."""
    limits: Limits
    book_channel: str
    """The channel to subscribe anew when a book lost its proof."""
    frame_type: object
    """What msgspec makes of a frame of market data: a struct, or a union of structs by their tag."""
    book_depths: tuple[int, ...]
    """The depths it offers, empty where books come whole; any other depth is cut from the next larger one."""

    def subscriptions(self, config: FeedConfig) -> frozenset[Subscription]:
        """Return what must be subscribed for the enabled symbols of the configuration."""
        ...

    def requests(
        self, operation: Operation, subscriptions: Collection[Subscription], config: FeedConfig, first_req_id: int
    ) -> Sequence[Request]:
        """Return the texts to send, in a stable order, with req_ids counted from `first_req_id`."""
        ...

    def ping(self, req_id: int) -> str | None:
        """Return an application ping, or None where the exchange has none."""
        ...

    def control(self, text: str) -> Control | None:
        """Return what a frame says to the session, None for market data. Cheap for market data; never raises."""
        ...

    def parser(self, state: bytes = b"") -> FrameParser:
        """Return a parser for one connection: fresh, or going on from `FrameParser.state`."""
        ...

    def level_token(self, price: str, size: str) -> bytes:
        """Return what one level adds to the checksum; kept beside the level so that it is made once."""
        ...

    def checksum(self, asks: Sequence[bytes], bids: Sequence[bytes]) -> int:
        """Return the book's checksum from level tokens, best first. Unused where the venue sends none."""
        ...

    def instruments_url(self, rest_url: str) -> str:
        """Return the address of the list of everything that it offers."""
        ...

    def instruments(self, answer: bytes) -> frozenset[str]:
        """Return the names that send market data, spelled as a subscription wants them.

        Raises BadFrame: `rate_limited` when it was asked too often, another reason for anything else but a list.
        """
        ...

    def spelling(self, name: str) -> str:
        """Return how it spells today what a person wrote in another way; the name itself where that is unclear.

        For hints only: it does not know which names are offered, so look the result up before showing it.
        """
        ...

    def clock_url(self, rest_url: str) -> str:
        """Return the address of its own time."""
        ...

    def clock_ns(self, answer: bytes) -> int:
        """Return the time of an answer. Raises BadFrame as `instruments` does."""
        ...
