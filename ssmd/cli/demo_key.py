"""A key for whoever tries the demo, in a file that curl takes as it is: `curl -H @<data-dir>/demo.header …`."""

import os
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx

from ssmd.cli.gateway import ADMIN, ClientAnswer, GatewayLink, NewKey, gateway_link
from ssmd.cli.running import Gateway
from ssmd.errors import Conflict, SsmdError
from ssmd.settings import ADMIN_KEY_FILE, Settings, gateway_database

CLIENT: Final = "demo"
FILE: Final = "demo.header"
WITHIN_S: Final = 5.0


async def demo_header(data_dir: Path, gateway_url: str, settings: Settings, feeds: Iterable[str]) -> Path | None:
    """Return the file with a key that counts; made when there is none yet. None when the gateway gives none."""
    path = data_dir / FILE
    key_file = gateway_database(settings, data_dir).with_name(ADMIN_KEY_FILE)
    try:
        if not await _counts(gateway_url, _read(path)):
            async with gateway_link(Gateway(gateway_url, "ssmd up", key_file)) as link:
                _write(path, await _new_key(link, feeds))
    except (httpx.HTTPError, SsmdError, OSError):
        return None
    return path


def _read(path: Path) -> dict[str, str]:
    """Return the header in the file, nothing without one."""
    try:
        name, _, value = path.read_text().strip().partition(": ")
    except FileNotFoundError:
        return {}
    return {name: value}


async def _counts(gateway_url: str, header: dict[str, str]) -> bool:
    """Tell whether a key is one of this gateway's."""
    if not header:
        return False
    async with httpx.AsyncClient(base_url=gateway_url, headers=header, timeout=WITHIN_S) as client:
        return (await client.get("/api/v1/symbols")).status_code == HTTPStatus.OK


async def _new_key(link: GatewayLink, feeds: Iterable[str]) -> str:
    about = {"client_id": CLIENT, "type": "display", "name": "Whoever tries the demo"}
    try:
        new = await link.ask("POST", f"{ADMIN}/clients", NewKey, about)
    except Conflict:
        new = await link.ask("POST", f"{ADMIN}/clients/{CLIENT}/keys", NewKey, {"grace_s": 0})
    for feed in feeds:
        grant = {"feed": feed, "symbols": ["*"]}
        await link.ask("POST", f"{ADMIN}/clients/{CLIENT}/entitlements", ClientAnswer, grant)
    return new.key


def _write(path: Path, key: str) -> None:
    """Make a file that only its owner may read, not for a moment anybody else."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"Authorization: Bearer {key}\n")
