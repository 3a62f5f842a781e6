"""A whole simulated exchange: what the command line, the demo and tests start."""

from functools import partial

import trio

from ssmd.clock import NowNs, now_ns
from ssmd.simulator.config import Endpoints, SimulatorConfig, check_config
from ssmd.simulator.kraken.venue import KrakenVenue, kraken_dialect
from ssmd.simulator.ledger import Ledger
from ssmd.simulator.replay import Replay
from ssmd.simulator.server import Server
from ssmd.simulator.venue import Venue


async def serve(
    config: SimulatorConfig,
    *,
    wall_ns: NowNs = now_ns,
    task_status: trio.TaskStatus[Endpoints] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Simulate Kraken on one port, WebSocket and REST, until cancelled; report the endpoints when it listens.

    Cancelled, it closes every connection and the port, and the ledger is complete. Raises ConfigError for what
    cannot work and OSError if the port is taken.
    """
    check_config(config)
    venue = _venue(config, wall_ns)
    ledger = Ledger(config.ledger)
    try:
        listeners = await trio.open_tcp_listeners(config.port, host=config.host)
        server = Server(config, venue, ledger, wall_ns)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            nursery.start_soon(partial(trio.serve_listeners, server.converse, listeners))
            port = listeners[0].socket.getsockname()[1]
            address = f"{config.host}:{port}"
            task_status.started(Endpoints(f"ws://{address}{venue.path}", f"http://{address}"))
    finally:
        ledger.close()


def _venue(config: SimulatorConfig, wall_ns: NowNs) -> Venue:
    kraken = KrakenVenue(config, wall_ns)
    return Replay(kraken, kraken_dialect(kraken), config.replay, config.speed) if config.replay else kraken


class SimulatorActor:
    """`serve` as an actor: runs until drained or cancelled."""

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self._scope = trio.CancelScope()
        self.endpoints: Endpoints | None = None
        """Set once it listens."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                self.endpoints = await nursery.start(partial(serve, self._config))
                task_status.started()

    def drain(self) -> None:
        """End at once: a simulator has nothing to finish."""
        self._scope.cancel()
