"""One client's live session: its commands are done, and what it may have is sent.

What the hub and the doorkeeper tell comes as plain calls, and is done before they return: from the moment a grant is
gone, nothing of it is handed to the socket.
"""

from math import ceil
from typing import Final

import trio
from msgspec import Struct
from msgspec.structs import replace

from ssmd import metrics
from ssmd.gateway.access import CloseReason, Device, Principal, SessionHandle
from ssmd.gateway.live.commands import (
    Auth,
    BadCommand,
    Command,
    CommandBudget,
    List,
    NotACommand,
    Ping,
    Replay,
    Stop,
    Subscribe,
    Unsubscribe,
    Wanted,
    parse_command,
)
from ssmd.gateway.live.deliveries import Deliveries
from ssmd.gateway.live.events import Chunk
from ssmd.gateway.live.frames import NOT_UNDERSTOOD
from ssmd.gateway.live.line import (
    BAD_KEY,
    MAX_MESSAGE_BYTES,
    NOTHING_ASKED,
    OVERLOADED,
    PING_AFTER_S,
    RESTART,
    REVOKED,
    TOO_MANY,
    Line,
)
from ssmd.gateway.live.notices import (
    CommandId,
    Heartbeat,
    Pong,
    Revoked,
    SessionLimits,
    Welcome,
    refusal,
    subscriptions_of,
)
from ssmd.gateway.live.parts import LiveParts
from ssmd.gateway.live.replaying import parse_period
from ssmd.gateway.live.resume import parse_origin
from ssmd.gateway.live.subscriptions import Readable, Selection, Subscriptions, problem_of
from ssmd.gateway.problems import ParameterError, Problem, invalid
from ssmd.gateway.times import rfc3339

AUTH_WITHIN_S: Final = 5.0
ASK_WITHIN_S: Final = 10.0
HEARTBEAT_S: Final = 5.0
NOTHING_DUE_S: Final = min(HEARTBEAT_S, ASK_WITHIN_S, PING_AFTER_S)
"""After a session has been let in, nothing is due before this."""
NO_SNAPSHOT: Final = "no snapshot: `from` brings the messages themselves"

_CODES: Final[dict[CloseReason, int]] = {
    "key": BAD_KEY,
    "revoked": REVOKED,
    "kicked": REVOKED,
    "devices": TOO_MANY,
    "restart": RESTART,
}
_REASONS: Final[dict[CloseReason, str]] = {
    "key": "this key does not count any more",
    "revoked": "what this client subscribed to was taken from it",
    "kicked": "ended by an operator",
    "devices": "too many devices",
    "restart": "come back at once",
}
_PROBLEM_CODES: Final = {"rate_limited": TOO_MANY, "unavailable": OVERLOADED}


class Caller(Struct, frozen=True):
    """Who has opened the WebSocket. principal: None until it says so by a message. subscribe: what the URL asks for."""

    device: Device
    principal: Principal | None
    subscribe: Subscribe | None


