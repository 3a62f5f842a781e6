"""Run one role in this process: `python -m ssmd.cli.role SPEC.json`. Imports nothing that only the CLI needs.

`ssmd run` and `ssmd up` write the specification and start this; a role's memory is its own.
"""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

if __name__ == "__main__":
    # Logs are JSON here. Else structlog loads rich, for tracebacks that nobody prints: 3.5 MB of a role's 64.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # None makes an import fail, by definition

import msgspec
import trio

from ssmd import log, metrics, trees
from ssmd.errors import ConfigError, DatabaseDown, RestartIntensityExceeded
from ssmd.trees.candidate import be_modest
from ssmd.trees.roles import bootstrap
from ssmd.trees.storage import store_name

EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 5
EXIT_GAVE_UP: Final = 70
CANDIDATE_MEMORY_BYTES: Final = 160 << 20
"""A connector's container may have 256 MB; what is above this ends the candidate and not the container."""

GARBAGE_AFTER: Final = 50_000
"""So many new objects until the gateway searches for garbage, and everybody waits. A session has some hundred: with the
default of 700, two thousand sessions that end at once stop the others for 0.6 s, with this for 0.2 s."""


def main() -> int:
    spec = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=trees.RoleSpec)
    log.configure(spec.settings.log.level, role=spec.title)
    try:
        if spec.role == "candidate":
            be_modest(CANDIDATE_MEMORY_BYTES)
        trees.claim(spec.data_path, spec.title)
        return trio.run(run_role, spec)  # noqa: TID251  # the entry of a role process
    except ConfigError as error:
        log.get_logger().error("config_error", error=str(error))
        return EXIT_USAGE


async def run_role(spec: trees.RoleSpec) -> int:
    """Run until a signal or too many bugs, bootstrap until it is done. Return the exit code."""
    run_file = Path(spec.run_file)
    store = store_name(spec.environment, spec.settings, spec.data_path)
    log.get_logger().info(
        "role_starting", nats=spec.nats_url, environment=spec.environment.name, data_dir=spec.data_dir, store=store
    )
    code = 0
    try:
        code = await (_run_bootstrap(spec) if spec.role == "bootstrap" else _run_actors(spec))
    except* RestartIntensityExceeded as group:
        log.get_logger().error("role_gave_up", error=str(group.exceptions[0]))
        code = EXIT_GAVE_UP
    finally:
        _leave_last_words(run_file, spec.title)
    return code


async def _run_actors(spec: trees.RoleSpec) -> int:
    addresses: dict[str, str] = {}

    def say_ready(_beside: trio.Nursery) -> None:
        gateway, ops = addresses.get("gateway", ""), {spec.title: addresses["ops"]}
        trees.add_role(Path(spec.run_file), trees.Endpoints(os.getpid(), spec.nats_url, gateway, ops))

    world = trees.local_world(spec)
    if spec.role == "gateway":
        return await _run_gateway(spec, world, addresses, say_ready)
    await trees.run_tree(trees.role(spec, world, addresses.__setitem__), say_ready)
    return 0


async def _run_gateway(
    spec: trees.RoleSpec, world: trees.World, addresses: dict[str, str], when_ready: Callable[[trio.Nursery], None]
) -> int:
    from ssmd.trees.gateway import gateway_role  # noqa: PLC0415  # a web framework: 20 MB that no other role needs

    try:
        async with gateway_role(spec, world, addresses.__setitem__) as tree:
            gc.collect()
            gc.freeze()  # what is there for good need not be searched
            gc.set_threshold(GARBAGE_AFTER)
            await trees.run_tree(tree, when_ready)
    except DatabaseDown as error:
        hint = "free the lock or the disk, or copy your last backup over it; nobody is let in until then"
        log.get_logger().error("gateway_not_started", error=str(error), hint=hint)
        return EXIT_UNREACHABLE
    return 0


async def _run_bootstrap(spec: trees.RoleSpec) -> int:
    if await bootstrap(spec, trees.local_world(spec)):
        log.get_logger().info("bootstrap_done", environment=spec.environment.name)
        return 0
    log.get_logger().error(
        "bootstrap_not_done", nats=spec.nats_url, hint="bootstrap_missing says what; trying again is harmless"
    )
    return EXIT_UNREACHABLE


def _leave_last_words(run_file: Path, title: str) -> None:
    """Leave the final metrics where nobody listens any more: the totals are of interest."""
    trees.remove_role(run_file, title)
    run_file.with_name(f"{title.replace(':', '-')}.metrics").write_bytes(metrics.render())


if __name__ == "__main__":
    sys.exit(main())
