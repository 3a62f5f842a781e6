"""What clients may do to the server, and what it leaves behind."""

import json
import socket
from pathlib import Path

import httpx
import pytest
import trio
from trio_websocket import ConnectionRejected

from ssmd.errors import ConfigError
from ssmd.simulator import SimulatorActor, SimulatorConfig, parse_fault, serve
from tests.simulator.peer import call, connected, inject, on, simulated

HANDSHAKE = (
    b"GET /v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
BAD_STARTS = {
    "nothing": b"",
    "binary": bytes(range(256)),
    "half a head": b"GET /v2 HT",
    "no HTTP": b"hello\r\n\r\n",
    "endless head": b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 10_000,
    "endless body": b"POST /sim/faults HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 200_000,
    "no key": HANDSHAKE.replace(b"Sec-WebSocket-Key", b"X-Other"),
    "old version": HANDSHAKE.replace(b"Version: 13", b"Version: 8"),
    "post": HANDSHAKE.replace(b"GET", b"POST"),
    "unmasked frame": HANDSHAKE + b"\x81\x02hi",
    "bad utf-8": HANDSHAKE + b"\x81\x82\0\0\0\0\xff\xfe",
    "reserved bits": HANDSHAKE + b"\xff\xff\xff\xff",
    "huge length": HANDSHAKE + b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    "unfinished frame": HANDSHAKE + b"\x81\xfe\x10\x00\0\0\0\0abc",
    "close frame of one byte": HANDSHAKE + b"\x88\x81\0\0\0\0x",
}


async def works(endpoints):
    async with connected(endpoints) as peer:
        await peer.ask("ping")
        return (await peer.answer())["method"] == "pong"


@pytest.mark.parametrize("start", BAD_STARTS)
async def test_a_bad_start_harms_only_its_own_connection(start):
    async with simulated() as endpoints:
        port = int(endpoints.rest_url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            try:
                await stream.send_all(BAD_STARTS[start])
                await stream.send_eof()
            except trio.BrokenResourceError:
                pass
            assert await works(endpoints)
        assert await works(endpoints)


async def test_a_client_that_never_finishes_its_head_is_let_go():
    async with simulated(head_timeout_s=0.1) as endpoints:
        port = int(endpoints.rest_url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /v2 HTTP/1.1\r\nHost: x\r\n")
            with trio.fail_after(5):
                assert await stream.receive_some() == b""


async def test_a_refused_handshake_is_answered_in_http():
    async with simulated() as endpoints, httpx.AsyncClient() as http:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        assert (await http.get(f"{endpoints.rest_url}/v2", headers=headers)).status_code == 400
        assert (await http.get(f"{endpoints.rest_url}/other", headers=headers)).status_code == 404


async def test_a_flood_of_connects_is_banned_with_429_and_counted():
    async with simulated(connects_per_window=3) as endpoints:
        for _ in range(3):
            async with connected(endpoints):
                pass
        with pytest.raises(ConnectionRejected) as rejected:
            async with connected(endpoints):
                pass
        _, summary = await call(endpoints, "GET", "/sim/ledger-summary")
    assert rejected.value.status_code == 429
    assert dict(rejected.value.headers)[b"retry-after"] == b"600"
    assert summary["limits_broken"]["connects"] == 1


async def test_a_client_may_leave_in_the_middle_of_the_feed():
    async with simulated(rate_per_s=5000) as endpoints:
        for _ in range(3):
            async with connected(endpoints) as peer:
                await peer.subscribe("book", "BTC/USD")
                await peer.until(on("book", "update"))
        assert await works(endpoints)


async def test_a_slow_reader_is_queued_for_and_cut_off_at_the_bound():
    async with (
        simulated(rate_per_s=100_000, queue_bytes=500_000) as endpoints,
        connected(endpoints) as peer,
    ):
        await peer.subscribe("book", "BTC/USD", "ETH/USD")
        with trio.fail_after(10):
            while (ended := await ended_by(endpoints)) is None:  # noqa: ASYNC110  what is waited for is in the server
                await trio.sleep(0.02)
        assert ended == "queue full"
        assert await works(endpoints)


async def ended_by(endpoints):
    _, summary = await call(endpoints, "GET", "/sim/ledger-summary")
    return summary["connections"][0]["ended_by"]


async def test_a_cancel_closes_connections_and_the_port_at_once():
    with trio.fail_after(5):
        async with simulated(rate_per_s=2000) as endpoints, connected(endpoints) as peer:
            await peer.subscribe("book", "BTC/USD")
            await peer.until(on("book", "update"))
    port = int(endpoints.rest_url.rpartition(":")[2])
    with socket.socket() as again, pytest.raises(ConnectionRefusedError):
        again.connect(("127.0.0.1", port))


async def test_a_drained_actor_returns(nursery):
    actor = SimulatorActor(SimulatorConfig())
    await nursery.start(actor.run)
    assert actor.endpoints is not None
    assert await works(actor.endpoints)
    actor.drain()
    actor.drain()


async def test_an_actor_drained_before_its_start_returns_at_once():
    actor = SimulatorActor(SimulatorConfig())
    actor.drain()
    with trio.fail_after(1):
        await actor.run()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"rate_per_s": 0}, "rate_per_s"),
        ({"speed": -1}, "speed"),
        ({"trade_share": 2}, "trade_share"),
        ({"symbols": ()}, "symbols"),
        ({"symbols": ("btc/usd",)}, "BTC/USD"),
        ({"faults": (parse_fault("checksum@1:XBT/USD"),)}, "XBT/USD"),
        ({"faults": (parse_fault("checksum@1"),), "replay": (Path(__file__),)}, "recorded"),
    ],
)
async def test_what_cannot_work_is_refused_before_anything_starts(settings, word):
    with pytest.raises(ConfigError, match=word):
        await serve(SimulatorConfig(**settings))


async def test_the_ledger_holds_what_was_received_in_order_and_what_was_withheld(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    async with simulated(rate_per_s=500, ledger=ledger) as endpoints, connected(endpoints) as peer:
        await peer.subscribe("book", "BTC/USD")
        await inject(endpoints, "missing")
        await inject(endpoints, "garbage")
        for _ in range(100):
            await peer.text()
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [entry["n"] for entry in entries] == list(range(len(entries)))
    assert {entry["conn"] for entry in entries} == {0}
    assert sum(entry["withheld"] for entry in entries) == 1
    sent = [entry["frame"] for entry in entries if not entry["withheld"]]
    assert sent[: len(peer.texts)] == peer.texts
    times = [entry["sent_ns"] for entry in entries]
    assert times == sorted(times)


async def test_two_runs_with_the_same_seed_send_the_same_market():
    async def market() -> list[list[str]]:
        async with simulated(rate_per_s=2000, seed=9, first_trade_id=1) as endpoints, connected(endpoints) as peer:
            await peer.subscribe("book", "BTC/USD")
            frames = [await peer.until(on("book")) for _ in range(50)]
        return [[frame["data"][0][name] for name in ("bids", "asks", "checksum")] for frame in frames]

    assert await market() == await market()
