"""`ssmd sub 'md.kraken.trade.>'`: the stream of a running system as JSON lines."""

import contextlib
import math
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import msgspec
import trio
from cyclopts import Parameter

from ssmd.cli.options import DEFAULT_DATA_DIR, DataDir
from ssmd.errors import ConfigError
from ssmd.reprocess.show import message_line
from ssmd.trees import Endpoints, listen


async def sub(
    subject: str = "md.>",
    *,
    count: Annotated[int | None, Parameter(help="Stop after so many events.")] = None,
    server: Annotated[str, Parameter(help="NATS URL; else that of the system running in --data-dir.")] = "",
    stream: Annotated[str, Parameter(help="JetStream stream.")] = "marketdata",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> int:
    """Print events as they are published, one JSON object per line, until Ctrl-C.

    Example: ssmd sub 'md.kraken.trade.>' --count 3
    """
    url = server or _running(data_dir)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_at_signal, signals, nursery.cancel_scope)
            await _print(url, stream, subject, math.inf if count is None else count)
            nursery.cancel_scope.cancel()
    return 0


async def _stop_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


async def _print(url: str, stream: str, subject: str, left: float) -> None:
    def say_ready() -> None:
        sys.stderr.write(f"listening to {subject} on {url}\n")

    async with contextlib.aclosing(listen(url, stream, subject, say_ready)) as messages:
        async for message in messages:
            sys.stdout.buffer.write(message_line(message.subject, message.payload))
            sys.stdout.flush()
            left -= 1
            if left <= 0:
                return


def _running(data_dir: Path) -> str:
    path = data_dir / "run" / "endpoints.json"  # not run_dir: looking must not make the folder
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoints).nats
    except FileNotFoundError:
        raise ConfigError(f"no system runs in {data_dir}; start one with `ssmd up`, or give --server URL") from None
