"""What `ssmd up` says of its gateway: lines to be copied. The key itself is in its file alone."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ssmd.cli.options import DEFAULT_DATA_DIR
from ssmd.trees import System

_LISTEN: Final = (
    "from websockets.sync.client import connect; "
    "key = open('{header}').read().strip().split(': '); "
    "[print(message) for message in connect('{url}', additional_headers=[key])]"
)


def gateway_lines(system: System, header: Path | None) -> Iterable[str]:
    """Give where the gateway is and, with a key, how to ask it with curl and how to listen to it."""
    if not system.gateway_url:
        yield "gateway    not up yet; its log says why, and it is tried again and again"
        return
    yield f"gateway    {system.gateway_url}   docs: {system.gateway_url}/docs"
    if header is None:
        place = f"--env {system.spec.environment.name} --data-dir {system.spec.data_dir}"
        yield f"key        `ssmd client add ID --type display {place}` makes one,"
        yield f"           `ssmd client entitle ID --feed FEED --symbols '*' {place}` lets it read"
        return
    feeds = system.spec.environment.spec.feeds.values()
    symbol = next((entry.internal for feed in feeds for entry in feed.symbols), "BTCUSD")
    yield f"key        {header} (for you alone)"
    place = "" if header.parent == DEFAULT_DATA_DIR else f" --data-dir {header.parent}"
    yield f"read       .venv/bin/ssmd tail {symbol}{place}      .venv/bin/ssmd get trades {symbol} --last 100{place}"
    yield f"ask        curl -s -H @{header} '{system.gateway_url}/api/v1/trades?symbol={symbol}&last=5'"
    url = f"{system.gateway_url.replace('http', 'ws', 1)}/subscribe?symbols={symbol}"
    yield f'subscribe  {_python()} -c "{_LISTEN.format(header=header, url=url)}"'


def _python() -> str:
    """Return this Python as it can be typed here."""
    program, here = Path(sys.executable), Path.cwd()
    return str(program.relative_to(here) if program.is_relative_to(here) else program)
