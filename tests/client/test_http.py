"""Which gateway, which key, and when a request is made again."""

import itertools
import subprocess
import sys
from datetime import UTC, date, datetime
from functools import partial

import httpx
import pytest
import trio

from ssmd import client
from ssmd.client import AsyncClient, AuthError, InvalidParameter, MissingExtra, Patience, RateLimited, Unavailable
from ssmd.client import tables as client_tables
from ssmd.client.place import find, read_key
from ssmd.client.rows import Quality, Window, joined
from ssmd.client.times import ns_of, text_of, time_text

SYMBOLS = {"data": [], "request_id": "01"}


def answering(tmp_path, *answers: httpx.Response | Exception) -> tuple[AsyncClient, list[float]]:
    """Return a client whose gateway gives these answers, and when it was asked."""
    key = tmp_path / "key"
    key.write_text("ssmd_AAAAAAAA_secret\n")
    left, asked = list(answers), []

    def answer(_request: httpx.Request) -> httpx.Response:
        asked.append(trio.current_time())
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    made = AsyncClient("http://gateway", key, patience=Patience(), transport=httpx.MockTransport(answer))
    return made, asked


OK = partial(httpx.Response, 200, json=SYMBOLS)


async def test_what_may_get_better_is_asked_again_ever_more_slowly(autojump_clock, tmp_path):
    away = httpx.ConnectError("no")
    made, asked = answering(tmp_path, away, httpx.Response(503), httpx.ReadError("cut"), httpx.Response(502), OK())
    async with made as opened:
        assert (await opened.symbols()).rows == []
    waits = [later - sooner for sooner, later in itertools.pairwise(asked)]
    for wait_s, most_s in zip(waits, (0.2, 0.4, 0.8, 1.6), strict=True):
        assert most_s / 2 <= wait_s <= most_s


async def test_the_gateway_says_how_long_to_wait(autojump_clock, tmp_path):
    made, asked = answering(tmp_path, httpx.Response(429, headers={"Retry-After": "7"}), OK())
    async with made as opened:
        await opened.symbols()
    assert asked[1] - asked[0] == pytest.approx(7)


async def test_too_long_a_wait_is_an_error_at_once(autojump_clock, tmp_path):
    made, asked = answering(tmp_path, httpx.Response(429, headers={"Retry-After": "3600"}))
    async with made as opened:
        with pytest.raises(RateLimited) as refused:
            await opened.symbols()
    assert (refused.value.retry_after_s, len(asked)) == (3600, 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 500])
async def test_what_stays_wrong_is_asked_once(tmp_path, status):
    made, asked = answering(tmp_path, httpx.Response(status))
    async with made as opened:
        with pytest.raises(client.SsmdError):
            await opened.symbols()
    assert len(asked) == 1


async def test_what_the_block_raises_comes_out_as_it_is(tmp_path):
    made, _ = answering(tmp_path)
    with pytest.raises(KeyError):
        async with made:
            raise KeyError


# where -------------------------------------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path, monkeypatch):
    for name in ("SSMD_GATEWAY", "SSMD_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ssmd-data" / "run").mkdir(parents=True)
    (tmp_path / "ssmd-data" / "run" / "endpoints.json").write_text('{"pid":1,"gateway":"http://127.0.0.1:8080"}')
    (tmp_path / "ssmd-data" / "demo.header").write_text("Authorization: Bearer ssmd_demo\n")
    return tmp_path


def test_the_gateway_that_runs_here_is_found_with_its_demo_key(demo):
    place = find()
    assert (place.url, place.key) == ("http://127.0.0.1:8080", "ssmd_demo")
    assert "ssmd_demo" not in repr(place)


