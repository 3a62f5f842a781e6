"""The whole gateway in this process, over a bus and a store in memory: what it is made of fits together."""

import re
import ssl
import stat
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import jsonschema
import msgspec
import pytest
import trio
from msgspec.structs import replace

from ssmd.bus.base import Outgoing, StreamSpec
from ssmd.bus.memory import MemoryBroker, MemoryDialer
from ssmd.clock import NS_PER_S, now_ns
from ssmd.codec import marketdata
from ssmd.environment import render_sizes as sizes
from ssmd.errors import ConfigError, DatabaseDown
from ssmd.gateway.description import OPERATIONS, openapi
from ssmd.gateway.description.parts import Operation
from ssmd.model import Event, Quote, Trade, message_id, type_of
from ssmd.settings import GatewaySettings, Settings
from ssmd.store.memory import MemoryStore
from ssmd.supervisor import HealthBoard
from ssmd.supervisor.spec import longest_drain_s
from ssmd.trees import RoleSpec, World
from ssmd.trees.gateway import Gateway, Place, door_limits, gateway_role, open_entitlements
from tests.gateway.volume import small_volume
from tests.gateway.web.test_server import CERTIFICATES, HANDSHAKE
from tests.integration.rig import environment

NAMES = ("BTC/USD", "ETH/USD")
STREAM = StreamSpec("marketdata", ("md.>",), 1 << 30, 86_400)


def spec_in(folder: Path, names: Sequence[str] = NAMES, **gateway: object) -> RoleSpec:
    settings = Settings(gateway=GatewaySettings(**{"listen": "127.0.0.1:0", **gateway}))
    described = environment(list(names))
    return RoleSpec("gateway", "", described, settings, "nats://127.0.0.1:1", str(folder), "")


def events(count: int, names: Sequence[str] = NAMES) -> list[Event]:
    at_ns = now_ns() - 10 * NS_PER_S
    found: list[Event] = []
    for seq in range(count):
        head = ("kraken", names[seq % len(names)].replace("/", ""), at_ns + seq, "k-0-1", seq, 0, at_ns)
        found += [Trade(*head, "60000.1", "0.01", "buy", str(seq)), Quote(*head[:5], 1, at_ns, "1", "2", "3", "4")]
    return found


def outgoing(event: Event) -> Outgoing:
    subject = f"md.{event.feed}.{type_of(event)}.{event.symbol}"
    return Outgoing(subject, marketdata.encode(event), message_id(event))


def trusting() -> ssl.SSLContext:
    """Return a context that trusts the authority of the certificates that tests have, as a client's own would."""
    return ssl.create_default_context(cafile=CERTIFICATES / "authority.pem")


class Running:
    """A gateway that runs, and clients for it."""

    def __init__(self, folder: Path, urls: dict[str, str], broker: MemoryBroker, store: MemoryStore) -> None:
        self.folder = folder
        self.urls = urls
        self.broker = broker
        self.store = store
        self.http = httpx.AsyncClient(base_url=urls["gateway"], timeout=5, verify=trusting())
        self.admin = {"Authorization": f"Bearer {(folder / 'gateway-admin.key').read_text().strip()}"}

    async def client(self, client_id: str, *symbols: str, requests_per_s: float = 1000) -> dict[str, str]:
        """Add a client that may read these symbols and return its header."""
        path = "/api/v1/admin/clients"
        body = {"client_id": client_id, "type": "display", "limits": {"requests_per_s": requests_per_s}}
        added = await self.http.post(path, json=body, headers=self.admin)
        for symbol in symbols:
            grant = {"feed": "kraken", "symbols": [symbol]}
            await self.http.post(f"{path}/{client_id}/entitlements", json=grant, headers=self.admin)
        return {"Authorization": f"Bearer {added.json()['key']}"}

    async def until_ready(self) -> None:
        with trio.fail_after(5):
            while (await self.http.get("/health/ready")).status_code != 200:  # noqa: ASYNC110  told by HTTP only
                await trio.sleep(0.02)