class LiveSession:
    __slots__ = (
        "_ask_by_s",
        "_caller",
        "_counted_drops",
        "_deliveries",
        "_hub",
        "_line",
        "_meter",
        "_parts",
        "_subscriptions",
        "deliver",
    )

    def __init__(self, line: Line, caller: Caller, parts: LiveParts) -> None:
        self._line = line
        self._caller = caller
        self._parts = parts
        self._hub = parts.hub
        self._meter = parts.meter
        self._deliveries = Deliveries(self, line, parts)
        self.deliver = line.put
        self._counted_drops = 0
        self._subscriptions: Subscriptions
        self._ask_by_s: float | None = None
        """Until then it has to ask for something; None before it has been let in."""

    # what others tell ----------------------------------------------------------------------------------------

    def end(self, reason: CloseReason) -> None:
        self._hub.leave(self)
        self._line.end(_CODES[reason], _REASONS[reason], at_once=reason != "restart")

    def change(self, principal: Principal) -> None:
        """Take the client as it is from now on; what it may no longer read is not sent any more."""
        now_ns = self._parts.now()
        gone = self._subscriptions.change(principal, now_ns)
        lost = {*gone, *(series for series in self._deliveries.aside if not principal.may_read(series, now_ns))}
        self._deliveries.forget(lost)
        self._line.retain(lambda series: principal.may_read(series, now_ns))
        if gone and not self._subscriptions.series:
            self.end("revoked")
        elif lost:
            self._line.tell(Revoked(subscriptions_of(lost)))

    # from hello to the end -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Do what the client says, until cancelled. A problem that leaves nothing to do ends the line."""
        self._hub.tune(self, ())  # from here on the hub can end it
        try:
            principal = self._caller.principal or await self._introduced()
            self._subscriptions = Subscriptions(principal)
            callbacks = (self.change, self.end)
            async with self._parts.doorkeeper.session(principal, self._caller.device, *callbacks) as handle:
                await self._converse(handle)
        except Problem as problem:
            self._line.tell(refusal(problem))
            self._line.end(_PROBLEM_CODES.get(problem.code, BAD_KEY), problem.detail)
            await trio.sleep_forever()  # until the goodbye is over
        finally:
            self._hub.leave(self)

    async def _introduced(self) -> Principal:
        """Return whose key the first message holds. Raises Problem."""
        with trio.move_on_after(AUTH_WITHIN_S):
            command = parse_command(await self._line.receive())
            if isinstance(command, Auth):
                return await self._parts.doorkeeper.authenticate(command.key, self._caller.device.ip_address)
        hint = 'send {"op":"auth","key":"…"} as the first message, or a header Authorization: Bearer …'
        raise Problem("missing_key", f"no key within {AUTH_WITHIN_S:g} s", hint)

    async def _converse(self, handle: SessionHandle) -> None:
        self._subscriptions.principal = handle.principal  # as it is now: since it was let in, it may have changed
        self._line.report_to(self._count)
        self._welcome(handle)
        self._ask_by_s = trio.current_time() + ASK_WITHIN_S
        async with trio.open_nursery() as nursery:
            if self._caller.subscribe is not None:
                await self._do_safely(self._caller.subscribe, nursery)
            await self._obey(nursery)

    def _welcome(self, handle: SessionHandle) -> None:
        limits = handle.principal.limits
        shown = SessionLimits(limits.subscriptions, limits.commands_per_s, MAX_MESSAGE_BYTES)
        hello = (handle.session_id, handle.principal.client_id, HEARTBEAT_S, self._hub.stream, self._hub.pos)
        self._line.tell(Welcome(*hello, shown))

    def _count(self, chunk: Chunk) -> None:
        principal = self._subscriptions.principal
        for series, messages in chunk.counts:
            self._meter.count(principal, series, messages)

    async def keep_time(self) -> None:
        """Say when nothing comes, and end a session that asks for nothing or whose client is gone, until the line ends."""
        while not self._line.ended.is_set():
            with trio.CancelScope(deadline=self._look(trio.current_time())):
                await self._line.ended.wait()

    def _look(self, now_s: float) -> float:
        """Do what is due; return when to look again."""
        if self._ask_by_s is None:
            return now_s + NOTHING_DUE_S
        due_s = [self._line.check_alive(now_s), self._beat(now_s)]
        if not self._subscriptions.has_asked:
            due_s.append(self._ask_by_s)
            if now_s >= self._ask_by_s:
                self._line.end(NOTHING_ASKED, f"nothing asked within {ASK_WITHIN_S:g} s")
        self._count_drops()
        return min(due_s)

    def _beat(self, now_s: float) -> float:
        """Send a heartbeat if it is time for one; return when to look again."""
        if now_s >= self._line.silent_since_s + HEARTBEAT_S:
            pos = None if self._deliveries.is_catching_up else self._hub.pos
            self._line.tell(Heartbeat(rfc3339(self._parts.now()), pos, self._hub.is_live))
        return self._line.silent_since_s + HEARTBEAT_S

    def _count_drops(self) -> None:
        new, self._counted_drops = self._line.dropped - self._counted_drops, self._line.dropped
        metrics.GATEWAY_LAGGED.labels(self._subscriptions.principal.client_id).inc(new)

    # commands ------------------------------------------------------------------------------------------------

    async def _obey(self, nursery: trio.Nursery) -> None:
        budget = CommandBudget(self._subscriptions.principal.limits.commands_per_s, trio.current_time())
        while True:
            await self._hear(await self._line.receive(), budget, nursery)

    async def _hear(self, text: str, budget: CommandBudget, nursery: trio.Nursery) -> None:
        try:
            command = parse_command(text)
        except NotACommand as problem:
            self._line.tell(refusal(problem))
            self._line.end(NOT_UNDERSTOOD, problem.detail[:100])
            await trio.sleep_forever()
        except BadCommand as problem:
            self._line.tell(refusal(problem, problem.command_id))
            return
        wait_s = budget.take(command, trio.current_time())
        if wait_s:
            self._line.tell(refusal(_too_fast(budget.per_s, wait_s), command.id))
            await trio.sleep(wait_s)  # meanwhile the client's own socket fills
        else:
            await self._do_safely(command, nursery)

    async def _do_safely(self, command: Command, nursery: trio.Nursery) -> None:
        try:
            await self._do(command, nursery)
        except Problem as problem:
            self._line.tell(refusal(problem, command.id))

    async def _do(self, command: Command, nursery: trio.Nursery) -> None:
        match command:
            case Subscribe():
                await self._subscribe(command, nursery)
            case Unsubscribe():
                self._deliveries.forget(self._subscriptions.remove(command))
                self._line.tell(self._subscriptions.told(command.id))
            case Replay():
                self._start_replay(command, nursery)
            case Stop():
                self._deliveries.stop_replay()
            case List():
                self._line.tell(self._subscriptions.told(command.id))
            case Ping():
                self._line.tell(Pong(command.id))
            case Auth():
                raise invalid(ParameterError("op", "auth", "this session has its client already"))

    async def _subscribe(self, command: Subscribe, nursery: trio.Nursery) -> None:
        self._subscriptions.has_asked = True
        origin = parse_origin(command.start, self._parts.now())
        selection = self._select(command)
        beginning = None
        if origin is not None:
            beginning = await self._parts.rewinder.beginning(origin, selection.series)
            selection = self._select(command)  # as it is now: since the search began, it may have changed
        selection = self._subscriptions.add(selection)
        if beginning is None:
            self._answer(command.id, selection)
            self._deliveries.go_live(selection.series, snapshot=command.snapshot)
            return
        wanted = self._deliveries.set_back(selection.series)
        warnings = [*selection.warnings, beginning.warning, NO_SNAPSHOT if command.snapshot else ""]
        self._answer(command.id, replace(selection, warnings=tuple(filter(None, warnings))))
        nursery.start_soon(self._deliveries.catch_up, beginning, wanted)

    def _answer(self, command_id: CommandId, selection: Selection) -> None:
        self._line.tell(self._subscriptions.told(command_id, selection))
        self._tell_refused(command_id, selection)

    def _start_replay(self, command: Replay, nursery: trio.Nursery) -> None:
        self._subscriptions.has_asked = True
        period = parse_period(command, self._parts.now())
        selection = self._select(command)
        self._tell_refused(command.id, selection)
        running = self._deliveries.begin_replay(command.id, period, selection.series)
        nursery.start_soon(self._deliveries.run_replay, command.id, period, running)

    def _select(self, wanted: Wanted) -> Selection:
        return Readable(self._subscriptions.principal, self._parts.catalog.series(), self._parts.now()).select(wanted)

    def _tell_refused(self, command_id: CommandId, selection: Selection) -> None:
        for refused in selection.refused:
            self._line.tell(refusal(problem_of(refused, self._subscriptions.principal.limits), command_id))


def _too_fast(per_s: float, wait_s: float) -> Problem:
    problem = Problem("rate_limited", f"at most {per_s:g} commands per second", "put several symbols into one command")
    problem.retry_after_s = ceil(wait_s)
    return problem
