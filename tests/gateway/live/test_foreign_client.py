"""A WebSocket client that is not ours, over a real socket: the `websockets` package."""

import json

import pytest
import trio
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.gateway.live_world import KEY, World, book, ids, quote, trade

pytestmark = pytest.mark.slow
WITHIN_S = 10.0


@pytest.fixture
def world() -> World:
    made = World()
    made.doorkeeper.admit("notebook")
    return made


def received(client: ClientConnection, count: int) -> list[dict]:
    """Return the next messages that carry data."""
    found: list[dict] = []
    while len(found) < count:
        message = json.loads(client.recv(timeout=WITHIN_S))
        if message["type"] in {"trade", "quote", "book"}:
            found.append(message)
    return found


async def test_it_gets_data_in_both_styles_and_answers_pings(world: World):
    def script(url: str) -> None:
        with connect(f"{url}?symbols=BTCUSD&types=trade,book", additional_headers={"X-API-Key": KEY}) as client:
            first = [json.loads(client.recv(timeout=WITHIN_S))["type"] for _ in range(2)]
            assert first == ["welcome", "subscribed"]
            events = [*(trade(seq) for seq in range(1, 2_000)), quote(2_000), book(2_001, depth=1_000)]
            trio.from_thread.run(world.publish, *events)
            got = received(client, 2_000)
            assert ids(got) == [*range(1, 2_000), 2_001]
            assert len(got[-1]["bids"]) == 1_000
            client.send(json.dumps({"op": "subscribe", "id": 1, "symbols": ["ETHUSD"]}))
            assert json.loads(client.recv(timeout=WITHIN_S))["id"] == 1
            trio.from_thread.run(world.publish, trade(3_000, "ETHUSD"))
            assert ids(received(client, 1)) == [3_000]
            assert client.ping().wait(WITHIN_S)
        assert client.close_code == 1000

    async with world.running(), world.listening() as port:
        await trio.to_thread.run_sync(script, f"ws://127.0.0.1:{port}/subscribe")


async def test_it_is_told_by_status_and_close_code_what_is_wrong(world: World):
    def script(url: str) -> None:
        with pytest.raises(InvalidStatus, match="401"), connect(url, additional_headers={"X-API-Key": "no"}):
            pass
        with connect(url) as client:
            client.send('{"op":"auth","key":"no"}')
            assert "invalid_key" in str(client.recv(timeout=WITHIN_S))
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(timeout=WITHIN_S)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 4401

    async with world.running(), world.listening() as port:
        await trio.to_thread.run_sync(script, f"ws://127.0.0.1:{port}/subscribe?symbols=BTCUSD")