@asynccontextmanager
async def running(folder: Path, names: Sequence[str] = NAMES, **gateway: object) -> AsyncIterator[Running]:
    broker, store, urls = MemoryBroker(), MemoryStore(), {}
    async with MemoryDialer(broker).connect() as bus:
        await bus.ensure_stream(STREAM)
        await bus.publish([outgoing(event) for event in events(20, names)])
    world = World(MemoryDialer(broker), store)
    async with (
        gateway_role(spec_in(folder, names, **gateway), world, urls.__setitem__) as tree,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(tree.run)
        found = Running(folder, urls, broker, store)
        async with found.http:
            await found.until_ready()
            yield found
        tree.drain()


async def test_a_new_gateway_is_ready_and_lets_in_whom_its_administrator_adds(tmp_path):
    async with running(tmp_path) as found:
        assert found.urls.keys() == {"gateway", "ops"}
        assert (await found.http.get("/health/ready")).json()["checks"] == dict.fromkeys(("store", "db", "nats"), "ok")
        states = {child["state"] for child in (await found.http.get("/health")).json()["children"]}
        assert states == {"running"}
        key = await found.client("bot", "*")
        page = (await found.http.get("/api/v1/trades?symbol=BTCUSD&last=3", headers=key)).json()
        assert [row["trade_id"] for row in page["data"]] == ["14", "16", "18"]
        assert (await found.http.get("/api/v1/admin/clients", headers=key)).status_code == 403
        for name in ("gateway.db", "gateway.db.pepper", "gateway-admin.key"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


async def test_a_websocket_gets_what_comes_and_is_told_when_the_gateway_ends(tmp_path):
    heard = bytearray()
    async with trio.open_nursery() as nursery, running(tmp_path) as found:
        key = await found.client("bot", "BTCUSD")
        stream = await trio.open_tcp_stream("127.0.0.1", int(found.urls["gateway"].rpartition(":")[2]))
        await stream.send_all(HANDSHAKE[:-2] + f"Authorization: {key['Authorization']}\r\n\r\n".encode())
        nursery.start_soon(_listen, stream, heard)
        await _until(lambda: b'"subscribed"' in heard)
        async with MemoryDialer(found.broker).connect() as bus:
            await bus.publish([outgoing(replace(event, conn="k-0-2")) for event in events(2)])
        await _until(lambda: b'"type":"trade"' in heard)
    assert heard.startswith(b"HTTP/1.1 101")
    assert RESTART in heard


RESTART = (1012).to_bytes(2, "big")


async def _listen(stream: trio.SocketStream, heard: bytearray) -> None:
    """Hear until told that the gateway restarts."""
    while RESTART not in heard and (chunk := await stream.receive_some()):
        heard += chunk
    await stream.aclose()


async def _until(is_true: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not is_true():  # noqa: ASYNC110  what is heard comes over a socket
            await trio.sleep(0.01)


async def test_s21_an_unknown_symbol_and_one_of_somebody_elses_get_the_same_answer(tmp_path):
    answers = {}
    for there in (("BTC/USD",), ("BTC/USD", "ETH/USD")):
        async with running(tmp_path / str(len(there)), there) as found:
            key = await found.client("bot", "BTCUSD")
            answers[there] = [await _refused(found, path, key) for path in NOT_THERE]
            known = {row["symbol"] for row in (await found.http.get("/api/v1/symbols", headers=key)).json()["data"]}
            assert known == {"BTCUSD"}
    unknown, not_entitled = answers.values()
    assert unknown == not_entitled
    assert all("ETHUSD" in body for body in unknown)


NOT_THERE = (
    "/api/v1/trades?symbol=ETHUSD&last=1",
    "/api/v1/quotes?symbol=BTCUSD,ETHUSD&start=-1m&format=csv",
    "/api/v1/coverage?symbol=ETHUSD&feed=kraken",
    "/api/v1/gaps?symbol=ETH/USD",
    "/api/v1/estimate?symbol=ETHUSD&type=trade&start=-1h",
)


async def _refused(found: "Running", path: str, key: dict[str, str]) -> str:
    """Return a refusal, but for its request id."""
    answer = await found.http.get(path, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_symbol"), path
    return answer.text.replace(answer.json()["request_id"], "").replace("ETH/USD", "ETHUSD")


async def test_while_nats_and_the_store_are_away_it_says_so_and_serves_what_it_can(tmp_path):
    async with running(tmp_path) as found:
        key = await found.client("bot", "*")
        found.broker.down()
        found.store.faults.down = True
        with trio.fail_after(5):
            while (await found.http.get("/health/ready")).json()["checks"]["nats"] == "ok":  # noqa: ASYNC110
                await trio.sleep(0.02)
        ready = await found.http.get("/health/ready")
        assert (ready.status_code, int(ready.headers["retry-after"]) > 0) == (503, True)
        assert (await found.http.get("/health")).status_code == 200
        answer = await found.http.get("/api/v1/trades?symbol=BTCUSD&start=-1m", headers=key)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.json()["missing"] in {"nats", "store"}
        assert (await found.http.get("/api/v1/admin/clients", headers=found.admin)).status_code == 200


@pytest.mark.slow
async def test_on_a_full_disk_it_is_not_ready_serves_whom_it_knows_and_mends_itself(tmp_path):
    with small_volume(tmp_path / "volume") as volume:
        async with running(volume.folder) as found:
            key = await found.client("bot", "*")
            volume.fill()
            with trio.fail_after(10):
                while (await found.http.get("/health/ready")).status_code != 503:
                    await found.http.get("/api/v1/symbols", headers=key)  # so that there is something to write
            assert (await found.http.get("/health/ready")).json()["checks"]["db"] == "down"
            assert (await found.http.get("/api/v1/trades?symbol=BTCUSD&last=3", headers=key)).status_code == 200
            wrong = {"Authorization": "Bearer ssmd_aaaaaaaa_x"}
            assert (await found.http.get("/api/v1/symbols", headers=wrong)).status_code == 401
            body = {"client_id": "other", "type": "display"}
            refused = await found.http.post("/api/v1/admin/clients", json=body, headers=found.admin)
            assert (refused.status_code, refused.json()["missing"]) == (503, "db")
            assert int(refused.headers["retry-after"]) > 0
            volume.free()
            await found.until_ready()
            assert (await found.http.post("/api/v1/admin/clients", json=body, headers=found.admin)).status_code == 201


async def test_every_status_that_clients_are_told_of_is_provoked_once_and_is_a_problem(tmp_path):
    async with running(tmp_path) as found:
        key, hasty = await found.client("bot", "*"), await found.client("hasty", "*", requests_per_s=0.01)
        await found.http.get("/api/v1/symbols", headers=hasty)
        trades, clients = "/api/v1/trades?symbol=BTCUSD", "/api/v1/admin/clients"
        again = {"client_id": "bot", "type": "display"}
        for status, method, path, words in (
            (400, "GET", f"{trades}&last=0&limit=x&nonsense=1", {"headers": key}),
            (401, "GET", trades, {}),
            (401, "GET", trades, {"headers": {"X-API-Key": "ssmd_aaaaaaaa_b"}}),
            (403, "GET", clients, {"headers": key}),
            (404, "GET", "/api/v1/trades?symbol=NOPE&last=1", {"headers": key}),
            (404, "GET", "/api/v1/nope", {"headers": key}),
            (405, "DELETE", trades, {"headers": key}),
            (406, "GET", f"{trades}&last=1", {"headers": {**key, "Accept": "image/png"}}),
            (409, "POST", clients, {"headers": found.admin, "json": again}),
            (413, "GET", f"{trades}&start=2025-01-01&end=2025-12-31&format=csv", {"headers": key}),
            (422, "GET", f"{trades}&start=now&end=-1m", {"headers": key}),
            (426, "GET", "/subscribe", {}),
            (429, "GET", "/api/v1/symbols", {"headers": hasty}),
        ):
            answer = await found.http.request(method, path, **words)
            assert answer.status_code == status, f"{path}: {answer.text}"
            assert answer.headers["content-type"] == "application/problem+json"
            jsonschema.validate(answer.json(), PROBLEM)


PROBLEM = {
    "$ref": "#/components/schemas/Problem",
    "components": msgspec.json.decode(msgspec.json.encode(openapi()))["components"],
}


def example_of(operation: Operation) -> tuple[str, dict[str, str]]:
    """Return path and query of a request by the examples of an operation."""
    path, query = operation.path, {}
    for parameter in operation.parameters:
        if parameter.place == "path":
            path = path.replace(f"{{{parameter.name}}}", str(parameter.example))
        elif parameter.is_required or parameter.name in {"symbol", "start"}:
            query[parameter.name] = str(parameter.example)
    return path, query


async def test_every_documented_get_answers_by_its_examples_as_it_is_documented(tmp_path):
    document = msgspec.json.decode(msgspec.json.encode(openapi()))
    async with running(tmp_path) as found:
        await found.client("demo", "*")
        for operation in OPERATIONS:
            if operation.method != "get":
                continue
            path, query = example_of(operation)
            for key in (found.admin, await found.client(f"c-{operation.name}", "*")):
                answer = await found.http.get(path, params=query, headers=key)
                described = document["paths"][operation.path]["get"]["responses"][str(answer.status_code)]
                described = (
                    document["components"]["responses"][described["$ref"].rpartition("/")[2]]
                    if "$ref" in described
                    else described
                )
                kind = answer.headers.get("content-type", "").partition(";")[0]
                assert (kind in described.get("content", ())) is (answer.status_code != 302), (
                    f"{path}: {answer.status_code} {kind}"
                )
                if kind.endswith("json"):
                    schema = {**described["content"][kind]["schema"], "components": document["components"]}
                    jsonschema.validate(answer.json(), schema)


@pytest.mark.slow
async def test_a_tool_that_asks_whatever_the_description_allows_gets_no_undocumented_answer(tmp_path):
    """With the administrator's key: nothing is closed to it."""
    async with running(tmp_path) as found:
        words = (
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{found.urls['gateway']}/openapi.json"),
            *("--header", f"Authorization: {found.admin['Authorization']}", "--checks", CHECKS, "--no-color"),
            *("--phases", "examples,fuzzing", "--max-examples", "3", "--seed", "1", "--generation-database", "none"),
        )
        done = await trio.run_process(words, capture_stdout=True, capture_stderr=True, check=False, cwd=tmp_path)
        told = done.stdout.decode()
        assert done.returncode == 0, told
        assert f"Tested: {len(OPERATIONS) - 1}" in told  # the description itself it has read before


CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def test_what_is_documented_and_what_is_served_are_the_same(tmp_path):
    opened = await open_entitlements(Place(tmp_path / "gateway.db", "test"))
    try:
        gateway = Gateway(spec_in(tmp_path), World(MemoryDialer(MemoryBroker()), MemoryStore()), HealthBoard(), opened)
        gateway.listening.close()
        app = gateway.app()
    finally:
        await opened.close()
    served = {
        (method.lower(), rule.rule.replace("<", "{").replace(">", "}").replace("{kind}", "{type}"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert served == {(operation.method, operation.path) for operation in OPERATIONS}


UNKNOWN = re.compile(r"no such parameter|known are")


async def test_every_documented_parameter_is_known_and_no_other_one(tmp_path):
    async with running(tmp_path) as found:
        key = await found.client("bot", "*")
        for operation in OPERATIONS:
            if operation.method != "get" or operation.tag not in {"history", "about", "audit"}:
                continue
            path = example_of(operation)[0]
            admin = found.admin if operation.tag == "audit" else key
            for name in (parameter.name for parameter in operation.parameters if parameter.place == "query"):
                answer = await found.http.get(path, params={name: "!", "nonsense": "!"}, headers=admin)
                details = {error["parameter"]: error["detail"] for error in answer.json()["errors"]}
                unknown = {each for each, detail in details.items() if UNKNOWN.search(detail)}
                assert unknown == {"nonsense"}, f"{operation.name}: {name}"


# opening -----------------------------------------------------------------------------------------------------


async def test_settings_that_cannot_work_are_refused_before_anything_runs(tmp_path):
    world = World(MemoryDialer(MemoryBroker()), MemoryStore())
    for wrong in ({"listen": "nowhere"}, {"tls_key": "x.pem"}, {"tls_certificate": "a", "tls_key": "b"}):
        with pytest.raises(ConfigError, match="gateway"):
            async with gateway_role(spec_in(tmp_path, **wrong), world, lambda _what, _url: None):
                pass


async def test_a_damaged_database_opens_no_gateway(tmp_path):
    world = World(MemoryDialer(MemoryBroker()), MemoryStore())
    async with gateway_role(spec_in(tmp_path), world, lambda _what, _url: None):
        pass
    for path in tmp_path.glob("gateway.db-*"):
        path.unlink()
    (tmp_path / "gateway.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseDown):
        async with gateway_role(spec_in(tmp_path), world, lambda _what, _url: None):
            pass


def test_there_are_never_more_connections_than_files_may_be_open():
    limits = door_limits(GatewaySettings(max_connections=10**9, max_connections_per_address=10**9))
    assert limits.per_address == limits.in_all < 10**9
    assert door_limits(GatewaySettings(max_connections=7)).per_address == 7


async def test_kubernetes_waits_longer_than_its_drain_may_take(tmp_path):
    opened = await open_entitlements(Place(tmp_path / "gateway.db", "test"))
    gateway = Gateway(spec_in(tmp_path), World(MemoryDialer(MemoryBroker()), MemoryStore()), HealthBoard(), opened)
    gateway.listening.close()
    await opened.close()
    assert longest_drain_s(gateway.children()) + 5 + 5 <= sizes.GATEWAY_GRACE_S
