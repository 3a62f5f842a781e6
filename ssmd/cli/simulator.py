"""Run a simulated exchange in this process: `python -m ssmd.cli.simulator kraken …`; `ssmd simulate` is the same.

Plain argparse and few imports: the exchange of a benchmark must not cost more memory and time than it needs.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

from ssmd.errors import ConfigError
from ssmd.run_files import Endpoints as RunFile
from ssmd.run_files import write_run_file
from ssmd.simulator import Endpoints, SimulatorConfig, check_config, describe_faults, parse_fault, parse_speed, serve


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ssmd simulate",
        description="A simulated exchange on a real port: synthetic markets from a seed, or recorded frames.",
        epilog="faults, NAME@SECONDS[:ARGUMENT]:\n" + describe_faults() + "\n\n"
        "example: ssmd simulate kraken --port 9443 --symbols BTC/USD,ETH/USD --rate 200 --fault drop@10",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = SimulatorConfig()
    add = parser.add_argument
    add("exchange", choices=["kraken"], help="whose protocol to speak")
    add("--port", type=int, default=0, help="0 takes any free one (default)")
    add("--symbols", default=",".join(defaults.symbols), help="comma-separated names (default %(default)s)")
    add("--rate", type=float, default=defaults.rate_per_s, help="data frames per second (default %(default)g)")
    add("--seed", type=int, default=defaults.seed, help="the same seed gives the same market (default %(default)s)")
    add("--replay", type=Path, nargs="+", default=[], metavar="FILE", help="send recorded frames, .jsonl or .jsonl.gz")
    add("--speed", default="1x", help="of a replay: 1x, 10x, 0.5x or max (default %(default)s)")
    add("--fault", action="append", default=[], metavar="FAULT", help="repeatable; see below")
    add("--ledger", type=Path, default=None, help="write every frame sent or withheld to this file, as JSON lines")
    add("--run-file", type=Path, default=None, help="write pid and address to this file when ready")
    return parser


def config_of(arguments: argparse.Namespace) -> SimulatorConfig:
    """Return what was asked for. Raises ConfigError."""
    return SimulatorConfig(
        port=arguments.port,
        symbols=tuple(name.strip() for name in arguments.symbols.split(",") if name.strip()),
        rate_per_s=arguments.rate,
        seed=arguments.seed,
        replay=tuple(arguments.replay),
        speed=parse_speed(arguments.speed),
        faults=tuple(parse_fault(fault) for fault in arguments.fault),
        ledger=arguments.ledger,
    )


def check(words: Sequence[str]) -> None:
    """Raise ConfigError for words that the simulator would not start with."""
    wanted = parser()
    wanted.exit_on_error = False
    try:
        check_config(config_of(wanted.parse_args(list(words))))
    except argparse.ArgumentError as error:
        raise ConfigError(f"--simulate: {error}; `ssmd simulate --help` lists every option and fault") from error
    except SystemExit as error:  # argparse has said why
        raise ConfigError("--simulate: not the simulator's words; `ssmd simulate --help` lists them") from error


async def run(config: SimulatorConfig, run_file: Path | None) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            endpoints: Endpoints = await nursery.start(serve, config)
            if run_file is None:
                sys.stdout.write(f"ws    {endpoints.ws_url}\nrest  {endpoints.rest_url}\n")
                sys.stdout.flush()
            else:
                write_run_file(run_file, RunFile(os.getpid(), exchange=endpoints.ws_url))
            await anext(signals)
            nursery.cancel_scope.cancel()


def main(tokens: list[str] | None = None) -> int:
    arguments = parser().parse_args(tokens)
    try:
        trio.run(run, config_of(arguments), arguments.run_file)  # noqa: TID251  # the entry of a simulator process
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
