"""Fold the session's notes into gaps: per symbol, from when until when frames may be missing, and why.

A gap says "may be missing", so it is rather too long than too short. It opens at the last moment that is known to be
good (the last frame, the last record of a dead process) and closes when the exchange has acknowledged every
subscription of the symbol again. Before the first connection that wants a symbol, or the first that could not be made,
there is no gap: nobody captured it. When nothing is wanted any more, a gap ends too.
"""

from collections.abc import Collection, Iterable
from typing import Final

import msgspec
from msgspec import Struct, field

from ssmd.records import Configured, Connected, Disconnected, Live, Lost, Missed, Record, Refused, Resync, Unconnected

CRASH: Final = "crash"
REFUSED: Final = "refused"
"""One word for every refusal: the exchange's own text is unbounded, and stands in the raw data."""


class Gap(Struct, frozen=True, order=True):
    """Frames of these symbols may be missing between the two times; `to_ns` is None while it is open."""

    from_ns: int
    to_ns: int | None
    reason: str
    symbols: tuple[str, ...]


class _Connection(Struct):
    """seq: of its last note. ended_ns: 0 while it may go on.

    live: what it delivers whole. wanted: what it may deliver already, although not every channel is acknowledged.
    """

    seq: int = -1
    live: set[str] = field(default_factory=set)
    wanted: set[str] = field(default_factory=set)
    ended_ns: int = 0


class _Open(Struct):
    """An open gap of one symbol. conn: the connection whose configuration decides whether the symbol is wanted."""

    from_ns: int
    reason: str
    conn: str


class _Closed(Struct):
    """noted_ns: when the end was noted, which may be later than the end itself."""

    symbol: str
    from_ns: int
    to_ns: int
    reason: str
    noted_ns: int


class _State(Struct):
    connections: dict[str, _Connection] = field(default_factory=dict)
    open: dict[str, _Open] = field(default_factory=dict)
    closed: list[_Closed] = field(default_factory=list)