def test_the_demo_key_is_sent_to_no_other_gateway(demo, monkeypatch):
    with pytest.raises(AuthError, match="no key for https://elsewhere"):
        find("https://elsewhere")
    monkeypatch.setenv("SSMD_GATEWAY", "https://elsewhere/")
    with pytest.raises(AuthError, match="api_key_file"):
        find()
    (demo / "mine").write_text("X-API-Key: ssmd_mine")
    monkeypatch.setenv("SSMD_API_KEY_FILE", str(demo / "mine"))
    assert (find().url, find().key) == ("https://elsewhere", "ssmd_mine")


def test_what_is_wrong_with_a_place_is_said_without_a_key(demo):
    with pytest.raises(Unavailable, match="no gateway runs in nowhere; name one"):
        find(data_dir="nowhere")
    for url in ("ftp://x", "elsewhere", "https://user:ssmd_secret@x", "https://x?key=ssmd_secret"):
        with pytest.raises(InvalidParameter) as wrong:
            find(url, demo / "ssmd-data" / "demo.header")
        assert "ssmd_secret" not in str(wrong.value)
    with pytest.raises(AuthError, match="cannot be read: No such file"):
        find("https://x", "absent")


@pytest.mark.parametrize("text", ["", "Authorization: Bearer", "two words", "ssmd_\nb", "ssmd_é"])
def test_a_file_that_holds_no_key_is_refused(tmp_path, text):
    (tmp_path / "key").write_text(text)
    with pytest.raises(AuthError, match="holds no key"):
        read_key(tmp_path / "key")


# values ------------------------------------------------------------------------------------------------------


def test_times_go_out_as_they_are_meant_and_come_back_exactly():
    assert [time_text(one) for one in ("-5m", 1_765_029_600_000_000_000, date(2025, 12, 6))] == [
        "-5m", "1765029600000000000", "2025-12-06",
    ]  # fmt: skip
    assert time_text(datetime(2025, 12, 6, 14)) == "2025-12-06T14:00:00+00:00"  # noqa: DTZ001  # without a zone
    assert time_text(datetime(2025, 12, 6, 14, tzinfo=UTC)) == "2025-12-06T14:00:00+00:00"
    assert text_of(ns_of("2025-12-06T14:00:00.000000007Z")) == "2025-12-06T14:00:00.000000007Z"
    assert ns_of("2025-12-06T14:00:00.4Z") == 1_765_029_600_400_000_000


def test_pages_that_follow_each_other_have_one_quality():
    def window(start: str, end: str, status: str = "missing", reason: str = "silent") -> Window:
        return Window(start, end, "kraken", (), status, reason)

    pages = [
        Quality("missing", (window("1", "3"),), {"kraken": "v1"}, {"minutes": 1}),
        Quality("suspect", (window("3", "5"), window("4", "9", "suspect", "checksum")), {"kraken": "v2"}),
        Quality("suspect", (window("4", "9", "suspect", "checksum"),)),
    ]
    found = joined(pages)
    assert (found.status, found.version, found.coverage) == ("missing", "v2", {})
    assert set(found.windows) == {window("1", "5"), window("4", "9", "suspect", "checksum")}
    assert joined(pages[:1]) is pages[0]


# what it needs -----------------------------------------------------------------------------------------------


def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch):
    def absent(name: str):
        raise ImportError(name)

    monkeypatch.setattr(client_tables, "import_module", absent)
    for package, extra in client_tables.EXTRAS.items():
        with pytest.raises(MissingExtra, match=rf"{package}, which is not installed.*ssmd\[{extra}\]"):
            client_tables.need(package, "this")


@pytest.mark.slow
def test_importing_it_loads_neither_trio_nor_pyarrow_nor_anything_else_of_ours():
    code = (
        "import sys, ssmd.client; "
        "print(*sorted(name for name in sys.modules if name.startswith('ssmd.') and not name.startswith('ssmd.client')),"
        " *({'trio', 'pyarrow', 'pandas', 'polars', 'httpx_ws', 'cyclopts'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_public_names_are_these():
    assert set(client.__all__) <= vars(client).keys()
    assert {"Client", "AsyncClient", "SsmdError", "AuthError", "NotFound", "RangeTooLarge"} <= set(client.__all__)
