"""Audit truth: what clients received is what reports say, whatever dies or fails in between."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
import trio

from ssmd.blocking import in_thread
from ssmd.clock import NS_PER_S
from ssmd.errors import DatabaseDown
from ssmd.gateway.access import CLIENT_TYPES, Principal, Series
from ssmd.gateway.audit import DAY_NS, WINDOW_S, AuditLog, AuditWriter
from ssmd.gateway.database import Database
from ssmd.gateway.database.usage import SessionRow, Stay
from ssmd.gateway.reports import peak_of
from tests.gateway.delivering import CLIENTS, SERIES
from tests.gateway.opened import START_NS, Clock, opened


class Moody:
    """A database that may fail before it stores, or after it has and nobody hears of it."""

    def __init__(self, database: Database) -> None:
        self.path, self.read, self._write = database.path, database.read, database.write
        self.mood = ""

    async def write(self, work):
        if self.mood == "before":
            raise DatabaseDown("locked")
        result = await self._write(work)
        if self.mood == "after":
            raise DatabaseDown("nobody heard")
        return result


async def total(database) -> Counter:
    """Count by hand what is stored."""
    rows = await database.read(lambda c: c.execute("SELECT * FROM usage_event").fetchall())
    counted: Counter = Counter()
    for _, client_id, display_type, feed, symbol, data_type, messages in rows:
        counted[client_id, display_type, Series(feed, data_type, symbol)] += messages
    return counted


async def test_20_clients_a_day_two_crashes_and_failing_writes_lose_only_what_was_not_flushed(tmp_path, seed):
    chance, clock = random.Random(seed), Clock()
    received: Counter = Counter()
    unsure: Counter = Counter()  # counted since the last flush: what a crash may take
    async with opened(tmp_path, clock) as service:
        moody = Moody(service.database)
        audit = AuditLog(moody, clock)
        crashes = set(chance.sample(range(3000), 2))
        for step in range(3000):
            clock.forward(chance.choice([0, 0.1, 60]))
            who, series, messages = chance.choice(CLIENTS), chance.choice(SERIES), chance.choice([0, 1, 7, 500])
            audit.count(who, series, messages)
            unsure[who.client_id, who.type, series] += messages
            if step % 10 == 0:
                moody.mood = chance.choice(["", "", "before", "after"])
                try:
                    await audit.flush()
                    received, unsure = received + unsure, Counter()
                except DatabaseDown:
                    pass
            if step in crashes:  # nothing of this log is used again
                before = await total(service.database)
                assert all(received[key] <= before[key] <= (received + unsure)[key] for key in received + unsure)
                received, unsure, audit, moody.mood = before, Counter(), AuditLog(moody, clock), ""
        moody.mood = ""
        await audit.flush()
        assert await total(service.database) == received + unsure


async def test_a_database_that_is_away_for_long_costs_little_memory_and_no_message(tmp_path):
    clock = Clock()
    async with opened(tmp_path, clock) as service:
        moody = Moody(service.database)
        moody.mood = "before"
        audit = AuditLog(moody, clock, max_rows=100)
        for _ in range(2000):
            audit.count(CLIENTS[0], SERIES[0], 3)
            audit.count(CLIENTS[1], SERIES[1], 2)
            clock.forward(60)
            assert audit.unwritten() <= 102
        moody.mood = ""
        await audit.flush()
        assert sorted((await total(service.database)).values()) == [4000, 6000]


async def test_the_writer_writes_twice_a_second_and_the_rest_when_it_is_drained(tmp_path, autojump_clock):
    clock = Clock()
    async with opened(tmp_path, clock) as service, trio.open_nursery() as nursery:
        writer = AuditWriter(service.audit)
        await nursery.start(lambda task_status: writer.run(task_status=task_status))
        for _ in range(10):
            service.audit.count(CLIENTS[0], SERIES[0], 1)
            begin_s = trio.current_time()
            while service.audit.unwritten():  # noqa: ASYNC110  the log has no bell
                await trio.sleep(0.05)
            assert trio.current_time() - begin_s <= WINDOW_S
        service.audit.count(CLIENTS[0], SERIES[0], 90)
        writer.drain()
        while service.audit.unwritten():  # noqa: ASYNC110
            await trio.sleep(0.05)
        assert list((await total(service.database)).values()) == [100]


@pytest.mark.slow
async def test_two_sigkills_take_at_most_the_window_and_add_nothing(tmp_path, seed):
    chance = random.Random(seed)
    received, sure = Counter(), Counter()
    for end in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        handed_out = delivered(tmp_path, chance.randrange(100), chance.uniform(1.1, 1.5), end)
        lost_from_ns = handed_out[-1][0] - round(WINDOW_S * NS_PER_S)
        for at_ns, client, series, messages in handed_out:
            key = (CLIENTS[client].client_id, CLIENTS[client].type, SERIES[series])
            received[key] += messages
            sure[key] += messages if end == signal.SIGTERM or at_ns < lost_from_ns else 0
    async with opened(tmp_path, time.time_ns, in_thread) as service:
        stored = await total(service.database)
    print(f"received {received.total()}, stored {stored.total()}, sure {sure.total()}")  # noqa: T201  pytest -s
    assert received.total() > sure.total() > 1000
    assert {key: (stored[key], received[key]) for key in stored if stored[key] > received[key]} == {}
    assert {key: (stored[key], sure[key]) for key in sure if stored[key] < sure[key]} == {}


def delivered(folder: Path, seed: int, for_s: float, end: signal.Signals) -> list[tuple[int, int, int, int]]:
    """Run a process for a while, end it, and return all that it has handed out."""
    words = (sys.executable, "-m", "tests.gateway.delivering", str(folder), str(seed))
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [msgspec.json.decode(process.stdout.readline())]
        while lines[-1][0] - lines[0][0] < for_s * NS_PER_S:
            lines.append(msgspec.json.decode(process.stdout.readline()))
        process.send_signal(end)
        return lines + [msgspec.json.decode(line) for line in process.stdout if line.endswith(b"\n")]


# reports -----------------------------------------------------------------------------------------------------


async def test_reports_equal_a_recount_by_brute_force(tmp_path, seed):
    chance, clock = random.Random(seed), Clock()
    clock.ns = START_NS + 24 * DAY_NS  # the month ends on the way
    events: list[tuple[int, Principal, Series, int]] = []
    async with opened(tmp_path, clock) as service:
        for _ in range(3000):
            clock.forward(chance.choice([0, 30, 600]))
            who, series, messages = chance.choice(CLIENTS), chance.choice(SERIES), chance.randrange(1, 100)
            service.audit.count(who, series, messages)
            events.append((clock.ns, who, series, messages))
        for month in ("2025-12", "2026-01"):
            of_month = [each for each in events if time.strftime("%Y-%m", time.gmtime(each[0] // NS_PER_S)) == month]
            assert of_month
            for feed in (None, "kraken"):
                usage: Counter = Counter()
                sides: dict = {}
                for _, who, series, messages in of_month:
                    if feed in {None, series.feed}:
                        usage[who.client_id, series.feed, series.symbol, series.type, who.type] += messages
                        side = sides.setdefault((series.feed, who.type == "display"), [0, set()])
                        side[0] += messages
                        side[1].add(who.client_id)
                found = await service.reports.usage(month, feed)
                assert {msgspec.structs.astuple(row)[:5]: row.message_count for row in found.rows} == usage
                split = await service.reports.display_vs_nondisplay(month, feed)
                assert {(r.feed, r.side == "display"): (r.message_count, r.clients) for r in split.rows} == {
                    key: (messages, len(clients)) for key, (messages, clients) in sides.items()
                }


def test_the_peak_equals_looking_at_every_moment(seed):
    chance = random.Random(seed)
    for _ in range(60):
        period = (100, 200)
        stays = []
        for _ in range(chance.randrange(25)):
            begin = chance.randrange(80, 220)
            end = chance.choice([None, begin, begin + chance.randrange(60)])
            client = chance.randrange(6)
            stays.append(Stay(f"c{client}", CLIENT_TYPES[client % 3], begin, end))
        present = {
            moment: {s.client_id: s.display_type for s in stays if s.from_ns <= moment < (s.to_ns or 250)}
            for moment in range(*period)
        }
        most = max(len(clients) for clients in present.values())
        found = peak_of(stays, period, 250)
        assert found.clients == most
        if most:
            first = next(moment for moment, clients in present.items() if len(clients) == most)
            assert found.at_ns == first
            assert found.by_type == {t: list(present[first].values()).count(t) for t in CLIENT_TYPES}


async def test_sessions_of_a_killed_gateway_end_when_it_was_last_seen(tmp_path):
    clock = Clock()
    async with opened(tmp_path, clock) as service:
        service.audit.note_session(SessionRow("s-1", "bot", "display", clock.ns, None, "laptop", "192.0.2.1"))
        await service.audit.flush()
        clock.forward(3600)
        seen_ns = clock.ns
        service.audit.count(CLIENTS[0], SERIES[0], 1)
        await service.audit.flush()
        clock.forward(7200)
        await AuditLog(service.database, clock).begin()
        (row,) = await service.database.read(
            lambda c: c.execute("SELECT connected_ns, disconnected_ns FROM session").fetchall()
        )
        assert row == (START_NS, seen_ns)
        peak = await service.reports.peak_users("2025-12-06")
        assert (peak.peak, peak.at, peak.by_type["display"]) == (1, "2025-12-06T14:00:00.000000000Z", 1)
