"""A process like the gateway: hands out messages, counts them, writes the counts. What it hands out goes to stdout.

python -m tests.gateway.delivering FOLDER SEED      until SIGTERM
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import msgspec
import trio

from ssmd.blocking import in_thread
from ssmd.gateway.access import CLIENT_TYPES, Principal, Series
from ssmd.gateway.audit import AuditWriter
from ssmd.model import EVENT_TYPES
from tests.gateway.opened import opened

SERIES = [Series(f, t, s) for f in ("kraken", "other") for t in EVENT_TYPES for s in ("BTCUSD", "ETHUSD", "SOLUSD")]
CLIENTS = [Principal(f"client-{n}", CLIENT_TYPES[n % 3]) for n in range(20)]


async def main(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with opened(folder, time.time_ns, in_thread) as service, trio.open_nursery() as nursery:
            writer = AuditWriter(service.audit)
            await nursery.start(lambda task_status: writer.run(task_status=task_status))
            with trio.CancelScope() as delivering:
                nursery.start_soon(_at_signal, signals, delivering)
                while True:
                    client, series, messages = chance.randrange(20), chance.randrange(18), chance.randrange(1, 9)
                    os.write(1, msgspec.json.encode((time.time_ns(), client, series, messages)) + b"\n")
                    service.audit.count(CLIENTS[client], SERIES[series], messages)
                    await trio.lowlevel.checkpoint()
            writer.drain()


async def _at_signal(signals, delivering: trio.CancelScope) -> None:
    async for _ in signals:
        delivering.cancel()
        return


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
