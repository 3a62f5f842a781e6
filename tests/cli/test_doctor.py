"""`ssmd doctor` looks and changes nothing; each finding that is not well has a fix."""

import json
import socket
from functools import partial

import pytest
import trio

from ssmd.cli import diagnosis
from ssmd.simulator import SimulatorConfig, serve


@pytest.fixture
def doctor(ask, project):
    def run(only, *words):
        done = ask("doctor", "--only", only, "--env", "dev", "--output", "json", *words)
        return done.code, json.loads(done.out)

    return run


def only_one(rows):
    (row,) = rows
    return row["state"], row["fact"], row["fix"]


def test_a_healthy_machine_is_zero_and_nothing_is_written(ask, project):
    before = project.tree()
    done = ask("doctor", "--env", "dev", "--only", "settings,python,environment,store")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()[1:]] == [
        ["ok", "settings"],
        ["ok", "python"],
        ["ok", "environment"],
        ["ok", "store"],
    ]
    assert done.err == "4 ok, 0 warn, 0 fail\n"
    assert project.tree() == before


def test_an_unknown_check_is_two_and_the_known_ones_are_named(ask, project):
    done = ask("doctor", "--only", "nets")
    assert (done.code, done.out) == (2, "")
    assert "checks are settings, python, environment, disk, store, nats, exchange" in done.err


def test_wrong_settings_are_told_whatever_was_asked_for(doctor, monkeypatch):
    monkeypatch.setenv("SSMD_NATS_URK", "x")
    for only in ("settings", "python"):
        code, rows = doctor(only)
        assert code == 1
        assert only_one(rows)[:2] == ("fail", "settings: unknown key nats.urk; did you mean url?")


def test_a_value_that_a_check_cannot_work_with_is_a_finding(doctor, monkeypatch):
    monkeypatch.setenv("SSMD_JOURNAL_MAX_BYTES", "many")
    code, rows = doctor("disk,store")
    assert code == 1
    assert [(row["check"], row["state"]) for row in rows] == [("disk", "fail"), ("store", "ok")]
    assert "journal.max_bytes is 'many'" in rows[0]["fact"]


def test_an_environment_that_is_missing_or_wrong_fails(ask, project):
    done = ask("doctor", "--only", "environment", "--env", "nosuch")
    assert (done.code, "there is no environment 'nosuch'" in done.out) == (1, True)
    project.file("dev").write_text("x")
    done = ask("doctor", "--only", "environment", "--env", "dev")
    assert (done.code, "dev.yaml has 1 error: " in done.out) == (1, True)


@pytest.mark.parametrize(("free", "state"), [(10**6, "fail"), (2 * 10**9, "warn"), (10**14, "ok")])
def test_a_disk_that_is_nearly_full_is_told(doctor, monkeypatch, free, state):
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    code, rows = doctor("disk")
    found = only_one(rows)
    assert (code, found[0], bool(found[2])) == (int(state == "fail"), state, state != "ok")


def test_a_data_directory_that_cannot_be_written_fails(doctor, project):
    (project.folder / "file").touch()
    code, rows = doctor("store", "--data-dir", "/proc/nosuch")
    assert (code, rows[0]["state"]) == (1, "fail")
    assert doctor("store", "--data-dir", "deep/below/here")[0] == 0
    assert not (project.folder / "deep").exists()


def test_a_bus_that_does_not_answer_fails(doctor, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can be there
        monkeypatch.setenv("SSMD_NATS_URL", f"nats://127.0.0.1:{taken.getsockname()[1]}")
        code, rows = doctor("nats")
    assert code == 1
    assert "([nats] url) cannot be reached" in rows[-1]["fact"]
    assert rows[-1]["fix"]


def test_without_a_running_system_there_is_no_bus_to_complain_about(doctor):
    code, rows = doctor("nats")
    assert (code, [row["state"] for row in rows]) == (0, ["ok", "ok"])


async def test_an_exchange_that_answers_is_ok_and_tells_the_clock(doctor, monkeypatch):
    async with trio.open_nursery() as nursery:
        exchange = await nursery.start(partial(serve, SimulatorConfig(symbols=("BTC/USD",))))
        monkeypatch.setenv("SSMD_KRAKEN_REST_URL", exchange.rest_url)
        code, rows = await trio.to_thread.run_sync(doctor, "exchange")
        nursery.cancel_scope.cancel()
    state, fact, _ = only_one(rows)
    assert (code, state) == (0, "ok")
    assert "kraken answers; this clock is " in fact


def test_an_exchange_that_does_not_answer_fails(doctor, monkeypatch):
    monkeypatch.setenv("SSMD_KRAKEN_REST_URL", "http://127.0.0.1:1")
    code, rows = doctor("exchange")
    state, fact, fix = only_one(rows)
    assert (code, state) == (1, "fail")
    assert "kraken cannot be reached: connect: " in fact
    assert "--demo" in fix


def test_a_clock_that_is_wrong_is_a_warning(doctor, monkeypatch):
    async def skewed(_feed, _settings):
        return 40.0, 0.5

    monkeypatch.setattr(diagnosis, "clock_skew_s", skewed)
    code, rows = doctor("exchange")
    assert (code, only_one(rows)[0]) == (0, "warn")
