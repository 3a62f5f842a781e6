"""`ssmd doctor` looks and changes nothing; each finding that is not well has a fix."""

import json
import socket
from functools import partial

import pytest
import trio

from ssmd.cli import diagnosis
from ssmd.cli.diagnosis import _stream
from ssmd.simulator import SimulatorConfig, serve
from ssmd.trees import StreamUsage
from tests.store.fake_s3 import fake_s3


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
    assert "checks are settings, python, environment, disk, store, nats, exchange, gateway" in done.err


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


@pytest.fixture
def s3(tmp_path, monkeypatch, project):
    with fake_s3() as server:
        (tmp_path / "secret").write_text(server.settings.secret_access_key)
        monkeypatch.setenv("SSMD_STORAGE_ENDPOINT", server.settings.endpoint)
        monkeypatch.setenv("SSMD_STORAGE_ACCESS_KEY_ID", server.settings.access_key_id)
        monkeypatch.setenv("SSMD_STORAGE_SECRET_ACCESS_KEY_FILE", str(tmp_path / "secret"))
        yield server


def test_both_buckets_are_tried_out_and_nothing_is_left_in_them(doctor, s3):
    code, rows = doctor("store")
    assert (code, [row["state"] for row in rows]) == (0, ["ok", "ok", "ok"])
    for bucket, row in zip(("ssmd-dev-raw", "ssmd-dev-normalized"), rows, strict=False):
        assert row["fact"] == f"bucket {bucket}: put, get, create-only and delete work"
    assert s3.objects == {}


def test_a_server_that_would_overwrite_is_a_warning(doctor, s3):
    s3.ignores_conditions = True
    code, rows = doctor("store")
    assert (code, [row["state"] for row in rows]) == (0, ["warn", "warn", "ok"])
    assert "would overwrite" in rows[0]["fact"]
    assert rows[0]["fix"]


def test_a_refused_key_and_a_wrong_endpoint_fail_with_a_fix(doctor, s3, monkeypatch):
    s3.refuses_listing = True
    code, rows = doctor("store")
    assert (code, rows[0]["state"]) == (1, "fail")
    assert "refuses (HTTP 403 AccessDenied)" in rows[0]["fact"]
    monkeypatch.setenv("SSMD_STORAGE_ENDPOINT", "127.0.0.1:9")
    code, rows = doctor("store")
    assert (code, rows[-1]["state"]) == (1, "fail")
    assert "write http://host:port" in rows[-1]["fact"]
    assert not [row for row in rows if "canary" in str(row).lower()]


@pytest.mark.slow  # it is tried a few times, for either bucket
def test_a_server_that_is_away_fails_with_a_fix(doctor, s3, monkeypatch):
    monkeypatch.setenv("SSMD_STORAGE_ENDPOINT", "http://127.0.0.1:1")
    code, rows = doctor("store")
    assert (code, [bool(row["fix"]) for row in rows]) == (1, [True, True, False])
    assert "cannot connect" in rows[0]["fact"]


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


def test_an_environment_that_cannot_be_used_fails_every_check_that_needs_it(ask, project):
    done = ask("doctor", "--only", "exchange", "--env", "nope")
    assert done.code == 1
    assert "fail" in done.out


@pytest.mark.parametrize(
    ("stored", "limit", "state", "said"),
    [
        (1_000_000, 2_000_000_000, "ok", "0.00 GB of 2.0 GB"),
        (1_700_000_000, 2_000_000_000, "warn", "raise spec.jetstream.max_bytes"),
        (1_000_000, 0, "warn", "no limit"),
        (None, 0, "warn", "not there yet"),
    ],
)
def test_a_stream_that_is_full_or_has_no_limit_is_a_warning(stored, limit, state, said):
    finding = _stream("stream", None if stored is None else StreamUsage(stored, limit, 7))
    assert finding.state == state
    assert said in f"{finding.fact} {finding.fix}"
