"""What the server does with connections, as raw sockets see it."""

import json
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import structlog
import trio
from quart import Blueprint, Response

from ssmd.errors import ConfigError
from ssmd.gateway.web.doors import DoorLimits
from ssmd.gateway.web.http_connection import MAX_HEAD_BYTES
from ssmd.gateway.web.server import listen_on
from ssmd.gateway.web.tls import Certificates
from ssmd.gateway.web.transport import USER_TIMEOUT_MS, Patience
from tests.gateway.fakes import bearer, serving

CERTIFICATES = Path(__file__).parent / "certificates"
HANDSHAKE = (
    b"GET /subscribe?symbols=BTCUSD HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


async def read_answer(stream: trio.abc.ReceiveStream) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of one answer with a length."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        chunk = await stream.receive_some()
        assert chunk, received
        received += chunk
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    while len(body) < int(headers["content-length"]):
        body += await stream.receive_some()
    return int(lines[0].split()[1]), headers, body


async def is_closed(stream: trio.abc.ReceiveStream) -> bool:
    """Wait for the end of a connection."""
    with trio.fail_after(3), suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass
    return True


async def ask(stream: trio.SocketStream, request: bytes = HEALTH) -> tuple[int, dict[str, str], bytes]:
    await stream.send_all(request)
    with trio.fail_after(3):
        return await read_answer(stream)


class Held:
    """Routes that answer only when a test lets them."""

    def __init__(self) -> None:
        self.arrived = trio.Event()
        self.go_on = trio.Event()
        self.cut_off = trio.Event()

    def routes(self) -> Blueprint:
        made = Blueprint("made", __name__)

        @made.get("/api/v1/held")
        async def held():
            self.arrived.set()
            await self.go_on.wait()
            return {"done": True}

        @made.get("/api/v1/flood")
        async def flood():
            async def chunks():
                try:
                    while True:
                        yield b"x" * 100_000
                finally:
                    self.cut_off.set()

            return Response(chunks())

        @made.get("/api/v1/torn")
        async def torn():
            async def chunks():
                yield b"[1,"
                raise RuntimeError("in the middle")

            return Response(chunks())

        return made


async def test_one_connection_serves_many_requests_in_order_also_pipelined_ones():
    async with serving() as (gateway, _), await gateway.connect() as stream:
        for _ in range(3):
            assert (await ask(stream))[0] == 200
        await stream.send_all(HEALTH + HEALTH.replace(b"/health", b"/nowhere") + HEALTH)
        text = b""
        with trio.fail_after(3):
            while text.count(b"HTTP/1.1 ") < 3 or not text.endswith(b"}\n"):
                text += await stream.receive_some()
        assert [part[:3] for part in text.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404", b"200"]


async def test_a_websocket_goes_to_the_sessions_with_all_that_came_on_a_new_connection_and_on_a_used_one():
    async with serving() as (gateway, _):
        for first in ((), (HEALTH, HEALTH)):
            async with await gateway.connect() as stream:
                for request in first:
                    assert (await ask(stream, request))[0] == 200
                await stream.send_all(HANDSHAKE[:50])
                await trio.testing.wait_all_tasks_blocked(0.01)
                await stream.send_all(HANDSHAKE[50:] + b"frame")
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"hello"
        for head in gateway.subscriptions.handshakes:
            assert (head.method, head.target, head.received) == (b"GET", b"/subscribe?symbols=BTCUSD", b"frame")
            assert head.header(b"sec-websocket-version") == "13"
        assert len(gateway.subscriptions.handshakes) == 2


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (HANDSHAKE.replace(b"/subscribe", b"/other"), 403, ""),
        (HANDSHAKE[:-2] + b"Origin: https://evil.example\r\n\r\n", 403, "origin_refused"),
        (HANDSHAKE.replace(b"GET", b"POST"), 405, "method_not_allowed"),
        (b"GET /subscribe HTTP/1.1\r\nHost: x\r\n\r\n", 426, "upgrade_required"),
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "bad_request"),
        (b"GET /x HTTP/1.1\r\nHost: x\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", 431, "head_too_large"),
        (b"GET /x HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 2 * MAX_HEAD_BYTES, 431, "head_too_large"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404, "not_found"),
    ],
    ids=["other-path", "origin", "post", "no-upgrade", "nonsense", "two-hosts", "no-colon", "long-head", "endless-head", "http2"],
)  # fmt: skip
async def test_s21_what_is_no_proper_request_is_refused_in_a_word_and_harms_nobody(request_bytes, status, code):
    async with serving() as (gateway, client):
        async with await gateway.connect() as stream:
            found, headers, body = await ask(stream, request_bytes)
            assert found == status
            if code:
                assert (headers["content-type"], json.loads(body)["code"]) == ("application/problem+json", code)
        assert (await client.get("/health")).status_code == 200


