"""Kill the gateway under clients that count for themselves, and compare what it has counted with what they have got."""

import signal
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import trio
from msgspec import Struct

from chaos.kills import LATE_S
from chaos.office import GATEWAY, Office, Subscribers, office, stream_of, subscribed
from chaos.rig import Rig, running
from chaos.rows import Row, Stopwatch
from chaos.subscribers import Entry, Plan, Stay
from chaos.targets import Audit
from ssmd.clock import NS_PER_S
from ssmd.gateway.access import CLIENT_TYPES
from ssmd.gateway.audit import WINDOW_S
from ssmd.gateway.live.line import RESTART
from ssmd.gateway.reports import rfc3339
from ssmd.model import EVENT_TYPES

NAMES = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "ADA/USD")
SYMBOLS = tuple(name.replace("/", "") for name in NAMES)
KILLS = ((0.3, signal.SIGKILL), (0.55, signal.SIGKILL), (0.8, signal.SIGTERM))
"""At which part of the run, and how."""
CALM_S = 3.0
"""Nobody comes or goes so long before a kill: who is not written down yet is in no report."""
NOMADS = 0.3
"""The part of the clients that come and go."""
ROWS = 20
PATHS = {"trade": "trades", "quote": "quotes", "book": "books"}

Usage = Counter[tuple[str, str]]
"""Messages by client and series (feed/type/symbol)."""


class Kill(Struct, frozen=True):
    at_ns: int
    number: signal.Signals


class Diaries(Struct, frozen=True):
    """What the clients wrote down, and when the gateway was ended."""

    plans: Sequence[Plan]
    of: Mapping[str, list[Entry]]
    kills: Sequence[Kill]

    def messages(self, plan: Plan) -> list[Entry]:
        return [entry for entry in self.of[plan.name] if entry.kind == "message"]


async def kill_under_clients(row: Row, folder: Path, target: Audit) -> None:
    """Run clients with random subscriptions, kill the gateway meanwhile, and count everything again."""
    random, watch, began_ns = Random(row.seed), Stopwatch(), time.time_ns()
    async with running(folder, f"--rate {target.rate_per_s} --seed {row.seed}", NAMES) as rig:
        async with office(rig) as desk:
            await rig.until_publishing(trio.current_time(), 0, LATE_S)
            moments_ns = [began_ns + int(share * target.for_s * NS_PER_S) for share, _ in KILLS]
            plans = [await _plan(desk, random, n, (began_ns, moments_ns, target)) for n in range(target.clients)]
            async with subscribed(desk, "clients", [plan for plan in plans if not plan.stays]) as clients:
                nomads = desk.subscribers("nomads", [plan for plan in plans if plan.stays])
                nomads.start()
                kills = [await _end(row, rig, desk, *one) for one in zip(moments_ns, KILLS, strict=True)]
                await trio.sleep(max(0.0, began_ns / NS_PER_S + target.for_s - time.time()))
                await nomads.leave()
                await clients.leave()
            found = Diaries(plans, _read(clients) | _read(nomads), kills)
            by_rest = await _rest(desk, random, plans)
            await _compare(row, desk, found, by_rest)
        row.at_most("exit_code", await rig.stop(), 0)
        judge_resumes(row, found, await stream_of(rig))
    row.duration_s = watch.elapsed_s


async def _plan(desk: Office, random: Random, number: int, times: tuple[int, Sequence[int], Audit]) -> Plan:
    """Add a client that may read something, and have it subscribe to that."""
    began_ns, kills_ns, target = times
    client_id, kind = f"c{number}", random.choice(CLIENT_TYPES)
    symbols = tuple(random.sample(SYMBOLS, random.randint(1, len(SYMBOLS))))
    types = tuple(random.sample(EVENT_TYPES, random.randint(1, len(EVENT_TYPES))))
    key = await desk.add(client_id, kind)
    await desk.entitle(client_id, *symbols, data_types=types)
    is_nomad = number < NOMADS * target.clients
    stays = _stays(random, began_ns, kills_ns, target.for_s) if is_nomad else ()
    return Plan(client_id, client_id, key, symbols, types, stays, kind)


