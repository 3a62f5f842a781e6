"""What the normalizer keeps of one connection: the configuration in force, its parser and its books."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from ssmd.clock import NS_PER_MS
from ssmd.model import Level
from ssmd.protocols.base import Exchange, offered_depth
from ssmd.protocols.book import Book, BookState
from ssmd.records import FeedConfig, SymbolSpec

NEVER_NS: Final = 2**63 - 1


class TrackedState(Struct, frozen=True):
    name: str
    book: BookState | None
    trusted_ns: int
    timestamp_ns: int


class ConnectionState(Struct, frozen=True):
    """What a checkpoint keeps of a connection."""

    config: FeedConfig
    parser: bytes
    books: tuple[TrackedState, ...]
    dirty: tuple[str, ...]
    due_ns: int
    leaving: tuple[str, ...] = ()


class TrackedBook:
    """The book of one symbol on one connection. `book` is None while there is none to trust: it waits for a snapshot."""

    __slots__ = ("book", "name", "symbol", "timestamp_ns", "trusted_ns")

    def __init__(self, name: str, symbol: str, trusted_ns: int) -> None:
        self.name = name
        self.symbol = symbol
        self.book: Book | None = None
        self.trusted_ns = trusted_ns
        """Receive time of the last verified state; before the first one, of the configuration that asked for it."""
        self.timestamp_ns = 0

    def top(self, depth: int) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """Return bids and asks, best first; nothing while the book waits."""
        if self.book is None:
            return (), ()
        return self.book.bids.top(depth), self.book.asks.top(depth)

    def state(self) -> TrackedState:
        book = None if self.book is None else self.book.state()
        return TrackedState(self.name, book, self.trusted_ns, self.timestamp_ns)


class Connection:
    """State of one connection, made at its `connected` note and gone with it: no level survives a reconnect."""

    def __init__(self, exchange: Exchange, parser_state: bytes = b"") -> None:
        self._exchange = exchange
        self.parser = exchange.parser(parser_state)
        self.config = FeedConfig(symbols=())
        self.specs: dict[str, SymbolSpec] = {}
        self.leaving: set[str] = set()
        """Names that were wanted once on this connection: what still comes of them was on its way."""
        self.books: dict[str, TrackedBook] = {}
        self.dirty: dict[TrackedBook, None] = {}
        """Books changed in the present interval, in the order of their first change."""
        self.due_ns = NEVER_NS
        """The end of that interval: the first frame from then on publishes the dirty books."""
        self._interval_ns = 0

    def configure(self, config: FeedConfig, recv_ns: int) -> None:
        """Take over the configuration; books of symbols that stay are kept, those of removed ones dropped."""
        before = self.books
        self.leaving |= self.specs.keys()
        self.config = config
        self.specs = {spec.name: spec for spec in config.symbols}
        self.leaving -= self.specs.keys()
        self.books = {}
        for spec in config.symbols:
            if spec.depth == "l2":
                tracked = before.get(spec.name) or TrackedBook(spec.name, spec.symbol, recv_ns)
                tracked.symbol = spec.symbol
                self.books[spec.name] = tracked
        self._interval_ns = config.book_interval_ms * NS_PER_MS
        self.dirty = {tracked: None for tracked in self.dirty if tracked.name in self.books}
        if self.dirty:
            self.due_ns = recv_ns  # the interval may be another one now: what waits goes out with the next frame

    def begin_book(self, tracked: TrackedBook) -> Book:
        """Give the symbol an empty book, cut to the depth that is subscribed now."""
        depth = offered_depth(self._exchange.book_depths, self.config.book_depth)
        tracked.book = Book(depth, self._exchange.level_token)
        return tracked.book

    def drop_book(self, tracked: TrackedBook) -> None:
        """Forget the levels and what waits to be published of them; the next snapshot begins anew."""
        tracked.book = None
        self.dirty.pop(tracked, None)

    def publish_now(self, tracked: TrackedBook, recv_ns: int) -> bool:
        """Tell whether a change goes out at once; else remember it until the interval of `recv_ns` is over."""
        if self._interval_ns == 0:
            return True
        if tracked not in self.dirty:
            self.due_ns = recv_ns - recv_ns % self._interval_ns + self._interval_ns
            self.dirty[tracked] = None
        return False

    def take_due(self) -> Iterable[TrackedBook]:
        due, self.dirty, self.due_ns = self.dirty, {}, NEVER_NS
        return due

    def state(self) -> ConnectionState:
        return ConnectionState(
            self.config,
            self.parser.state(),
            tuple(tracked.state() for tracked in self.books.values()),
            tuple(tracked.name for tracked in self.dirty),
            self.due_ns,
            tuple(sorted(self.leaving)),
        )

    @classmethod
    def restored(cls, exchange: Exchange, state: ConnectionState) -> "Connection":
        """Return the connection that `state()` described."""
        connection = cls(exchange, state.parser)
        connection.configure(state.config, recv_ns=0)
        for saved in state.books:
            tracked = connection.books[saved.name]
            tracked.trusted_ns, tracked.timestamp_ns = saved.trusted_ns, saved.timestamp_ns
            if saved.book is not None:
                tracked.book = Book.restored(saved.book, exchange.level_token)
        connection.dirty = {connection.books[name]: None for name in state.dirty}
        connection.due_ns = state.due_ns
        connection.leaving = set(state.leaving)
        return connection
