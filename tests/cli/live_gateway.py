"""A gateway that commands find: the real admin API over a real database, without a socket in between."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import trio

from ssmd.cli.gateway import GatewayLink, gateway_link
from ssmd.cli.running import Gateway
from ssmd.gateway.access import Principal, Series
from ssmd.gateway.clients import Policy
from ssmd.gateway.entitlements import Entitlements
from ssmd.gateway.problems import Problem
from ssmd.trees import Endpoints
from tests.gateway.opened import Clock, Ear, Visitor, opened
from tests.gateway.routes.app import app_of


class LiveGateway:
    """Opened anew for each command; the database stays. connected: keys of clients that hold a session meanwhile."""

    def __init__(self, data_dir: Path, environment: str) -> None:
        self.data_dir, self.clock, self.is_away = data_dir, Clock(), False
        self.connected: list[str] = []
        self.ears: list[Ear] = []
        endpoints = Endpoints(os.getpid(), gateway="http://gateway.test", environment=environment)
        (data_dir / "run").mkdir(parents=True)
        (data_dir / "run/endpoints.json").write_bytes(msgspec.json.encode(endpoints))
        trio.run(self._begin)

    async def _begin(self) -> None:
        async with opened(self.data_dir, self.clock):
            pass

    @asynccontextmanager
    async def link(self, gateway: Gateway) -> AsyncIterator[GatewayLink]:
        async with opened(self.data_dir, self.clock) as service, AsyncExitStack() as stack:
            for key in self.connected:
                self.ears.append(await Visitor(service, "", key).connect(stack))
            transport = _Away() if self.is_away else httpx.ASGITransport(app_of(service))
            yield await stack.enter_async_context(gateway_link(gateway, transport))

    def policy(self) -> Policy:
        return self._run(lambda service: service.administration.policy())

    def who(self, key: str) -> Principal | str:
        """Return whose key this is, or the code of the refusal."""

        async def ask(service: Entitlements) -> Principal | str:
            try:
                return await service.doorkeeper.authenticate(key, "192.0.2.1")
            except Problem as problem:
                return problem.code

        return self._run(ask)

    def deliver(self, key: str, series: Series, messages: int) -> None:
        async def count(service: Entitlements) -> None:
            service.audit.count(await service.doorkeeper.authenticate(key, "192.0.2.1"), series, messages)
            await service.audit.flush()

        self._run(count)

    def _run(self, ask):
        async def work():
            async with opened(self.data_dir, self.clock) as service:
                return await ask(service)

        return trio.run(work)


class _Away(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002  # as it is called
        raise httpx.ConnectError("connection refused")
