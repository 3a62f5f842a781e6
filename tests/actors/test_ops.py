import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import trio

from ssmd.actors.ops import MAX_READ_BYTES, OpsEndpoint
from ssmd.settings import OpsSettings
from ssmd.supervisor import ChildState, HealthBoard


class Rig:
    def __init__(self) -> None:
        self.board = HealthBoard()
        self.urls: list[str] = []
        self.endpoint = OpsEndpoint("connector:kraken", OpsSettings(), self.board, self.urls.append)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.urls[0].removeprefix("http://").partition(":")
        return host, int(port)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Rig, httpx.AsyncClient]]:
    rig = Rig()
    async with trio.open_nursery() as nursery:
        await nursery.start(rig.endpoint.run)
        async with httpx.AsyncClient(base_url=rig.urls[0], timeout=5) as client:
            yield rig, client
        rig.endpoint.drain()


async def test_health_is_200_while_the_process_lives_and_ready_only_while_its_dependencies_answer():
    async with serving() as (rig, client):
        check = rig.board.check("nats")
        rig.board.record("connector/publisher", ChildState.BACKOFF, "BusDown('away')")
        assert (await client.get("/health")).status_code == 200
        answer = await client.get("/health/ready")
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        check.ok()
        assert (await client.get("/health/ready")).status_code == 200
        check.fail("not connected")
        assert (await client.get("/health/ready")).json()["checks"] == [
            {"name": "nats", "ok": False, "detail": "not connected"}
        ]


async def test_health_tells_of_each_child():
    async with serving() as (rig, client):
        rig.board.record("connector/publisher", ChildState.STARTING)
        rig.board.record("connector/publisher", ChildState.BACKOFF, "BusDown('away')")
        rig.board.record("connector/publisher", ChildState.STARTING)
        report = (await client.get("/health")).json()
        (child,) = report["children"]
        assert (child["path"], child["state"], child["restarts"], child["error"]) == (
            "connector/publisher",
            "starting",
            1,
            "BusDown('away')",
        )
        assert (report["role"], report["status"]) == ("connector:kraken", "ok")


async def test_metrics_are_in_prometheus_format_with_the_process_own():
    async with serving() as (_, client):
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        values = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
        assert float(values["ssmd_process_resident_bytes"]) > 10_000_000
        assert float(values["ssmd_process_cpu_seconds"]) > 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics?x=1", 200), ("POST", "/health", 405), ("HEAD", "/health", 200)],
)
async def test_other_requests_are_answered_in_a_word(method, path, status):
    async with serving() as (_, client):
        answer = await client.request(method, path)
        assert answer.status_code == status
        assert (answer.content == b"") is (method == "HEAD")


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\xff\x16\x03 nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 2 * MAX_READ_BYTES,
        b"GET /health HT",
        b"",
    ],
)
async def test_a_scanner_harms_nobody(said):
    async with serving() as (rig, client):
        async with await trio.open_tcp_stream(*rig.address) as stream:
            with trio.move_on_after(1), suppress(trio.BrokenResourceError):  # the endpoint may hang up first
                await stream.send_all(said)
                await stream.send_eof()
                await stream.receive_some()
        assert (await client.get("/health")).status_code == 200


async def test_a_client_that_says_nothing_holds_nobody_up():
    async with serving() as (rig, client):
        streams = [await trio.open_tcp_stream(*rig.address) for _ in range(50)]
        assert json.loads((await client.get("/health")).content)["status"] == "ok"
        for stream in streams:
            await trio.aclose_forcefully(stream)


async def test_a_port_that_is_taken_breaks_it_at_once():
    async with serving() as (rig, _):
        taken = OpsEndpoint("x", OpsSettings(port=rig.address[1]), HealthBoard(), rig.urls.append)
        with pytest.raises(BaseExceptionGroup) as caught:
            await taken.run()
        assert caught.group_contains(OSError)
