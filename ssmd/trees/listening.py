"""Listen to a running system's stream."""

from collections.abc import AsyncGenerator, Callable

from ssmd.bus.base import Incoming
from ssmd.bus.names import check_filter
from ssmd.bus.nats import NatsDialer
from ssmd.errors import ConfigError

FETCH = 500
WITHIN_S = 1.0


async def listen(
    nats_url: str, stream: str, subject: str, when_ready: Callable[[], None]
) -> AsyncGenerator[Incoming, None]:
    """Give every message of the subject from now on. Raises BusDown when the bus is away or goes away.

    Raises ConfigError for a subject that is none.
    """
    try:
        check_filter(subject)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    async with NatsDialer(nats_url).connect() as bus, bus.listen(stream, subject) as consumer:
        when_ready()
        while True:
            for message in await consumer.fetch(FETCH, WITHIN_S):
                yield message
