"""What `ssmd up` does: the whole system on one machine."""

import socket
import sys
from errno import EADDRINUSE
from pathlib import Path

import trio
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console

from ssmd import log, settings, trees
from ssmd.cli import live_view, simulator
from ssmd.cli.demo_key import demo_header
from ssmd.cli.gateway_lines import gateway_lines
from ssmd.cli.options import DEFAULT_DATA_DIR, DEFAULT_ENV, parse_duration_s
from ssmd.cli.summary import last_words, next_commands, summary
from ssmd.environment import load as environment
from ssmd.environment.spec import Environment
from ssmd.errors import ConfigError
from ssmd.trees.storage import store_name

DEMO_RATE = 200


class UpRequest(Struct, frozen=True):
    """What `ssmd up` was asked for, as the options say it."""

    env: str
    demo: bool
    data_dir: Path
    duration: str | None
    nats_port: int
    simulate: str
    config: Path | None
    gateway_port: int | None = None


async def run_up(asked: UpRequest) -> int:
    duration_s = parse_duration_s(asked.duration)
    loaded = environment.load("demo" if asked.demo and asked.env == DEFAULT_ENV else asked.env)
    values = with_gateway_port(settings.load(asked.config), asked.gateway_port)
    words = _simulator_words(loaded, asked.simulate) if asked.demo else None
    trees.claim(asked.data_dir, "up")  # before the ports: who runs here already has those, too
    _need_free_port("127.0.0.1", asked.nats_port, "--nats-port")
    gateway_host, _, gateway_port = values.gateway.listen.rpartition(":")
    if gateway_port.isdecimal():  # what is no address is told by the gateway itself
        _need_free_port(gateway_host.strip("[]"), int(gateway_port), "--gateway-port")
    data_dir = asked.data_dir
    is_terminal = sys.stdout.isatty()
    spec = trees.UpSpec(
        environment=loaded,
        settings=values,
        data_dir=data_dir,
        nats_port=asked.nats_port,
        simulator=words,
        log_dir=_log_dir(data_dir) if is_terminal else None,
    )
    log.configure(spec.settings.log.level if not is_terminal else "error", role="up")
    for path in trees.run_dir(data_dir).glob("*.metrics"):
        path.unlink()
    trees.keep_apart(data_dir, "simulator" if asked.demo else "exchange")
    started_s = trio.current_time()
    code = await _run(spec, duration_s, Console() if is_terminal else None)
    _report(spec, trio.current_time() - started_s)
    return code


def with_gateway_port(values: settings.Settings, port: int | None) -> settings.Settings:
    """Return the settings with another port for the gateway, if one is given."""
    if port is None:
        return values
    host = values.gateway.listen.rpartition(":")[0] or "127.0.0.1"
    return replace(values, gateway=replace(values.gateway, listen=f"{host}:{port}"))


def _need_free_port(host: str, port: int, flag: str) -> None:
    """Say now what the server would say only in its log, again and again."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError as error:
            raise ConfigError(f"{flag} is {port}; allowed are 0 to 65535, 0 takes any free one") from error
        except OSError as error:
            taken = f"port {port} is taken; choose another with {flag}, 0 takes any free one"
            raise ConfigError(taken if error.errno == EADDRINUSE else f"{host}:{port}: {error.strerror}") from error


def _simulator_words(loaded: Environment, more: str) -> tuple[str, ...]:
    names = [entry.name for feed in loaded.spec.feeds.values() for entry in feed.symbols]
    words = ("kraken", "--symbols", ",".join(names), "--rate", str(DEMO_RATE), *more.split())
    simulator.check(words)
    return words


def _log_dir(data_dir: Path) -> Path:
    path = data_dir / "logs"
    path.mkdir(parents=True, exist_ok=True)
    return path


async def _run(spec: trees.UpSpec, duration_s: float, console: Console | None) -> int:
    system = trees.System(spec)
    tree = system.tree()

    async def announce() -> None:
        header = await _demo_header(system)
        system.publish_endpoints()
        _say_ready(system, header)

    async def drain_in_time() -> None:
        await trio.sleep(duration_s)
        tree.drain()

    def go_on(beside: trio.Nursery) -> None:
        beside.start_soon(announce)
        beside.start_soon(drain_in_time)
        if console is not None:
            beside.start_soon(live_view.show, system, console)

    _say(f"starting   {spec.environment.name}, {_destination(spec)}")
    try:
        await trees.run_tree(tree, go_on)
    finally:
        system.withdraw()
    return 0


def _destination(spec: trees.UpSpec) -> str:
    if not spec.settings.storage.endpoint:
        return f"everything goes below {spec.data_dir}"
    store = store_name(spec.environment, spec.settings, spec.data_dir)
    return f"data goes to {store}, journal and stream are below {spec.data_dir}"


async def _demo_header(system: trees.System) -> Path | None:
    spec = system.spec
    if spec.simulator is None or not system.gateway_url:
        return None
    return await demo_header(spec.data_dir, system.gateway_url, spec.settings, spec.environment.spec.feeds)


def _say_ready(system: trees.System, header: Path | None) -> None:
    spec = system.spec
    source = f"simulator {system.exchange_url}" if spec.simulator is not None else "the exchange"
    _say(f"bus        {system.nats_url}")
    _say(f"store      {store_name(spec.environment, spec.settings, spec.data_dir)}")
    for feed, entry in spec.environment.spec.feeds.items():
        _say(f"{feed:<10} {' '.join(s.internal for s in entry.symbols)}   source: {source}")
    for line in gateway_lines(system, header):
        _say(line)
    for role, url in sorted(system.ops.items()):
        _say(f"health     {url}/health   {role}")
    place = "" if spec.data_dir == DEFAULT_DATA_DIR else f" --data-dir {spec.data_dir}"
    _say(f"listen     .venv/bin/ssmd sub 'md.*.trade.>'{place}")
    _say("Ctrl-C stops everything")


def _report(spec: trees.UpSpec, took_s: float) -> None:
    """Tell on stdout what was captured and where it is, and what to try next."""
    for line in summary(spec, last_words(spec.data_dir), took_s):
        sys.stdout.write(line + "\n")
    for line in () if spec.settings.storage.endpoint else next_commands(spec.data_dir):
        sys.stdout.write(f"next       {line}\n")
    sys.stdout.flush()


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
