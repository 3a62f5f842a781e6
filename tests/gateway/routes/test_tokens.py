"""S8, S9: whatever a client writes, only what the catalog knows reaches a subject or a key."""

import json
from contextlib import asynccontextmanager
from urllib.parse import quote, urlencode

import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ssmd.bus.base import FROM_NOW
from ssmd.bus.memory import MemoryBus, MemoryDialer
from ssmd.gateway.cursor import Cursor, encode_cursor
from tests.gateway.routes.test_data import archive, made
from tests.gateway.serving import Serving
from tests.reprocess.captured import at

SUBJECTS = {f"md.kraken.{kind}.{symbol}" for kind in ("trade", "quote", "book") for symbol in ("BTCUSD", "ETHUSD", "*")}
PATTERNS = {"test.feeds.*", "test.connectors.kraken.*"}
PREFIXES = ("normalized/v1/kraken/", "quality/v1/kraken/", "raw/kraken/", "normalized/ ", "normalized/v1/")
FORMS = ("trades", "quotes", "books", "symbols", "gaps", "coverage", "estimate", "feeds")
NAMES = (
    "symbol",
    "symbols",
    "feed",
    "version",
    "fields",
    "q",
    "type",
    "cursor",
    "format",
    "clock",
    "start",
    "last",
    "at",
)


class WatchedDialer(MemoryDialer):
    def __init__(self, broker, asked: set[str]) -> None:
        super().__init__(broker)
        self._asked = asked

    @asynccontextmanager
    async def connect(self):
        yield WatchedBus(self.broker, self._asked)


class WatchedBus(MemoryBus):
    def __init__(self, broker, asked: set[str]) -> None:
        super().__init__(broker)
        self._asked = asked

    def listen(self, stream, subject, start=FROM_NOW):
        self._asked.add(subject)
        return super().listen(stream, subject, start)

    async def kv_list(self, bucket, pattern):
        self._asked.add(pattern)
        return await super().kv_list(bucket, pattern)


def tampered(text: str) -> str:
    position = (at(0), text, 0, 0)
    return encode_cursor(Cursor(text, at(0), at(1), {text: position}, {text: text}))


texts = st.one_of(
    st.text(max_size=40),
    st.text("md.*>/ \n\0%ABTCUSD", max_size=12),
    st.sampled_from(
        ["BTCUSD", "BTC/USD", "BTCUSD,ETHUSD", "kraken", "v1", "trade", "../../raw/kraken", "md.>", "v1\n"]
    ),
    st.text(max_size=10).map(tampered),
)


async def ask(path: str) -> tuple[int, set[str], set[str]]:
    serving = Serving(lambda: at(3))
    serving.app.config["PROPAGATE_EXCEPTIONS"] = True
    archive(serving.store, [made(n, at(n)) for n in range(2)])
    await serving.publish(made(2, at(2)))
    subjects: set[str] = set()
    source = serving.source
    source._dialer = WatchedDialer(serving.broker, subjects)
    serving.store.asked.clear()
    response = await serving.get(path)
    json.loads(await response.get_data() or b"{}") if response.status_code not in {
        200,
        404,
    } else None  # a bare app has a page for 404
    return response.status_code, subjects, serving.store.asked


@settings(max_examples=80)
@given(st.sampled_from(FORMS), st.dictionaries(st.sampled_from(NAMES), texts, min_size=1, max_size=4))
@example("trades", {"symbol": "md.>", "start": "-1h"})
@example("trades", {"symbol": "BTCUSD", "start": "-1h", "version": "v1\n"})
@example("trades", {"symbol": "BTC/USD", "last": "3"})
def test_s8_s9_no_text_of_a_client_reaches_a_subject_or_a_key(form, parameters):
    status, subjects, keys = trio.run(ask, f"/api/v1/{form}?{urlencode(parameters, errors='replace')}")
    assert status < 500
    assert subjects <= SUBJECTS | PATTERNS
    assert all(f"{key} ".startswith(PREFIXES) for key in keys), keys
    assert not any(".." in key for key in keys)


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=30))
def test_s9_no_path_of_a_client_reaches_a_key(text):
    status, _, keys = trio.run(ask, f"/api/v1/schemas/{quote(text, safe='', errors='replace')}")
    assert status < 500
    assert keys == set()


def test_the_test_reaches_stream_and_archive():
    """Otherwise the claims above would hold of nothing."""
    status, subjects, keys = trio.run(ask, "/api/v1/trades?symbol=BTC/USD&start=-1h")
    assert status == 200
    assert "md.kraken.trade.BTCUSD" in subjects
    assert any(key.startswith("normalized/v1/kraken/trade/BTCUSD/2025/") for key in keys)
