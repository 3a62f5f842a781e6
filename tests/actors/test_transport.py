"""The exchange's socket against small servers: who is connected to, and that nobody else is."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from ssmd.actors.transport import WebSocketTransport
from ssmd.errors import AddressRefused, ExchangeDown
from ssmd.supervisor.pacing import is_outage
from tests.actors.test_dialing import Names

CERTIFICATES = Path(__file__).parents[1] / "gateway/web/certificates"
FRAME = 1 << 20


@asynccontextmanager
async def answering(answer: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Give a port where everybody gets this answer, and what was received there: nothing yet, then each request."""
    received: list[bytes] = []

    async def serve(stream: trio.abc.Stream) -> None:
        received.append(b"")
        wrapped = stream if tls is None else trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        async with wrapped:
            received[-1] = bytes(await wrapped.receive_some())
            await wrapped.send_all(answer)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1], received
        nursery.cancel_scope.cancel()


async def connect(url: str, *private_hosts: str) -> None:
    async with WebSocketTransport(private_hosts).connect(url, FRAME):
        pass


async def refused(url: str, *private_hosts: str) -> ExchangeDown:
    """Return why a handshake fails."""
    with pytest.raises(ExchangeDown) as caught:
        await connect(url, *private_hosts)
    return caught.value


@pytest.mark.parametrize("head", ["429 Too Many Requests", "503 Service Unavailable", "200 OK"])
@pytest.mark.parametrize("body", [b"", b"slow down"])
async def test_row_24_a_refused_handshake_is_an_outage_and_not_a_bug(head, body):
    answer = f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    async with answering(answer) as (port, _):
        error = await refused(f"ws://127.0.0.1:{port}/v2")
    assert is_outage(error)
    assert (error.reason, error.detail) == ("refused", f"ws://127.0.0.1:{port}/v2 answered {head[:3]}")


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"])
async def test_s13_no_redirect_is_followed(status):
    async with answering(b"") as (elsewhere, visitors):
        moved = f"HTTP/1.1 {status}\r\nLocation: ws://127.0.0.1:{elsewhere}/v2\r\nContent-Length: 0\r\n\r\n"
        async with answering(moved.encode()) as (port, _):
            error = await refused(f"ws://127.0.0.1:{port}/v2")
        assert error.reason == "refused"
        assert f"answered {status[:3]}" in error.detail
        assert visitors == []


async def test_s13_a_name_that_leads_to_this_machine_hears_nothing_from_us():
    async with answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as (port, visitors):
        trio.socket.set_custom_hostname_resolver(Names(("127.0.0.1",)))
        with pytest.raises(AddressRefused):
            await connect(f"wss://ws.kraken.com:{port}/v2")
        assert visitors == []
        error = await refused(f"ws://sim.test:{port}/v2", "sim.test")
        assert "answered 403" in error.detail
        assert visitors[0].startswith(b"GET /v2 HTTP/1.1\r\nHost: sim.test:")


async def test_s13_the_certificate_must_be_of_the_name_not_of_the_address(monkeypatch):
    """The one that is shown is of `localhost` and of 127.0.0.1."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "first.pem"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATES / "first.pem", CERTIFICATES / "first.key.pem")
    async with answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", server) as (port, visitors):
        assert "answered 403" in (await refused(f"wss://localhost:{port}/v2")).detail
        assert visitors.pop()
        trio.socket.set_custom_hostname_resolver(Names(("127.0.0.1",)))
        error = await refused(f"wss://sim.test:{port}/v2", "sim.test")
        assert "Hostname mismatch" in error.detail
        assert visitors == [b""]