async def test_an_offer_of_http2_is_left_unanswered():
    request = HEALTH[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
    async with serving() as (gateway, _), await gateway.connect() as stream:
        assert (await ask(stream, request))[0] == 200
        assert (await ask(stream, request))[0] == 200


async def test_s7_two_hundred_slow_heads_are_dropped_and_a_healthy_client_is_served_meanwhile():
    async with serving(patience=Patience(head_s=0.3)) as (gateway, client):
        slow = [await gateway.connect() for _ in range(200)]
        for stream in slow:
            await stream.send_all(b"GET /health HTTP/1.1\r\nHost:")
        for _ in range(10):
            assert (await client.get("/health")).status_code == 200
        answers = [await read_answer(stream) for stream in slow]
        assert {(status, json.loads(body)["code"]) for status, _, body in answers} == {(408, "head_too_slow")}
        assert all([await is_closed(stream) for stream in slow])
        for stream in slow:
            await stream.aclose()


async def test_s7_a_head_that_trickles_in_on_a_used_connection_is_dropped_too():
    async with serving(patience=Patience(head_s=0.2)) as (gateway, _), await gateway.connect() as stream:
        await ask(stream)
        await stream.send_all(b"GET")
        assert (await read_answer(stream))[0] == 408
        assert await is_closed(stream)


async def test_a_connection_on_which_nothing_is_asked_is_closed():
    async with serving(patience=Patience(idle_s=0.1)) as (gateway, _), await gateway.connect() as stream:
        await ask(stream)
        assert await is_closed(stream)


async def test_s5_above_the_cap_who_waits_longest_gives_way_and_who_is_served_stays():
    held = Held()
    async with (
        serving(held.routes(), limits=DoorLimits(per_address=3)) as (gateway, client),
        trio.open_nursery() as nursery,
        await gateway.connect() as idle,
        await gateway.connect() as silent,
    ):
        await ask(idle)
        nursery.start_soon(_expect, client, "/api/v1/held", 200)
        await held.arrived.wait()
        async with await gateway.connect() as newcomer:  # the fourth: `silent` has waited since before `idle` did
            assert (await ask(newcomer))[0] == 200
            assert await is_closed(silent)
            assert (await ask(idle))[0] == 200
        held.go_on.set()


async def _expect(client: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await client.get(path, headers=bearer())).status_code == status


async def test_s5_when_everybody_is_being_served_a_newcomer_is_told_to_come_back():
    async with serving(limits=DoorLimits(in_all=2)) as (gateway, _):
        async with await gateway.connect() as first, await gateway.connect() as second:
            for stream in (first, second):
                await stream.send_all(HANDSHAKE)
                await stream.receive_some()
            async with await gateway.connect() as third:
                status, headers, body = await read_answer(third)
                assert (status, json.loads(body)["code"]) == (503, "unavailable")
                assert int(headers["retry-after"]) > 0
            await first.send_all(b"still here")
            assert await first.receive_some() == b"still here"
        async with await gateway.connect() as stream:
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert (await ask(stream))[0] == 200  # places are given back


@pytest.mark.slow
async def test_row_29_two_thousand_sockets_that_say_nothing_do_not_slow_a_healthy_client():
    async with serving(limits=DoorLimits(per_address=500)) as (gateway, client), AsyncExitStack() as crowd:
        before_s = await _p99_s(client)
        for number in range(2000):
            stream = await crowd.enter_async_context(await gateway.connect())
            if number % 2:
                await stream.send_all(b"GET / HT")
        during_s = await _p99_s(client)
        assert during_s < before_s * 1.2 + 0.005, f"p99 {before_s * 1e3:.1f} ms before, {during_s * 1e3:.1f} ms during"
        lines = (await client.get("/metrics")).text.splitlines()
        (there,) = [line for line in lines if line.startswith("ssmd_gateway_connections_open ")]
        assert float(there.split()[1]) <= 501


async def _p99_s(client: httpx.AsyncClient) -> float:
    """Return the best of three: what others do on this machine only makes it worse."""
    return min([await _one_p99_s(client) for _ in range(3)])


async def _one_p99_s(client: httpx.AsyncClient) -> float:
    took_s = []
    for _ in range(200):
        began_s = trio.current_time()
        assert (await client.get("/health")).status_code == 200
        took_s.append(trio.current_time() - began_s)
    return sorted(took_s)[197]


async def test_a_client_that_stops_reading_is_cut_off_and_its_handler_ends():
    held = Held()
    async with serving(held.routes(), patience=Patience(send_s=0.2)) as (gateway, client):
        async with await gateway.connect() as stream:
            await stream.send_all(
                b"GET /api/v1/flood HTTP/1.1\r\nHost: x\r\nAuthorization: "
                + bearer()["Authorization"].encode()
                + b"\r\n\r\n"
            )
            with trio.fail_after(3):
                await held.cut_off.wait()
        assert (await client.get("/health")).status_code == 200


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
async def test_a_peer_that_is_gone_is_noticed_by_the_kernel():
    async with serving() as (gateway, _), await gateway.connect() as stream:
        await stream.send_all(HANDSHAKE)
        await stream.receive_some()
        served = gateway.subscriptions.transport.stream
        assert served.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT_MS
        assert served.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_an_answer_that_breaks_off_is_seen_to_be_broken():
    with structlog.testing.capture_logs() as logs:
        async with serving(Held().routes()) as (_, client):
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/api/v1/torn", headers=bearer())
    assert [line["event"] for line in logs] == ["answer_failed"]


async def test_a_bug_in_one_session_ends_that_one_alone():
    with structlog.testing.capture_logs() as logs:
        async with serving() as (gateway, client):
            healthily = gateway.subscriptions.open
            async with await gateway.connect() as healthy, await gateway.connect() as unlucky:
                await healthy.send_all(HANDSHAKE)
                await healthy.receive_some()
                gateway.subscriptions.open = _opened_broken
                await unlucky.send_all(HANDSHAKE)
                assert await is_closed(unlucky)
                gateway.subscriptions.open = healthily
                await healthy.send_all(b"well")
                assert await healthy.receive_some() == b"well"
                assert (await client.get("/health")).status_code == 200
    assert [line["event"] for line in logs] == ["connection_failed"]


class _Broken:
    async def serve(self) -> None:
        raise RuntimeError("a bug")


async def _opened_broken(_transport: object, _head: object) -> _Broken:
    return _Broken()


async def test_drain_refuses_newcomers_lets_requests_finish_and_tells_sessions_to_come_back():
    held = Held()
    async with (
        serving(held.routes()) as (gateway, client),
        trio.open_nursery() as nursery,
        await gateway.connect() as idle,
        await gateway.connect() as live,
    ):
        await ask(idle)
        await live.send_all(HANDSHAKE)
        await live.receive_some()
        nursery.start_soon(_expect, client, "/api/v1/held", 200)
        await held.arrived.wait()
        gateway.web.drain()
        assert await live.receive_some() == b"1012"
        assert await is_closed(idle)
        with pytest.raises(OSError, match=r"all attempts|refused"):
            await gateway.connect()
        held.go_on.set()


async def test_drain_does_not_wait_for_ever():
    held = Held()
    gateway_ended = trio.Event()
    async with serving(held.routes(), patience=Patience(drain_s=0.1)) as (gateway, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_cut, client, gateway_ended)
            await held.arrived.wait()
            gateway.web.drain()
        assert gateway_ended.is_set()


async def _expect_cut(client: httpx.AsyncClient, ended: trio.Event) -> None:
    with trio.fail_after(3), pytest.raises(httpx.RemoteProtocolError):
        await client.get("/api/v1/held", headers=bearer())
    ended.set()


# TLS ---------------------------------------------------------------------------------------------------------


def install(name: str, folder: Path) -> tuple[Path, Path]:
    """Put a certificate and its key where the gateway looks for them."""
    paths = folder / "tls.crt", folder / "tls.key"
    for source, path in zip((f"{name}.pem", f"{name}.key.pem"), paths, strict=True):
        shutil.copy(CERTIFICATES / source, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
    return paths


@asynccontextmanager
async def encrypted(port: int) -> AsyncIterator[tuple[str, trio.SSLStream[trio.SocketStream]]]:
    """Give the name in the certificate that a new handshake shows, and the open connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(CERTIFICATES / "first.pem")
    context.load_verify_locations(CERTIFICATES / "second.pem")
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context, https_compatible=True)
    await stream.do_handshake()
    yield dict(part[0] for part in stream.getpeercert()["subject"])["commonName"], stream
    await trio.aclose_forcefully(stream)


async def subject(port: int) -> str:
    async with encrypted(port) as (name, _):
        return name


async def test_a_new_certificate_is_shown_to_who_comes_next_and_open_connections_go_on(tmp_path):
    certificates = Certificates(*install("first", tmp_path))
    async with serving(certificates=certificates) as (gateway, _), encrypted(gateway.port) as (name, before):
        assert name == "first.test"
        shutil.copy(CERTIFICATES / "second.pem", tmp_path / "tls.crt")  # its key is not there yet
        with structlog.testing.capture_logs() as logs:
            assert [await subject(gateway.port), await subject(gateway.port)] == ["first.test"] * 2
        assert [line["event"] for line in logs] == ["certificate_not_loaded"]
        install("second", tmp_path)
        assert await subject(gateway.port) == "second.test"
        status, headers, _ = await ask(before)
        assert (status, headers["strict-transport-security"]) == (200, "max-age=31536000")


async def test_with_tls_a_websocket_is_served_as_well_and_plain_text_is_nobody(tmp_path):
    async with serving(certificates=Certificates(*install("first", tmp_path))) as (gateway, client):
        async with encrypted(gateway.port) as (_, stream):
            await stream.send_all(HANDSHAKE)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 101")
        async with await gateway.connect() as plain:
            await plain.send_all(HEALTH)
            assert await is_closed(plain)
        assert (await client.get("/health")).status_code == 200


async def test_a_tls_handshake_that_does_not_get_on_is_ended(tmp_path):
    certificates = Certificates(*install("first", tmp_path))
    async with serving(certificates=certificates, patience=Patience(handshake_s=0.2)) as (gateway, client):
        silent, half = await gateway.connect(), await gateway.connect()
        await half.send_all(b"\x16\x03\x01\x02\x00\x01")
        for stream in (silent, half):
            assert await is_closed(stream)
            await stream.aclose()
        assert (await client.get("/health")).status_code == 200


def test_certificates_that_cannot_be_read_are_refused_with_their_setting(tmp_path):
    certificate, key = install("first", tmp_path)
    for wrong in ((certificate, tmp_path / "missing"), (CERTIFICATES / "second.pem", key), (key, key)):
        with pytest.raises(ConfigError, match=r"\[gateway\] tls_certificate"):
            Certificates(*wrong)


# listening ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["8080", "localhost", "127.0.0.1:99999", "127.0.0.1:x", ":80:80:", "999.1.1.1:0"])
def test_an_address_to_listen_on_that_is_none_is_refused(listen):
    with pytest.raises(ConfigError, match="listen"):
        listen_on(listen).close()


def test_a_port_that_is_taken_names_the_flag_that_moves_it():
    first = listen_on("127.0.0.1:0")
    with pytest.raises(ConfigError, match="--gateway-port"):
        listen_on(first.url.removeprefix("http://"))
    first.close()


def test_an_ipv6_address_is_written_as_a_url():
    found = listen_on("[::1]:0")
    assert found.url.startswith("http://[::1]:")
    found.close()
