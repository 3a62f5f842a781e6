"""One connection to an exchange: connect, subscribe, keep alive, note what happens, hand every frame to the journal."""

import math
from collections.abc import Sequence
from typing import Final

import trio
from msgspec import Struct

from ssmd import metrics
from ssmd.actors.absence import NOT_WANTED, UNREACHABLE, note_absence, symbols_of
from ssmd.actors.budget import ConnectBudget
from ssmd.actors.lineage import Lineage
from ssmd.actors.report import refused_symbol
from ssmd.actors.standing import SlotState, Standing
from ssmd.actors.transport import Connection, Transport
from ssmd.clock import NS_PER_S
from ssmd.errors import ExchangeDown
from ssmd.journal import Journal
from ssmd.log import get_logger
from ssmd.protocols.base import Control, Exchange, Pong, SystemStatus
from ssmd.protocols.decoder import Desync
from ssmd.protocols.sharding import share_of
from ssmd.protocols.subscriptions import BecameLive, Change, Reasked, Subscriptions, WasRefused
from ssmd.records import Configured, Connected, Disconnected, FeedConfig, Live, Missed, Refused, Resync
from ssmd.supervisor import Cell, HealthBoard, Mailbox

READ_DESYNCS: Final = 64
SYMBOL_STATES: Final = ("live", "pending", "refused")
SHOW_EVERY_S: Final = 0.1
"""It costs as much as there are symbols, and after a connect every acknowledgement would be worth it."""


class SessionLinks(Struct, frozen=True):
    """What outlives a session: where frames go, what is wanted, which books to ask for again, how it stands."""

    journal: Journal
    config: Cell[FeedConfig]
    wishes: Mailbox[Desync]
    lineage: Lineage
    budget: ConnectBudget
    standing: Standing


class Place:
    """Which part of a feed a session captures, and from where."""

    def __init__(self, exchange: Exchange, url: str, slot: int, transport: Transport, board: HealthBoard) -> None:
        self.exchange = exchange
        self.url = url
        self.slot = slot
        self.transport = transport
        self.board = board


