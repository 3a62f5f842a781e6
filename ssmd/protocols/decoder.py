"""The normalizer's logic: records in, events out. Live capture and reprocessing run this same code.

Pure: what comes out depends only on the records so far. No clock and no timers: intervals are driven by receive
times. Bad input is data: it is counted, reported as a Reject, and the next frame is read as if nothing had been.

A frame is taken whole or not at all as far as reading goes. Its entries are then applied one by one, and an entry
that does not fit its book (another number of decimals, a wrong checksum) costs that symbol its book until the next
snapshot; the frame's other entries stand.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from ssmd import model
from ssmd.errors import BadFrame, BadRecord, ConfigError
from ssmd.model import Quote, Trade
from ssmd.protocols.base import (
    BookChange,
    BookUnreadable,
    Exchange,
    TopOfBook,
    TradePrint,
    Update,
)
from ssmd.protocols.connection import Connection, ConnectionState, TrackedBook
from ssmd.protocols.outcome import EMPTY, Counts, Decoded, Desync, Draft, Reject
from ssmd.protocols.text import shorten
from ssmd.protocols.trade_ids import TradeIds, TradeIdsState
from ssmd.records import Configured, Connected, Disconnected, FrameLine, Lost, Note, Record, Resync

__all__ = ["EMPTY", "VERSIONS", "Counts", "Decoded", "Desync", "FeedDecoder", "Reject", "decoder"]


class DecoderState(Struct, frozen=True):
    feed: str
    counts: Counts
    connections: dict[str, ConnectionState]
    trades: dict[str, TradeIdsState]


class FeedDecoder:
    """Turns the records of one feed, in journal order, into events. Normalizer version `v1`."""

    def __init__(self, feed: str, exchange: Exchange, state: bytes | None = None) -> None:
        """Begin anew, or go on exactly where the decoder that gave `state` was.

        Raises BadRecord when the state is damaged or of another feed.
        """
        self.counts = Counts()
        self._feed = feed
        self._exchange = exchange
        self._connections: dict[str, Connection] = {}
        self._trades: dict[str, TradeIds] = {}
        if state is not None:
            self._restore(state)

    def feed(self, record: Record) -> Decoded:
        """Return what comes of the next record: EMPTY for most. Never raises for bad input."""
        if record.note is not None:
            return self._follow(record, record.note)
        self.counts.frames += 1
        connection = self._connections.get(record.conn)
        if connection is None:
            return Decoded(rejects=(self._reject(record, "unknown_connection", "no connected note before this frame"),))
        draft = self._begin(record, connection)
        if record.frame is None:
            detail = "binary" if record.text is None else shorten(record.text)
            draft.rejects.append(self._reject(record, "not_one_line", detail))
            return draft.finished()
        try:
            updates = connection.parser.parse(record.frame)
        except BadFrame as bad:
            draft.rejects.append(self._reject(record, bad.reason, bad.detail))
            return draft.finished()
        return self._apply(draft, updates)

    def feed_line(self, line: FrameLine[object]) -> Decoded | None:
        """Return what `feed` does, of a frame that was read with its line; None, with nothing changed, for a bad one.

        Then `feed` is to be asked, which needs the text to tell what is wrong.
        """
        connection = self._connections.get(line.conn)
        if connection is None:
            return None
        try:
            updates = connection.parser.understand(line.frame)
        except BadFrame:
            return None
        self.counts.frames += 1
        return self._apply(self._begin(line, connection), updates)

    @property
    def frame_type(self) -> object:
        """What the frames of `feed_line` are read as."""
        return self._exchange.frame_type

    def state(self) -> bytes:
        """Return everything the future depends on."""
        return msgspec.msgpack.encode(
            DecoderState(
                self._feed,
                self.counts,
                {conn: connection.state() for conn, connection in self._connections.items()},
                {symbol: ids.state() for symbol, ids in self._trades.items()},
            )
        )

    def _restore(self, text: bytes) -> None:
        try:
            state = msgspec.msgpack.decode(text, type=DecoderState)
            connections = {
                conn: Connection.restored(self._exchange, saved) for conn, saved in state.connections.items()
            }
        except (msgspec.DecodeError, BadFrame, KeyError) as error:
            raise BadRecord(f"decoder state of {self._feed} cannot be read: {error}") from error
        if state.feed != self._feed:
            raise BadRecord(f"decoder state is of feed {state.feed}, wanted {self._feed}")
        self.counts = state.counts
        self._connections = connections
        self._trades = {symbol: TradeIds(saved) for symbol, saved in state.trades.items()}

    # Notes: what the session did

    def _follow(self, record: Record, note: Note) -> Decoded:
        match note:
            case Connected(after=after):
                if after is not None:
                    self._connections.pop(after.conn, None)
                self._connections[record.conn] = Connection(self._exchange)
            case Disconnected():
                self._connections.pop(record.conn, None)
            case Configured() | Resync() | Lost() if (connection := self._connections.get(record.conn)) is not None:
                return self._adapt(Draft(record, connection), note)
        return EMPTY

    def _adapt(self, draft: Draft, note: Configured | Resync | Lost) -> Decoded:
        match note:
            case Configured(config=config):
                draft.connection.configure(config, draft.record.recv_ns)
            case Resync(symbol=symbol):
                for tracked in draft.connection.books.values():
                    if tracked.symbol == symbol:
                        draft.connection.drop_book(tracked)
            case Lost(reason=reason):
                self._distrust_all(draft, shorten(reason))
        return draft.finished()

    # Frames: what the exchange said

    def _begin(self, record: Record | FrameLine[object], connection: Connection) -> Draft:
        draft = Draft(record, connection)
        if record.recv_ns >= connection.due_ns:
            for tracked in connection.take_due():
                self._publish(draft, tracked)
        return draft

    def _apply(self, draft: Draft, updates: Iterable[Update]) -> Decoded:
        for update in updates:
            if type(update) is BookChange:  # two of three frames; isinstance costs 0.13 µs for each other struct
                self._change_book(draft, update)
            else:
                self._take(draft, update)
        return draft.finished()

    def _take(self, draft: Draft, update: Update) -> None:
        if type(update) is TopOfBook:
            self._quote(draft, update)
        elif type(update) is TradePrint:
            self._trade(draft, update)
        elif type(update) is BookUnreadable:
            self._unreadable(draft, update)
        else:
            self._distrust_all(draft, "sequence")

    def _trade(self, draft: Draft, print_: TradePrint) -> None:
        record = draft.record
        spec = draft.connection.specs.get(print_.name)
        if spec is None:
            self._unmapped(draft, print_.name)
            return
        self._count(spec.symbol)
        ids = self._trades.get(spec.symbol)
        if ids is None:
            ids = self._trades[spec.symbol] = TradeIds()
        if not ids.add(print_.trade_id):
            self.counts.duplicates += 1
            return
        self.counts.trade_id_gaps += ids.jumped
        self.counts.trades += 1
        time_ns = record.recv_ns if print_.timestamp_ns is None else print_.timestamp_ns
        draft.events.append(
            Trade(
                self._feed,
                spec.symbol,
                record.recv_ns,
                record.conn,
                record.seq,
                len(draft.events),
                time_ns,
                print_.price,
                print_.size,
                print_.side,
                print_.trade_id,
            )
        )

    def _quote(self, draft: Draft, top: TopOfBook) -> None:
        """Publish every statement of the best prices, repeats too: that they still stand is news to a latecomer."""
        record = draft.record
        spec = draft.connection.specs.get(top.name)
        if spec is None:
            self._unmapped(draft, top.name)
            return
        self.counts.quotes += 1
        self._count(spec.symbol)
        time_ns = record.recv_ns if top.timestamp_ns is None else top.timestamp_ns
        draft.events.append(
            Quote(
                self._feed,
                spec.symbol,
                record.recv_ns,
                record.conn,
                record.seq,
                len(draft.events),
                time_ns,
                top.bid_price,
                top.bid_size,
                top.ask_price,
                top.ask_size,
            )
        )

    def _change_book(self, draft: Draft, change: BookChange) -> None:
        tracked = draft.connection.books.get(change.name)
        if tracked is None:
            self._no_book(draft, change.name)
            return
        counts, messages = self.counts, self.counts.messages
        messages[tracked.symbol] = messages.get(tracked.symbol, 0) + 1
        book = draft.connection.begin_book(tracked) if change.snapshot else tracked.book
        if book is None:
            counts.unawaited_changes += 1
            return
        try:
            counts.unknown_deletes += book.apply(change)
        except BadFrame as bad:
            draft.rejects.append(self._reject(draft.record, bad.reason, bad.detail))
            self._distrust(draft, tracked, bad.reason)
            return
        if change.checksum is not None:
            if self._exchange.checksum(book.asks.tokens, book.bids.tokens) != change.checksum:
                counts.checksums_failed += 1
                self._distrust(draft, tracked, "checksum")
                return
            counts.checksums_verified += 1
        recv_ns = draft.record.recv_ns
        tracked.trusted_ns = recv_ns
        tracked.timestamp_ns = recv_ns if change.timestamp_ns is None else change.timestamp_ns
        if draft.connection.publish_now(tracked, recv_ns):
            self._publish(draft, tracked)

    def _count(self, symbol: str) -> None:
        messages = self.counts.messages
        messages[symbol] = messages.get(symbol, 0) + 1

    def _publish(self, draft: Draft, tracked: TrackedBook) -> None:
        """Append the book with the identity and receive time of the frame at hand."""
        record = draft.record
        bids, asks = tracked.top(draft.connection.config.book_depth)
        self.counts.books_published += 1
        draft.events.append(
            model.Book(
                self._feed,
                tracked.symbol,
                record.recv_ns,
                record.conn,
                record.seq,
                len(draft.events),
                tracked.timestamp_ns,
                bids,
                asks,
            )
        )

    # Bad input

    def _reject(self, record: Record | FrameLine[object], reason: str, detail: str) -> Reject:
        self.counts.rejected[reason] = self.counts.rejected.get(reason, 0) + 1
        return Reject(record.conn, record.seq, reason, detail)

    def _unmapped(self, draft: Draft, name: str) -> None:
        if name in draft.connection.leaving:  # the unsubscription is on its way
            self.counts.unawaited_changes += 1
            return
        self.counts.unknown_symbols += 1
        detail = shorten(name)
        if not any(reject.detail == detail for reject in draft.rejects):  # once per frame, however many entries
            draft.rejects.append(self._reject(draft.record, "unknown_symbol", detail))

    def _no_book(self, draft: Draft, name: str) -> None:
        if name in draft.connection.specs:  # just reduced to l1, and the unsubscription is on its way
            self.counts.unawaited_changes += 1
        else:
            self._unmapped(draft, name)

    def _unreadable(self, draft: Draft, update: BookUnreadable) -> None:
        draft.rejects.append(self._reject(draft.record, update.reason, update.detail))
        tracked = draft.connection.books.get(update.name)
        if tracked is not None:
            self._distrust(draft, tracked, update.reason)

    def _distrust(self, draft: Draft, tracked: TrackedBook, reason: str) -> None:
        draft.connection.drop_book(tracked)
        self.counts.desyncs += 1
        draft.desyncs.append(Desync(draft.record.conn, tracked.symbol, tracked.name, reason, tracked.trusted_ns))

    def _distrust_all(self, draft: Draft, reason: str) -> None:
        """Drop every book, waiting ones too: the lost frames may have held the snapshot that they wait for."""
        for tracked in draft.connection.books.values():
            self._distrust(draft, tracked, reason)


Versions = Mapping[str, type[FeedDecoder]]

VERSIONS: Final[Versions] = {"v1": FeedDecoder}
"""The normalizer versions by name. A version, once released, keeps its output for ever."""


def decoder(
    version: str, feed: str, exchange: Exchange, state: bytes | None = None, versions: Versions = VERSIONS
) -> FeedDecoder:
    """Return a decoder of the named version. Raises ConfigError for a name that does not exist."""
    made = versions.get(version)
    if made is None:
        raise ConfigError(f"normalizer is {version!r}; known are {', '.join(sorted(versions))}")
    return made(feed, exchange, state)
