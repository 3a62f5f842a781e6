"""Run one role in this process: `python -m ssmd.cli.role SPEC.json`. Imports nothing that only the CLI needs.

`ssmd run` and `ssmd up` write the specification and start this; a role's memory is its own.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import trio

from ssmd import log, metrics, trees
from ssmd.bus.nats import NatsDialer
from ssmd.errors import ConfigError, RestartIntensityExceeded
from ssmd.role import RoleSpec
from ssmd.run_files import Endpoints, write_run_file
from ssmd.store.objects import local_store
from ssmd.supervisor import Supervisor

EXIT_USAGE: Final = 2
EXIT_BUG: Final = 70


def main() -> int:
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=RoleSpec)
    log.configure(spec.settings.log.level, role=spec.title)
    try:
        return trio.run(run_role, spec)  # noqa: TID251  # the entry of a role process
    except ConfigError as error:
        log.get_logger().error("config_error", error=str(error))
        return EXIT_USAGE


async def run_role(spec: RoleSpec) -> int:
    """Run until a signal; the first drains, the second ends at once. Return the exit code."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        world = trees.World(NatsDialer(spec.nats_url), local_store(spec.data_path))
        addresses: list[str] = []
        code = 0
        tree = trees.role(spec, world, addresses.append)
        try:
            async with trio.open_nursery() as beside:
                beside.start_soon(obey_signals, tree, signals)
                async with trio.open_nursery() as nursery:
                    await nursery.start(tree.run)
                    ops = {spec.title: addresses[0]}
                    write_run_file(Path(spec.run_file), Endpoints(os.getpid(), spec.nats_url, ops=ops))
                beside.cancel_scope.cancel()
        except* RestartIntensityExceeded as group:
            log.get_logger().error("role_gave_up", error=str(group.exceptions[0]))
            code = EXIT_BUG
        finally:
            _leave_last_words(Path(spec.run_file))
    return code


def _leave_last_words(run_file: Path) -> None:
    """Replace the run file by the final metrics: nobody listens here any more, but the totals are of interest."""
    run_file.unlink(missing_ok=True)
    run_file.with_suffix(".metrics").write_bytes(metrics.render())


async def obey_signals(tree: Supervisor, signals: AsyncIterator[int]) -> None:
    """Drain at the first signal, end at once at the second."""
    number = await anext(signals)
    log.get_logger().info("draining", signal=signal.Signals(number).name)
    tree.drain()
    number = await anext(signals)
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