def _stays(random: Random, began_ns: int, kills_ns: Sequence[int], for_s: float) -> tuple[Stay, ...]:
    """Return when somebody is there: comes at whole seconds and goes between two, so that nobody does both at once."""
    first_s = began_ns // NS_PER_S + 10
    calm = {s for at_ns in kills_ns for s in range(int(at_ns // NS_PER_S - CALM_S), at_ns // NS_PER_S + 2)}
    free = [s for s in range(first_s, first_s + int(for_s) - 20) if s not in calm]
    marks = sorted(random.sample(free, 6))
    return tuple(Stay(a * NS_PER_S, b * NS_PER_S + NS_PER_S // 2) for a, b in zip(marks[::2], marks[1::2], strict=True))


async def _end(row: Row, rig: Rig, desk: Office, at_ns: int, how: tuple[float, signal.Signals]) -> Kill:
    """End the gateway at its moment, and wait until another one serves."""
    await trio.sleep(max(0.0, (at_ns - time.time_ns()) / NS_PER_S))
    watch, kill = Stopwatch(), Kill(time.time_ns(), how[1])
    pid = rig.kill(GATEWAY, kill.number)
    await desk.until_other_process(pid)
    row.note(**{f"back_{how[0]:g}_s": watch.elapsed_s})
    return kill


def _read(clients: Subscribers) -> dict[str, list[Entry]]:
    return {plan.name: clients.diary(plan) for plan in clients.plans}


async def _rest(desk: Office, random: Random, plans: Sequence[Plan]) -> Usage:
    """Have every client ask for some history, and return the rows that it got."""
    rows: Usage = Counter()
    for plan in plans:
        kind, symbol = random.choice(plan.types), random.choice(plan.symbols)
        path = f"{desk.url}/api/v1/{PATHS[kind]}?symbol={symbol}&last={ROWS}"
        answer = await desk.http.get(path, headers={"Authorization": f"Bearer {plan.key}"})
        assert answer.status_code == 200, answer.text
        rows[plan.client_id, f"kraken/{kind}/{symbol}"] += len(answer.json()["data"])
    return rows


# usage -------------------------------------------------------------------------------------------------------


async def _compare(row: Row, desk: Office, found: Diaries, by_rest: Usage) -> None:
    began_ns, at_ns = found.of[found.plans[-1].name][0].at_ns, time.time_ns()
    counted: Usage = Counter()
    sides: Counter[str] = Counter()
    clients: Counter[str] = Counter()
    for month in sorted({rfc3339(began_ns)[:7], rfc3339(at_ns)[:7]}):
        for one in (await desk.ask("GET", f"/audit/usage?month={month}&feed=kraken"))["rows"]:
            counted[one["client_id"], f"{one['feed']}/{one['data_type']}/{one['symbol']}"] += one["message_count"]
        for one in (await desk.ask("GET", f"/audit/display-vs-nondisplay?month={month}"))["rows"]:
            sides[one["side"]] += one["message_count"]
            clients[one["side"]] = one["clients"]
    judge_usage(row, found, counted, by_rest)
    judge_split(row, found, counted, (sides, clients))
    judge_peak(row, found, await desk.ask("GET", f"/audit/peak-users?date={rfc3339(at_ns)[:10]}"))


def received(found: Diaries) -> Usage:
    return Counter((plan.client_id, entry.series) for plan in found.plans for entry in found.messages(plan))


def in_windows(found: Diaries) -> Usage:
    """Return what came so shortly before a SIGKILL that the gateway may not have written it down."""
    killed_ns = [kill.at_ns for kill in found.kills if kill.number == signal.SIGKILL]
    return Counter(
        (plan.client_id, entry.series)
        for plan in found.plans
        for session in sessions_of(found.of[plan.name])
        for at_ns in killed_ns
        if session[0].at_ns < at_ns
        for entry in session
        if entry.kind == "message" and entry.at_ns > at_ns - WINDOW_S * NS_PER_S
    )


def sessions_of(diary: Sequence[Entry]) -> list[list[Entry]]:
    """Return a diary by connections."""
    starts = [at for at, entry in enumerate(diary) if entry.kind == "opened"]
    return [list(diary[a:b]) for a, b in pairwise([*starts, len(diary)])]


def judge_usage(row: Row, found: Diaries, counted: Usage, by_rest: Usage) -> None:
    """Never more than was received; less only as far as it came in the window before a SIGKILL."""
    got, may_miss = received(found) + by_rest, in_windows(found)
    keys = got.keys() | counted.keys()
    row.note(received=got.total(), counted=counted.total(), by_rest=by_rest.total(), series=len(keys))
    row.note(missing=got.total() - counted.total(), in_the_windows=may_miss.total())
    row.at_most("over_counted", sum(max(0, counted[key] - got[key]) for key in keys), 0)
    row.at_most("missing_beyond_the_window", sum(max(0, got[k] - counted[k] - may_miss[k]) for k in keys), 0)
    row.at_least("messages_received", got.total(), 1)


def judge_split(row: Row, found: Diaries, counted: Usage, told: tuple[Counter[str], Counter[str]]) -> None:
    """Both sides are what the clients of each side got, by their usage."""
    side_of = {plan.client_id: "display" if plan.client_type == "display" else "non-display" for plan in found.plans}
    sides: Counter[str] = Counter()
    for (client_id, _series), messages in counted.items():
        sides[side_of[client_id]] += messages
    clients = Counter(side_of[client_id] for client_id in {client_id for client_id, _ in received(found)})
    row.note(split=dict(sides))
    if (sides, clients) != told:
        row.missed.append(f"split: told {told}, counted again {(sides, clients)}")


def judge_peak(row: Row, found: Diaries, told: Mapping[str, object]) -> None:
    """The peak, its moment and its types are what the diaries say."""
    moments: list[tuple[int, bool, str]] = []
    for plan in found.plans:
        for session in sessions_of(found.of[plan.name]):
            moments += [(session[0].at_ns, True, plan.client_id), (session[-1].at_ns, False, plan.client_id)]
    here: set[str] = set()
    peak: tuple[set[str], int] = (set(), 0)
    for at_ns, is_begin, client_id in sorted(moments):
        (here.add if is_begin else here.discard)(client_id)
        if len(here) > len(peak[0]):
            peak = (set(here), at_ns)
    types = {kind: sum(p.client_type == kind for p in found.plans if p.client_id in peak[0]) for kind in CLIENT_TYPES}
    row.note(peak=told["peak"], peak_at=told["at"])
    if (told["peak"], told["by_type"]) != (len(peak[0]), types):
        row.missed.append(f"peak: told {told}, counted again {len(peak[0])} at {rfc3339(peak[1])}, {types}")


# resumes -----------------------------------------------------------------------------------------------------


def judge_resumes(row: Row, found: Diaries, stream: Mapping[str, Sequence[tuple[int, str]]]) -> None:
    """Each client has got exactly the stream's messages of its series, in order, from its first welcome on."""
    lost = repeated = disordered = 0
    for plan in found.plans:
        messages = found.messages(plan)
        first = next(entry.pos for entry in found.of[plan.name] if entry.kind == "opened")
        wanted = [f"kraken/{kind}/{symbol}" for kind in plan.types for symbol in plan.symbols]
        expected = {i for one in wanted for pos, i in stream[one] if first < pos <= messages[-1].pos}
        times = Counter(entry.id for entry in messages)
        lost += len(expected - times.keys())
        repeated += sum(count - 1 for count in times.values()) + len(times.keys() - expected)
        disordered += sum(a.pos >= b.pos for a, b in pairwise(messages))
    row.at_most("lost", lost, 0)
    row.at_most("repeated_or_strange", repeated, 0)
    row.at_most("out_of_order", disordered, 0)
    _judge_closes(row, found)


def _judge_closes(row: Row, found: Diaries) -> None:
    codes = Counter(entry.code for diary in found.of.values() for entry in diary if entry.kind == "closed")
    terms = [kill for kill in found.kills if kill.number == signal.SIGTERM]
    row.note(closes={str(code): count for code, count in sorted(codes.items())}, errors=_errors(found.of.values()))
    connected = sum(_is_connected(diary, kill.at_ns) for diary in found.of.values() for kill in terms)
    row.at_least("told_to_come_back", codes[RESTART], connected)


def _is_connected(diary: Sequence[Entry], at_ns: int) -> bool:
    return any(session[0].at_ns < at_ns < session[-1].at_ns for session in sessions_of(diary))


def _errors(diaries: Iterable[Sequence[Entry]]) -> dict[str, int]:
    """Return what else the clients met: away while nothing listens, an error while the new gateway finds its place."""
    return dict(Counter(e.kind for diary in diaries for e in diary if e.kind in {"away", "error", "lag", "gap"}))