class Session:
    """One connection, or none while the configuration has nothing for it.

    A lost connection ends it by ExchangeDown, an outage: the supervisor paces the next one.
    """

    def __init__(self, place: Place, links: SessionLinks) -> None:
        self._place = place
        self._links = links
        self._exchange = place.exchange
        self._feed = place.exchange.name
        self._draining = False
        self._scope: trio.CancelScope | None = None
        self._cause = ExchangeDown("crash")
        self._config = FeedConfig(symbols=())
        self._symbols: dict[str, str] = {}
        """Our symbols by the exchange's names."""
        self._ever: dict[str, str] = {}
        """The same, with those that were wanted once on this connection."""
        self._is_shown, self._show_at_s = False, -math.inf
        self._connected_ns = 0
        self._last_frame_s = 0.0
        self._wake = trio.Event()
        self._shown: dict[str, int] = {}
        self._reconnects = metrics.WEBSOCKET_RECONNECTS.labels(self._feed)
        self._frames = metrics.FRAMES_RECEIVED.labels(self._feed)
        self._bytes = metrics.BYTES_RECEIVED.labels(self._feed)
        self._last_frame = metrics.LAST_FRAME.labels(self._feed)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Capture until the connection is lost or drain() is called; leaves a note of the end in any case."""
        task_status.started()
        with trio.CancelScope() as self._scope:
            while not self._draining:
                self._cause = ExchangeDown("crash")
                await self._wait_wanted()
                await self._connect()

    async def _connect(self) -> None:
        """Capture on a new connection. That there is none is noted: raw data alone tells since when, and why."""
        wanted_ns, is_open = self._links.journal.stamp(), False
        try:
            await self._links.budget.take()
            limits = self._exchange.limits
            async with self._place.transport.connect(self._place.url, limits.max_frame_bytes) as connection:
                is_open = True
                await self._capture(connection)
        finally:
            if not is_open:
                self._note_absence(Disconnected("drain" if self._draining else UNREACHABLE, "", wanted_ns))

    def _note_absence(self, end: Disconnected) -> None:
        """Say what is wanted without a connection, unless the raw data says it already."""
        lineage, slot, config = self._links.lineage, self._place.slot, self._wanted(self._links.config.get())
        if symbols_of(config) != lineage.missing(slot):
            note_absence(self._links.journal, lineage.begin(slot), self._place.url, config, end)

    def drain(self) -> None:
        self._draining = True
        self._cause = ExchangeDown("drain")
        if self._scope is not None:
            self._scope.cancel()

    async def _wait_wanted(self) -> None:
        """Wait while the configuration has nothing for this session; then every new one is in force at once."""
        check = self._place.board.check(self._check_name)
        latest = await self._links.config.wait_newer(0)
        while not self._wanted(latest.value).symbols:
            check.ok()
            self._links.standing.tell(self._place.slot, SlotState(latest.version, latest.value))
            self._note_absence(Disconnected(NOT_WANTED))
            latest = await self._links.config.wait_newer(latest.version)
        check.fail("not connected")

    def _wanted(self, config: FeedConfig) -> FeedConfig:
        return share_of(config, self._place.slot)

    # one connection ------------------------------------------------------------------------------------------

    async def _capture(self, connection: Connection) -> None:
        """Capture until the connection is lost, or return when nothing is wanted from it any more."""
        link = self._links.lineage.begin(self._place.slot)
        self._log = get_logger(feed=self._feed, actor="session", conn=link.conn)
        self._link = link
        try:
            self._open()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_due, connection)
                nursery.start_soon(self._follow_config, nursery.cancel_scope)
                nursery.start_soon(self._follow_desyncs)
                nursery.start_soon(self._watch_silence)
                await self._receive(connection)
        finally:
            self._close()

    def _open(self) -> None:
        link = self._link
        link.was_connected = True
        if link.is_again:
            self._reconnects.inc()
        metrics.CONNECTED.labels(self._feed).inc()
        connected = Connected(self._place.url, link.after)
        self._connected_ns = self._links.journal.append_note(link.conn, link.take_seq(), connected)
        link.last_ns = self._connected_ns
        self._last_frame_s = trio.current_time()
        self._subscriptions = Subscriptions(self._exchange)
        self._ever = {}
        self._apply(self._links.config.version, self._links.config.get())
        self._log.info("session_open", url=self._place.url, after=link.after and link.after.conn)

    def _close(self) -> None:
        link, cause = self._link, self._cause
        metrics.CONNECTED.labels(self._feed).dec()
        self._show_symbols(0, 0, 0)
        self._links.standing.lose(self._place.slot)
        metrics.DISCONNECTS.labels(self._feed, cause.reason).inc()
        self._note(Disconnected(cause.reason, cause.detail, link.last_ns))
        link.missing = symbols_of(self._config)
        if cause.reason == NOT_WANTED:
            self._place.board.check(self._check_name).ok()
            self._log.info("session_closed", last_seq=link.next_seq - 1, detail=cause.detail)
        else:
            self._place.board.check(self._check_name).fail(str(cause))
            self._log.warning("session_lost", last_seq=link.next_seq - 1, reason=cause.reason, detail=cause.detail)

    async def _receive(self, connection: Connection) -> None:
        link, journal, control_of = self._link, self._links.journal, self._exchange.control
        while True:
            await journal.room()
            try:
                message = await connection.receive()
            except ExchangeDown as error:
                self._cause = error
                raise
            link.last_ns = journal.append_frame(link.conn, link.take_seq(), message)
            self._last_frame_s = trio.current_time()
            self._frames.inc()
            self._bytes.inc(len(message))
            control = control_of(message) if isinstance(message, str) else None
            if control is not None:
                self._obey(control)

    def _obey(self, control: Control) -> None:
        if isinstance(control, SystemStatus):
            self._log.info("exchange_status", state=control.state, maintenance=control.maintenance)
            metrics.EXCHANGE_OPEN.labels(self._feed).set(control.open)
            if not control.open:
                self._links.budget.hold(self._exchange.limits.after_maintenance_s)
        elif not isinstance(control, Pong):
            self._apply_changes(self._subscriptions.receive(control, trio.current_time()))
            self._wake.set()

    def _apply_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, BecameLive):
                self._note(Live(self._symbols_of(change.names)))
                self._place.board.check(self._check_name).ok()
            elif isinstance(change, Reasked):
                for symbol in self._symbols_of(change.names):
                    self._note(Resync(symbol, "reconfigured", self._link.last_ns))
            elif isinstance(change, WasRefused):
                symbol = self._symbols_of((change.name,))[0]
                self._note(Refused(symbol, change.channel, change.reason))
                self._log.warning("symbol_refused", symbol=symbol, channel=change.channel, reason=change.reason)
        self._is_shown = False  # a burst of thousands of answers is shown once, by whoever sends next

    def _show_in_time(self) -> float:
        """Tell how the symbols stand if that may have moved, but not too often; return when to come again."""
        now_s = trio.current_time()
        if not self._is_shown and now_s >= self._show_at_s:
            self._show()
            self._is_shown, self._show_at_s = True, now_s + SHOW_EVERY_S
        return math.inf if self._is_shown else self._show_at_s

    def _show(self) -> None:
        states = self._subscriptions
        live, pending = self._symbols_of(states.live), self._symbols_of(states.pending)
        refused = tuple(refused_symbol(self._symbols.get(one.name, one.name), one.reason) for one in states.refused)
        leaving = tuple(self._ever.get(name, name) for name in states.leaving)
        self._show_symbols(len(live), len(pending), len(refused))
        state = SlotState(self._version, self._in_force, live, pending, refused, leaving)
        self._links.standing.tell(self._place.slot, state)

    def _show_symbols(self, *counts: int) -> None:
        """Show how many symbols are live, pending and refused here; other sessions of the feed add theirs."""
        for state, count in zip(SYMBOL_STATES, counts, strict=True):
            metrics.SYMBOLS.labels(self._feed, state).inc(count - self._shown.get(state, 0))
            self._shown[state] = count

    def _symbols_of(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._symbols.get(name, name) for name in names)

    def _note(self, note: Disconnected | Live | Refused | Resync | Configured | Missed) -> None:
        self._links.journal.append_note(self._link.conn, self._link.take_seq(), note)

    @property
    def _check_name(self) -> str:
        return f"{self._feed}/{self._place.slot}"

    # what goes on beside receiving ---------------------------------------------------------------------------

    def _apply(self, version: int, config: FeedConfig) -> None:
        """Put a configuration in force: the note first, so that raw data alone tells what was wanted from here on."""
        known = self._symbols
        self._version, self._in_force, self._config = version, config, self._wanted(config)
        self._symbols = {entry.name: entry.symbol for entry in self._config.symbols}
        self._ever |= self._symbols
        self._note(Configured(self._config))
        self._apply_changes(self._subscriptions.want(self._config, trio.current_time()))
        self._note_renamed(known)
        metrics.CONFIG_REVISION.labels(self._feed).set(config.revision)
        self._wake.set()

    def _note_renamed(self, known: dict[str, str]) -> None:
        """A name that is live already will not become so again: say that its new symbol is."""
        live = set(self._subscriptions.live)
        renamed = [e.symbol for e in self._config.symbols if e.name in live and known.get(e.name, e.symbol) != e.symbol]
        if renamed:
            self._note(Live(tuple(renamed)))

    async def _follow_config(self, capture: trio.CancelScope) -> None:
        """Put each new configuration in force, and end the capture when nothing of it is left for this session."""
        while self._config.symbols:
            latest = await self._links.config.wait_newer(self._version)
            self._apply(latest.version, latest.value)
        self._cause = ExchangeDown(NOT_WANTED, "no symbol is left")
        capture.cancel()

    async def _follow_desyncs(self) -> None:
        while True:
            async with self._links.wishes.lease(READ_DESYNCS) as desyncs:
                for desync in desyncs:
                    self._resync(desync)

    def _resync(self, desync: Desync) -> None:
        """Ask for one book again.

        A wish from an earlier connection comes too late: the reconnect has mended the book, but until then it was not
        usable, and that must be known.
        """
        if desync.conn != self._link.conn:
            self._note(Missed(desync.symbol, desync.reason, desync.from_ns, self._connected_ns))
            return
        self._note(Resync(desync.symbol, desync.reason, desync.from_ns))
        self._subscriptions.resync(desync.name, self._exchange.book_channel, trio.current_time())
        self._apply_changes(())
        self._wake.set()

    async def _send_due(self, connection: Connection) -> None:
        """Send what is due: requests as the limits allow, and a ping now and then."""
        interval_s = self._exchange.limits.ping_interval_s
        ping_s, req_id = trio.current_time() + interval_s, 0
        while True:
            now_s = trio.current_time()
            texts = list(self._subscriptions.due(now_s))
            self._is_shown &= not texts
            if now_s >= ping_s:
                ping_s, req_id = now_s + interval_s, req_id + 1
                texts += filter(None, [self._exchange.ping(req_id)])
            try:
                for text in texts:
                    await connection.send(text)
            except ExchangeDown as error:
                self._cause = error
                raise
            if self._subscriptions.stuck:
                self._fail(ExchangeDown("no_ack", "no subscription was acknowledged"))
            await self._sleep_until(min(ping_s, self._subscriptions.next_due_s(), self._show_in_time()))

    async def _sleep_until(self, due_s: float) -> None:
        with trio.move_on_at(due_s):
            await self._wake.wait()
        self._wake = trio.Event()

    async def _watch_silence(self) -> None:
        """End a connection without any frame for too long, however open its socket looks."""
        idle_timeout_s = self._exchange.limits.idle_timeout_s
        while True:
            await trio.sleep_until(self._last_frame_s + idle_timeout_s)
            self._last_frame.set(self._link.last_ns / NS_PER_S)
            if self._links.journal.is_full:
                self._last_frame_s = trio.current_time()  # the disk stalls, not the exchange
            if trio.current_time() >= self._last_frame_s + idle_timeout_s:
                self._fail(ExchangeDown("silent", f"no frame for {idle_timeout_s:g} s"))

    def _fail(self, cause: ExchangeDown) -> None:
        self._cause = cause
        raise cause
