"""Listen to a running system's stream."""

from collections.abc import AsyncGenerator, Callable

from ssmd.bus.base import Incoming
from ssmd.bus.nats import NatsDialer

FETCH = 500
WITHIN_S = 1.0


async def listen(
    nats_url: str, stream: str, subject: str, when_ready: Callable[[], None]
) -> AsyncGenerator[Incoming, None]:
    """Give every message of the subject from now on. Raises BusDown when the bus is away or goes away."""
    async with NatsDialer(nats_url).connect() as bus, bus.listen(stream, subject) as consumer:
        when_ready()
        while True:
            for message in await consumer.fetch(FETCH, WITHIN_S):
                yield message