class Coverage:
    """What one writer's records cover. Frames may be passed too, but say nothing that a note does not."""

    def __init__(self, state: bytes | None = None) -> None:
        self._state = _State() if state is None else msgspec.json.decode(state, type=_State)

    def state(self) -> bytes:
        """Return what `Coverage(state)` needs to go on exactly from here; equal for equal histories."""
        return msgspec.json.encode(self._state, order="deterministic")

    def note(self, record: Record) -> None:
        """Take the next record of the journal. A note already taken, or one behind a later one, changes nothing."""
        if record.note is None:
            return
        connection = self._state.connections.setdefault(record.conn, _Connection())
        if record.seq <= connection.seq or connection.ended_ns:
            return
        connection.seq = record.seq
        self._fold(record, connection)

    def _fold(self, record: Record, connection: _Connection) -> None:
        match record.note:
            case Connected(after=after) | Unconnected(after=after) if after is not None:
                self._end(after.conn, after.recv_ns, CRASH, record.recv_ns)
                self._inherit(after.conn, record.conn)
            case Configured(config=config):
                wanted = {spec.symbol for spec in config.symbols} if config.enabled else set()
                self._keep_only(wanted, record, connection)
            case Live(symbols=symbols):
                self._become_live(symbols, record, connection)
            case Refused(symbol=symbol):
                self._open(symbol, _Open(record.recv_ns, REFUSED, record.conn), record.recv_ns)
            case Resync(symbol=symbol, reason=reason, from_ns=from_ns) if symbol in connection.live:
                if symbol not in self._state.open:
                    self._state.open[symbol] = _Open(from_ns, reason, record.conn)
            case Lost(reason=reason):
                now_ns = record.recv_ns
                self._state.closed += [
                    _Closed(each, now_ns, now_ns, reason, now_ns) for each in sorted(connection.live)
                ]
            case Missed(symbol=symbol, reason=reason, from_ns=from_ns, to_ns=to_ns):
                self._state.closed.append(_Closed(symbol, from_ns, max(from_ns, to_ns), reason, record.recv_ns))
            case Disconnected(reason=reason, last_frame_ns=last_frame_ns):
                self._end(record.conn, last_frame_ns or record.recv_ns, reason, record.recv_ns)

    def _end(self, conn: str, from_ns: int, reason: str, noted_ns: int) -> None:
        """Open a gap for everything that a connection delivered; one that ended already delivered nothing more."""
        connection = self._state.connections.get(conn)
        if connection is None:
            return
        for symbol in sorted(connection.live):
            self._open(symbol, _Open(from_ns, reason, conn), noted_ns)
        for symbol in sorted(connection.wanted - self._state.open.keys()):
            self._open(symbol, _Open(from_ns, reason, conn), noted_ns)
        connection.live.clear()
        connection.wanted.clear()
        connection.ended_ns = noted_ns

    def _inherit(self, old: str, new: str) -> None:
        """Let the next connection decide about the gaps that the one before left open."""
        for gap in self._state.open.values():
            if gap.conn == old:
                gap.conn = new

    def _keep_only(self, wanted: Collection[str], record: Record, connection: _Connection) -> None:
        connection.live.intersection_update(wanted)
        connection.wanted = set(wanted)
        for symbol, gap in sorted(self._state.open.items()):
            if gap.conn == record.conn and symbol not in wanted:
                self._close(symbol, record.recv_ns, record.recv_ns)

    def _become_live(self, symbols: Iterable[str], record: Record, connection: _Connection) -> None:
        for symbol in symbols:
            for other in self._state.connections.values():
                other.live.discard(symbol)  # it moved here, for example to another shard
                other.wanted.discard(symbol)
            connection.live.add(symbol)
            connection.wanted.add(symbol)
            self._close(symbol, record.recv_ns, record.recv_ns)

    def _open(self, symbol: str, gap: _Open, noted_ns: int) -> None:
        """Open a gap, or go on with the open one for another reason: that one ends where the new one begins."""
        present = self._state.open.get(symbol)
        if present is not None and present.reason == gap.reason:
            return
        self._close(symbol, gap.from_ns, noted_ns)
        self._state.open[symbol] = gap

    def _close(self, symbol: str, to_ns: int, noted_ns: int) -> None:
        gap = self._state.open.pop(symbol, None)
        if gap is not None:  # a clock set back may make its end come first: then it is a gap without length
            self._state.closed.append(_Closed(symbol, gap.from_ns, max(gap.from_ns, to_ns), gap.reason, noted_ns))

    def gaps_between(self, from_ns: int, to_ns: int) -> tuple[Gap, ...]:
        """Return the gaps of a span of records just folded: closed within it or still open, in order of time.

        A gap that began before the span, or was over before it but noted in it, is given whole.
        """
        found: dict[tuple[int, int | None, str], set[str]] = {}
        for closed in self._state.closed:
            if closed.noted_ns >= from_ns and closed.from_ns < to_ns:
                found.setdefault((closed.from_ns, closed.to_ns, closed.reason), set()).add(closed.symbol)
        for symbol, gap in self._state.open.items():
            if gap.from_ns < to_ns:
                found.setdefault((gap.from_ns, None, gap.reason), set()).add(symbol)
        gaps = (Gap(*span, tuple(sorted(symbols))) for span, symbols in found.items())
        return tuple(sorted(gaps, key=_order))

    def wanted(self) -> tuple[str, ...]:
        """Return the symbols that somebody wants now, whether they are delivered or in an open gap."""
        symbols = set(self._state.open)
        for connection in self._state.connections.values():
            symbols |= connection.wanted
        return tuple(sorted(symbols))

    def forget(self, before_ns: int) -> None:
        """Drop what was closed before a time; open gaps and live connections stay."""
        state = self._state
        state.closed = [closed for closed in state.closed if closed.noted_ns >= before_ns]
        state.connections = {
            conn: connection
            for conn, connection in state.connections.items()
            if connection.wanted or connection.ended_ns >= before_ns
        }


def _order(gap: Gap) -> tuple[int, bool, int, str]:
    return gap.from_ns, gap.to_ns is None, gap.to_ns or 0, gap.reason
