"""An entitlements service of a test's own, with a clock that the test moves."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ssmd.blocking import Blocking, inline
from ssmd.clock import NS_PER_S
from ssmd.gateway.access import CloseReason, Device, Grant, Principal
from ssmd.gateway.clients import Client
from ssmd.gateway.doorkeeper import AddressLimits
from ssmd.gateway.entitlements import Entitlements, Place, open_entitlements
from ssmd.gateway.limits import Rate

START_NS = 1_765_029_600 * NS_PER_S
"""2025-12-06T14:00:00Z."""
ME = "test"
AMPLE = AddressLimits(sessions=Rate(1e6, 1_000_000))


class Clock:
    """Wall-clock time as the test sets it."""

    def __init__(self) -> None:
        self.ns = START_NS

    def __call__(self) -> int:
        return self.ns

    def forward(self, seconds: float) -> None:
        self.ns += round(seconds * NS_PER_S)

    def after(self, seconds: float) -> int:
        return self.ns + round(seconds * NS_PER_S)


@asynccontextmanager
async def opened(
    folder: Path,
    now: Callable[[], int],
    blocking: Blocking = inline,
    limits: AddressLimits = AMPLE,
) -> AsyncIterator[Entitlements]:
    service = await open_entitlements(Place(folder / "gateway.db", "lab"), now, blocking, limits)
    try:
        yield service
    finally:
        await service.close()


class Ear:
    """What a session is told."""

    def __init__(self) -> None:
        self.changes: list[Principal] = []
        self.closed: list[CloseReason] = []

    def change(self, principal: Principal) -> None:
        self.changes.append(principal)

    def close(self, reason: CloseReason) -> None:
        self.closed.append(reason)


class Visitor:
    """A client with a key and, if wanted, live sessions."""

    def __init__(self, service: Entitlements, client_id: str, key: str) -> None:
        self.service, self.client_id, self.key = service, client_id, key

    async def principal(self) -> Principal:
        return await self.service.doorkeeper.authenticate(self.key, "192.0.2.1")

    async def connect(self, stack: AsyncExitStack, device: str = "laptop", ear: Ear | None = None) -> Ear:
        ear = ear or Ear()
        session = self.service.doorkeeper.session(
            await self.principal(), Device("192.0.2.1", device), ear.change, ear.close
        )
        await stack.enter_async_context(session)
        return ear


async def visitor(service: Entitlements, client_id: str, *grants: Grant, **more: object) -> Visitor:
    """Add a client and return it with its key."""
    client = Client(client_id, **({"type": "display"} | more))
    key = await service.administration.add(ME, client)
    for grant in grants:
        await service.administration.entitle(ME, client_id, grant)
    return Visitor(service, client_id, key.text)
