import gzip
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from ssmd.errors import ConfigError, ExchangeDown
from ssmd.protocols import EXCHANGES
from ssmd.settings import ExchangeSettings, Settings, cache_dir
from ssmd.simulator.pairs import listed_pairs
from ssmd.trees import instruments
from ssmd.trees.instruments import clock_skew_s, known_instruments, refresh_instruments
from tests.simulator.peer import simulated

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep this test's lists apart; return where the saved one goes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return tmp_path / "ssmd/instruments/kraken.json"


def at(rest_url: str) -> Settings:
    allowed = "nosuch.test, 192.0.2.1, .."
    return Settings(kraken=ExchangeSettings(rest_url=rest_url, allowed_hosts=allowed))


def pairs(*names: str) -> bytes:
    return json.dumps({"error": [], "result": {name: {"wsname": name} for name in names}}).encode()


def http(body: bytes, head: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {head}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@asynccontextmanager
async def answering(answer: bytes, *, then_hang: bool = False) -> AsyncIterator[Settings]:
    """Give the same bytes to whoever connects, then close or say nothing more."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)
            if then_hang:
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield at(f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
        nursery.cancel_scope.cancel()


async def refused(answer: bytes) -> ExchangeDown:
    """Return the error that an answer leads to."""
    with pytest.RaisesGroup(ExchangeDown, allow_unwrapped=True, flatten_subgroups=True) as caught:
        async with answering(answer) as settings:
            await refresh_instruments("kraken", settings)
    error = caught.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


# The bundled list


@pytest.mark.parametrize("feed", EXCHANGES)
def test_every_exchange_has_a_bundled_list(feed):
    known = known_instruments(feed)
    assert (known.feed, known.source) == (feed, "bundled")
    assert known.names


def test_the_bundled_list_is_the_recorded_one(shared_data):
    recorded = gzip.decompress((shared_data / "kraken/ws_v2/instrument_snapshot_20240403.json.gz").read_bytes())
    known = known_instruments("kraken")
    assert known.names == {pair["symbol"] for pair in json.loads(recorded)["data"]["pairs"]}
    assert known.taken_at == "2024-04-03"


def test_every_simulated_pair_is_a_known_one():
    assert listed_pairs(()).keys() <= known_instruments("kraken").names


def test_a_v1_name_is_unknown_and_its_spelling_is_known():
    names = known_instruments("kraken").names
    assert "XBT/USD" not in names
    assert EXCHANGES["kraken"].spelling("XBT/USD") in names


def test_of_an_unknown_exchange_nothing_is_known():
    assert known_instruments("nowhere") is None
    assert known_instruments("../kraken") is None


# The saved list


async def test_a_list_from_the_exchange_is_saved_and_known_from_then_on(saved):
    async with simulated() as endpoints:
        settings = at(endpoints.rest_url)
        online = await refresh_instruments("kraken", settings)
    known = known_instruments("kraken", settings)
    assert online.names == known.names == listed_pairs(()).keys()
    assert (online.source, known.source) == ("online", "saved")
    assert online.taken_at == known.taken_at > "2026"
    assert [file.name for file in saved.parent.iterdir()] == ["kraken.json"]


async def test_a_simulators_list_never_passes_for_the_exchanges_own():
    async with simulated() as endpoints:
        await refresh_instruments("kraken", at(endpoints.rest_url + "/"))
        assert known_instruments("kraken", at(endpoints.rest_url)).source == "saved"
    assert known_instruments("kraken").source == known_instruments("kraken", at(NOWHERE)).source == "bundled"


def write(saved, **changes):
    saved.parent.mkdir(parents=True)
    listed = {"feed": "kraken", "taken_at": "2026-07-01T10:00:00Z", "url": "https://api.kraken.com", "names": ["A/B"]}
    saved.write_text(json.dumps(listed | changes))


@pytest.mark.parametrize(("taken_at", "source"), [
    ("2026-07-01T10:00:00Z", "saved"), ("2024-04-03T00:00:01Z", "saved"), ("2024-04-02T23:59:59Z", "bundled"),
])  # fmt: skip
def test_the_newer_list_wins(saved, taken_at, source):
    write(saved, taken_at=taken_at)
    assert known_instruments("kraken").source == source


@pytest.mark.parametrize("changes", [{"names": []}, {"names": 5}, {"taken_at": "z"}, {"taken_at": None}])
def test_a_broken_saved_list_is_a_warning_and_the_bundled_one_counts(saved, changes):
    write(saved, **changes)
    with capture_logs() as logs:
        assert known_instruments("kraken").source == "bundled"
    assert [(log["event"], log["log_level"], log["path"]) for log in logs] == [
        ("instrument_list_unreadable", "warning", str(saved))
    ]


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000])
def test_a_saved_list_that_is_no_json_is_a_warning(saved, content):
    write(saved)
    saved.write_bytes(content)
    with capture_logs() as logs:
        assert known_instruments("kraken").source == "bundled"
    assert len(logs) == 1


def test_a_folder_in_the_place_of_the_saved_list_is_a_warning(saved):
    saved.mkdir(parents=True)
    with capture_logs() as logs:
        assert known_instruments("kraken").source == "bundled"
    assert len(logs) == 1


def test_another_feeds_list_does_not_count(saved):
    write(saved, feed="counted")
    assert known_instruments("kraken").source == "bundled"


async def test_a_list_that_cannot_be_saved_is_good_for_this_time(saved):
    saved.parents[1].write_text("a file in the place of the folder")
    with capture_logs() as logs:
        async with simulated() as endpoints:
            assert (await refresh_instruments("kraken", at(endpoints.rest_url))).names
    assert [log["event"] for log in logs] == ["instrument_list_not_saved"]


# What the exchange may answer instead


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(b'{"error":["EAPI:Rate limit exceeded"]}'), "rate_limited"),
        (http(b"slow down", "429 Too Many Requests", "Retry-After: 9"), "rate_limited"),
        (http(b'{"error":["EService:Unavailable"]}'), "refused"),
        (http(b"oops", "503 Service Unavailable"), "http"),
        (http(b"", "302 Found", "Location: http://127.0.0.1:1/"), "http"),
        (http(b"<html>captcha</html>"), "bad_shape"),
        (http(b"\x1f\x8bnot gzip", "200 OK", "Content-Encoding: gzip"), "bad_shape"),
        (http(pairs("BTC/USD"))[:-5], "connect"),
        (b"220 smtp ready\r\n", "connect"),
        (b"", "connect"),
        (http(pairs()), "implausible"),
        (http(pairs(*(f"A{i}/USD" for i in range(68)))), "implausible"),
    ],
)
async def test_anything_but_a_plausible_list_is_an_outage_and_the_saved_list_stays(saved, answer, reason):
    write(saved)
    before = saved.read_bytes()
    error = await refused(answer)
    assert error.reason == reason
    assert "\n" not in str(error)
    assert len(error.detail) < 300
    assert saved.read_bytes() == before


async def test_s13_a_redirect_is_not_followed():
    async with answering(http(pairs("BTC/USD"))) as elsewhere:
        moved = http(b"", "302 Found", f"Location: {elsewhere.kraken.rest_url}/0/public/AssetPairs")
        async with answering(moved) as settings:
            for ask in (refresh_instruments, clock_skew_s):
                with pytest.raises(ExchangeDown, match="answered 302"):
                    await ask("kraken", settings)


async def test_s13_a_host_that_nobody_allowed_is_not_asked():
    trio.socket.set_custom_hostname_resolver(NoNames())
    for ask in (refresh_instruments, clock_skew_s):
        with pytest.raises(ConfigError, match=r"names the host elsewhere\.test; allowed are"):
            await ask("kraken", at("https://elsewhere.test"))


async def test_a_tenth_of_the_bundled_names_is_plausible():
    async with answering(http(pairs(*(f"A{i}/USD" for i in range(69))))) as settings:
        assert len((await refresh_instruments("kraken", settings)).names) == 69


async def test_an_endless_answer_is_cut_off(monkeypatch):
    monkeypatch.setattr(instruments, "MAX_ANSWER_BYTES", 1000)
    assert (await refused(http(b" " * 200_000))).reason == "too_long"


@pytest.mark.parametrize("begun", [b"", http(pairs("BTC/USD"))[:-5]])
async def test_an_answer_that_does_not_come_ends_at_the_deadline(autojump_clock, begun):
    async with answering(begun, then_hang=True) as settings:
        for ask in (refresh_instruments, clock_skew_s):
            with pytest.raises(ExchangeDown, match="no whole answer in 15 s") as caught:
                await ask("kraken", settings)
            assert caught.value.reason == "timeout"


class NoNames(trio.abc.HostnameResolver):
    async def getaddrinfo(self, *_args):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *_args):
        raise NotImplementedError


@pytest.mark.parametrize("url", [NOWHERE, "https://nosuch.test", "https://127.0.0.1:1"])
async def test_an_exchange_that_is_not_there_is_an_outage(url):
    trio.socket.set_custom_hostname_resolver(NoNames())
    with pytest.raises(ExchangeDown, match="connect: ") as caught:
        await refresh_instruments("kraken", at(url))
    assert url in caught.value.detail


@pytest.mark.parametrize("url", ["kraken", "ftp://x", "http://[::", "https://.."])
async def test_an_address_that_is_none_is_a_mistake_of_the_settings(url):
    with pytest.raises(ConfigError, match="rest_url"):
        await refresh_instruments("kraken", at(url))


async def test_a_proxy_that_cannot_be_used_is_a_mistake_of_the_settings(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(ConfigError, match="proxy"):
        await refresh_instruments("kraken", at("https://192.0.2.1"))


async def test_an_exchange_that_ssmd_does_not_know_is_a_config_error():
    for ask in (refresh_instruments, clock_skew_s):
        with pytest.raises(ConfigError, match="known are"):
            await ask("nowhere", Settings())


# The clock


async def test_the_simulated_clock_is_ours_within_the_uncertainty():
    async with simulated() as endpoints:
        skew_s, uncertain_s = await clock_skew_s("kraken", at(endpoints.rest_url))
    assert abs(skew_s) <= uncertain_s
    assert 1 <= uncertain_s < 2


@pytest.mark.parametrize("behind_s", [100, -100])
async def test_a_clock_that_is_ahead_of_the_exchange_has_a_positive_skew(behind_s):
    body = json.dumps({"error": [], "result": {"unixtime": int(time.time()) - behind_s}}).encode()
    async with answering(http(body)) as settings:
        skew_s, uncertain_s = await clock_skew_s("kraken", settings)
    assert abs(skew_s - behind_s) <= uncertain_s


async def test_a_clock_in_steps_is_taken_to_be_in_the_middle_of_one(monkeypatch):
    monkeypatch.setattr(instruments, "now_ns", lambda: 1_700_000_000_400_000_000)
    async with answering(http(b'{"error":[],"result":{"unixtime":1700000000}}')) as settings:
        skew_s, uncertain_s = await clock_skew_s("kraken", settings)
    half_trip_s = uncertain_s - 1
    assert skew_s == pytest.approx(0.4 - 0.5 + half_trip_s)


async def test_a_clock_that_does_not_tell_the_time_is_an_outage():
    with pytest.raises(ExceptionGroup) as caught:
        async with answering(http(b'{"error":[],"result":{"unixtime":-5}}')) as settings:
            await clock_skew_s("kraken", settings)
    assert caught.group_contains(ExchangeDown, match="bad_shape")


# What it costs, and where it goes


def test_known_lists_need_no_http_client():
    script = "import sys; from ssmd.trees.instruments import known_instruments as k; k('kraken'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert "httpx" not in loaded.stdout.split()


@pytest.mark.parametrize(("variables", "folder"), [
    ({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/ssmd"), ({"XDG_CACHE_HOME": "x", "HOME": "/h"}, "/h/.cache/ssmd"),
    ({"HOME": "/h"}, "/h/.cache/ssmd"), ({"XDG_CACHE_HOME": ""}, "/.cache/ssmd"),
])  # fmt: skip
def test_the_cache_is_where_the_desktop_standard_wants_it(variables, folder):
    assert cache_dir(variables) == Path(folder)
