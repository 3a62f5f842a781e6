"""`ssmd feed gaps`, `ssmd feed status` and `ssmd verify` on an archive that the real actors made."""

import json
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from ssmd.archive.shortfall import Shortfall, put_mark
from ssmd.codec import blocks, marketdata
from ssmd.records import Predecessor
from ssmd.store.objects import local_store
from tests.cli.project import report
from tests.reprocess.captured import FEED, Captured, at, faulty_run

DAY = ("--start", "2025-12-06", "--end", "2025-12-06")
TRADES = "normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-04.capnp.zst"


def write(world: Captured, data_dir: Path) -> None:
    for key, body in world.store.objects.items():
        path = data_dir / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


@pytest.fixture
def archive(tmp_path, lab) -> Path:
    """Return a data directory with five minutes of a faulty run: a gap that ended, a minute without any record."""

    async def make() -> Captured:
        world = Captured(tmp_path / "journals")
        await faulty_run(world, restarts=False)
        return world

    write(trio.run(make, clock=MockClock(autojump_threshold=0)), tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def broken_off(tmp_path, lab) -> Path:
    """Return a data directory whose last connection ended and never came back."""

    async def make() -> Captured:
        world = Captured(tmp_path / "journals")
        conn = world.connect()
        world.traffic(conn)
        world.disconnect(conn, "silent")
        await world.end()
        return world

    write(trio.run(make, clock=MockClock(autojump_threshold=0)), tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def at_minute(monkeypatch):
    def stop_the_clock(minute: int) -> None:
        monkeypatch.setattr("ssmd.cli.ledger.now_ns", lambda: at(minute))

    return stop_the_clock


# gaps --------------------------------------------------------------------------------------------------------


def test_gaps_come_in_order_of_time_each_once(ask, archive, at_minute):
    at_minute(5)
    done = ask("feed", "gaps", FEED, "--env", "lab", "--data-dir", str(archive), "-o", "json")
    (gap,) = json.loads(done.out)
    assert done.code == 0
    assert (gap["reason"], gap["symbols"], gap["end"]) == ("reset", ["BTCUSD"], "2025-12-06T14:03:00.000000000Z")
    assert 110 < gap["length_s"] < 130


def test_an_open_gap_is_shown_as_open_and_makes_the_code_one(ask, broken_off, at_minute):
    at_minute(10)
    done = ask("feed", "gaps", FEED, "--env", "lab", "--data-dir", str(broken_off), "-o", "json")
    (gap,) = json.loads(done.out)
    assert (done.code, gap["end"], gap["reason"]) == (1, "open", "silent")
    assert gap["length_s"] > 590


def test_minutes_without_any_word_are_a_gap_too(ask, archive, at_minute):
    at_minute(60)
    done = ask("feed", "gaps", FEED, "--env", "lab", "--data-dir", str(archive), "--last", "1h", "-o", "json")
    assert [gap["reason"] for gap in json.loads(done.out)] == ["reset", "no_record"]


def test_what_the_stream_lost_is_a_gap_and_the_command_that_it_names_fills_it(ask, archive, at_minute):
    at_minute(5)
    path = archive / TRADES
    events = list(marketdata.decode_many("trade", blocks.decompress(path.read_bytes(), 1 << 20)))
    path.write_bytes(blocks.compress(b"".join(map(marketdata.encode, events[1:]))))
    place = ("--env", "lab", "--data-dir", str(archive))
    mark = Shortfall("v1", FEED, at(4), {"trade": len(events)}, {"trade": len(events) - 1})
    trio.run(put_mark, local_store(archive), mark)
    shown = ask("feed", "gaps", FEED, *place)
    assert "unarchived" in shown.out
    told = shown.err.partition("hint: ")[2].partition("ssmd ")[2].removesuffix(" fills it\n").split()
    assert told[:4] == ["reprocess", "run", "--feed", FEED]
    filled = ask(*told, "--data-dir", str(archive))
    assert "filled  1 of 1 minutes" in filled.out
    again = ask("feed", "gaps", FEED, *place)
    assert ("unarchived" in again.out, again.err) == (False, "")


def test_a_feed_that_nobody_knows_has_no_clean_bill(ask, archive, at_minute):
    at_minute(5)
    done = ask("feed", "gaps", "foo", "--env", "lab", "--data-dir", str(archive))
    assert (done.code, done.out) == (2, "")
    assert "'foo'" in done.err


def test_gaps_of_a_span(ask, archive):
    words = ("feed", "gaps", FEED, "--env", "lab", "--data-dir", str(archive))
    none = ask(*words, "--start", "2025-12-06T14:03Z", "--end", "2025-12-06T14:05Z")
    assert (none.code, none.out) == (0, "")
    assert "no gap in kraken from 2025-12-06T14:03:00" in none.err
    assert "reset" in ask(*words, "--start", "2025-12-06T14:02Z", "--end", "2025-12-06T14:03Z").out
    wrong = ask(*words, "--start", "2025-12-06T14:03Z", "--end", "2025-12-06T14:02Z")
    assert (wrong.code, "is not after" in wrong.err) == (2, True)


# status ------------------------------------------------------------------------------------------------------


def test_status_works_without_a_running_system(ask, archive, at_minute):
    at_minute(5)
    done = ask("feed", "status", FEED, "--env", "lab", "--data-dir", str(archive), "-o", "json")
    btc, eth = json.loads(done.out)
    assert "showing the archive only" in done.err
    assert done.code == 0
    assert btc == {
        "feed": FEED,
        "symbol": "BTCUSD",
        "now": "unknown",
        "last_minute": "2025-12-06T14:04:00.000000000Z",
        "messages_last_minute": 24,
        "gaps_24h": 1,
        "missing_s_24h": btc["missing_s_24h"],
        "verified_24h": "40.0%",
    }
    assert (eth["symbol"], eth["gaps_24h"], eth["messages_last_minute"]) == ("ETHUSD", 0, 0)


def test_status_shows_what_connectors_say(ask, archive, at_minute, live, monkeypatch):
    monkeypatch.setattr("ssmd.cli.ledger.live_link", live.link)
    at_minute(5)
    config = live.seed("lab")
    live.tell("lab", report(FEED, 1, config, live=("BTCUSD",), pending=("ETHUSD",), reported_ns=at(5)))
    rows = json.loads(ask("feed", "status", "--env", "lab", "--data-dir", str(archive), "-o", "json").out)
    assert [row["now"] for row in rows] == ["live", "pending"]
    live.tell("lab", report(FEED, 1, config, reported_ns=at(3)))
    rows = json.loads(ask("feed", "status", "--env", "lab", "--data-dir", str(archive), "-o", "json").out)
    assert [row["now"] for row in rows] == ["silent", "silent"]


def test_status_of_a_feed_with_an_open_gap_is_not_well(ask, broken_off, at_minute):
    at_minute(10)
    done = ask("feed", "status", "--env", "lab", "--data-dir", str(broken_off))
    assert done.code == 1
    assert "BTCUSD" in done.out


def test_status_of_an_unknown_feed_names_those_there_are(ask, lab, tmp_path):
    done = ask("feed", "status", "krake", "--env", "lab", "--data-dir", str(tmp_path / "data"))
    assert (done.code, "it has kraken" in done.err) == (2, True)


# verify ------------------------------------------------------------------------------------------------------


def verify(ask, archive, *words):
    return ask("verify", "--feed", FEED, "--env", "lab", "--data-dir", str(archive), *(words or DAY))


def test_a_good_archive_is_proved(ask, archive):
    done = verify(ask, archive)
    assert done.code == 0
    assert done.out.splitlines()[0] == "✓ verified  kraken v1  2025-12-06T00:00:00Z to 2025-12-07T00:00:00Z"
    assert "4 minutes normalized again" in done.out


def test_a_changed_object_is_named_and_makes_the_code_one(ask, archive):
    body = (archive / TRADES).read_bytes()
    (archive / TRADES).write_bytes(body[:-8])
    done = verify(ask, archive)
    assert done.code == 1
    assert "✗ 2 findings in 1 minutes" in done.out
    assert f"✗ 2025-12-06T14:04:00Z  archive  {TRADES}: cannot be read" in done.err


def test_the_report_for_machines_has_every_minute(ask, archive):
    (archive / "raw/kraken/2025/12/06/14/00-01.manifest.json").unlink()
    done = verify(ask, archive, *DAY, "-o", "json")
    found = json.loads(done.out)
    assert (done.code, found["ok"], len(found["minutes"])) == (1, False, 4)
    assert {finding["check"] for finding in found["report"]["findings"]} >= {"no_manifest", "chain"}
    assert found["minutes"][1]["findings"] >= 1


def test_a_sample_and_a_version_can_be_chosen(ask, archive):
    assert "1 minutes normalized again" in verify(ask, archive, *DAY, "--sample", "1", "--version", "v1").out
    assert verify(ask, archive, *DAY, "--version", "v9").code == 2
    assert verify(ask, archive, *DAY, "--sample", "-1").code == 2


def test_progress_goes_to_stderr(ask, archive):
    assert '"state":"end"' in verify(ask, archive).err


def test_nothing_to_prove_is_said(ask, archive):
    done = verify(ask, archive, "--start", "2025-11-01", "--end", "2025-11-02")
    assert (done.code, "nothing was proved" in done.err) == (1, True)


def test_a_connection_that_began_before_the_range_is_followed_from_its_beginning(ask, tmp_path, lab):
    async def make() -> Captured:
        world = Captured(tmp_path / "journals")
        conn = world.connect()
        for minute in range(30):
            world.until(minute)
            world.traffic(conn, 2)
        world.disconnect(conn, "drain")
        world.until(30)
        world.traffic(world.connect(Predecessor(conn, 9, at(30))))
        await world.end()
        world.archive()
        return world

    write(trio.run(make, clock=MockClock(autojump_threshold=0)), tmp_path / "data")
    done = verify(ask, tmp_path / "data", "--start", "2025-12-06T14:25Z", "--end", "2025-12-06T14:31Z")
    assert (done.code, done.err.count("✗")) == (0, 0), done.err
    assert "6 minutes normalized again" in done.out
