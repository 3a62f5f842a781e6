"""The gateway of a running system, as its administrator and the one who starts its clients see it."""

import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from chaos.processes import nats_server, spawn, until, until_ended
from chaos.rig import Rig
from chaos.subscribers import Entry, Plan, Plans, entries_of
from ssmd.bus.base import Start
from ssmd.bus.nats import NatsDialer
from ssmd.gateway.access import ClientType
from ssmd.run_files import Endpoints
from ssmd.settings import ADMIN_KEY_FILE

GATEWAY = "gateway"
LEAVE_WITHIN_S = 60.0
READY_WITHIN_S = 30.0


class Office:
    def __init__(self, rig: Rig, http: httpx.AsyncClient) -> None:
        self._rig = rig
        self.http = http
        self.url = rig.endpoints().gateway
        self.header = {"Authorization": f"Bearer {(rig.data_dir / ADMIN_KEY_FILE).read_text().strip()}"}

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer to a request by the administrator. Raises AssertionError when it is refused."""
        answer = await self.http.request(method, f"{self.url}/api/v1{path}", json=body, headers=self.header)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer.json()

    async def add(self, client_id: str, client_type: ClientType = "display", **limits: float) -> str:
        """Add a client and return its key."""
        body = {"client_id": client_id, "type": client_type, "limits": limits}
        key: str = (await self.ask("POST", "/admin/clients", body))["key"]
        return key

    async def entitle(self, client_id: str, *symbols: str, **more: object) -> None:
        grant = {"feed": "kraken", "symbols": symbols or ("*",), **more}
        await self.ask("POST", f"/admin/clients/{client_id}/entitlements", grant)

    async def is_ready(self) -> bool:
        try:
            return (await self.http.get(f"{self.url}/health/ready")).status_code == 200
        except httpx.HTTPError:
            return False

    async def until_ready(self) -> float:
        return await until(self.is_ready, READY_WITHIN_S, "the gateway is ready")

    async def until_other_process(self, pid: int) -> None:
        """Wait until another process than this one serves, and says so."""

        async def is_other() -> bool:
            path = self._rig.data_dir / "run" / f"{GATEWAY}.json"
            return path.exists() and msgspec.json.decode(path.read_bytes(), type=Endpoints).pid != pid

        await until(is_other, READY_WITHIN_S, "another gateway process serves")
        await self.until_ready()

    def subscribers(self, name: str, plans: Sequence[Plan]) -> "Subscribers":
        return Subscribers(self._rig.folder / name, self.url.replace("http://", "ws://"), plans)


@asynccontextmanager
async def office(rig: Rig) -> AsyncIterator[Office]:
    async with httpx.AsyncClient(timeout=10) as http:
        found = Office(rig, http)
        await found.until_ready()
        yield found


class Subscribers:
    """A process of clients, and their diaries."""

    def __init__(self, folder: Path, url: str, plans: Sequence[Plan]) -> None:
        folder.mkdir()
        self.plans = plans
        self._folder = folder
        self._plan_file = folder / "plan.json"
        self._plan_file.write_bytes(msgspec.json.encode(Plans(url, str(folder), tuple(plans))))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, nice: int = 0) -> None:
        argv = ["nice", "-n", str(nice), sys.executable, "-m", "chaos.subscribers", str(self._plan_file)]
        self._process = spawn(argv, self._folder / "output.log")

    async def leave(self) -> None:
        """Have each client unsubscribe and go; nothing is under way to it then."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = await until_ended(self._process, LEAVE_WITHIN_S)
        assert code == 0, (code, (self._folder / "output.log").read_text()[-2000:])

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def diary(self, plan: Plan) -> list[Entry]:
        return list(entries_of(self._folder / f"{plan.name}.jsonl"))

    async def until_each(self, holds: Callable[[list[Entry]], bool], within_s: float, what: str) -> float:
        """Wait until something holds of every diary."""
        left = set(self.plans)

        async def all_hold() -> bool:
            left.difference_update([plan for plan in left if holds(self.diary(plan))])
            return not left

        return await until(all_hold, within_s, what)

    async def until_subscribed(self, within_s: float = 60.0) -> float:
        return await self.until_each(
            lambda diary: any(entry.kind == "subscribed" for entry in diary), within_s, "every client is subscribed"
        )


@asynccontextmanager
async def subscribed(office: Office, name: str, plans: Sequence[Plan], nice: int = 0) -> AsyncIterator[Subscribers]:
    """Give clients that are connected and subscribed; none is left afterwards."""
    clients = office.subscribers(name, plans)
    clients.start(nice)
    try:
        await clients.until_subscribed()
        yield clients
    finally:
        clients.kill()


async def stream_of(rig: Rig) -> dict[str, list[tuple[int, str]]]:
    """Return what the stream holds: of each series the number and identity of each message, in order.

    The system must have ended; a server of our own serves what it has left.
    """
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    async with (
        nats_server(rig.data_dir / "nats") as server,
        NatsDialer(server.url).connect() as bus,
        bus.listen("marketdata", "md.>", Start(after_seq=0)) as listener,
    ):
        while messages := await listener.fetch(1_000, 5.0):
            for message in messages:
                _, feed, kind, symbol = message.subject.split(".")
                found[f"{feed}/{kind}/{symbol}"].append((message.stream_seq, message.message_id))
    return found
