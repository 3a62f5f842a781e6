"""What `ssmd doctor` finds out about the gateway: does it answer, is it ready, how long does its certificate count, and the key."""

import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import httpx
import msgspec
from msgspec import Struct

from ssmd.cli.finding import Finding
from ssmd.cli.gateway import ADMIN, WITHIN_S, Clients, GatewayLink, Nothing, gateway_link
from ssmd.cli.options import Reach
from ssmd.cli.running import Gateway, find_gateway, is_running
from ssmd.client.broken import advice, why
from ssmd.errors import NotAllowed, SsmdError
from ssmd.settings import Settings

NAME: Final = "gateway"
RENEW_BEFORE_DAYS: Final = 14
"""An alert has the same number."""
DAY_S: Final = 86_400
_FIXES: Final = {
    "db": "its log names the volume or the damage; docs/access.md has the rest",
    "nats": "ssmd doctor --only nats",
    "store": "ssmd doctor --only store",
}


class _Ready(Struct):
    checks: dict[str, str]


async def look_at_gateway(values: Settings, data_dir: Path, reach: Reach) -> list[Finding]:
    """Return what is found, a few lines. Raises ConfigError for a gateway that is named without a key."""
    found = find_gateway(values, data_dir, reach)
    if isinstance(found, str):
        return [_absent(found, data_dir)]
    try:
        async with httpx.AsyncClient(base_url=found.url, timeout=WITHIN_S) as client:
            answer = await client.get("/health/ready")
            certificate = list(_certificate(answer))
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return [_unreachable(found, error)]
    try:
        checks = msgspec.json.decode(answer.content, type=_Ready).checks
    except msgspec.MsgspecError:
        fact = f"what answers at {found.url} ({found.origin}) is no gateway of this version: {answer.status_code}"
        return [Finding("fail", NAME, fact, "is the address right?")]
    return [_readiness(found, checks), *certificate, await _key(found, is_own=reach.api_key_file is None)]


def _absent(reason: str, data_dir: Path) -> Finding:
    if is_running(data_dir):
        fact = f"`ssmd up` runs in {data_dir}, but its gateway is not up; it is tried again and again"
        return Finding("fail", NAME, fact, "its log says why: a taken port, its database, its certificate")
    return Finding("ok", NAME, f"{reason}: `ssmd up` starts one")


def _unreachable(found: Gateway, error: Exception) -> Finding:
    fact = f"{found.url} ({found.origin}) cannot be reached: {why(error)}"
    return Finding("fail", NAME, fact, advice(error))


def _readiness(found: Gateway, checks: Mapping[str, str]) -> Finding:
    down = [name for name, state in checks.items() if state != "ok"]
    if not down:
        return Finding("ok", NAME, f"{found.url} ({found.origin}) is ready: {', '.join(checks)}")
    fixes = "; ".join(_FIXES.get(name, "its log says why") for name in down)
    return Finding("fail", NAME, f"{found.url} ({found.origin}) is not ready: {', '.join(down)} down", fixes)


def _certificate(answer: httpx.Response) -> Iterator[Finding]:
    """Tell how long the certificate counts that this connection was shown."""
    tls = answer.extensions["network_stream"].get_extra_info("ssl_object")
    if tls is None:
        return
    until = str(tls.getpeercert()["notAfter"])
    days = (ssl.cert_time_to_seconds(until) - time.time()) / DAY_S
    fact = f"its certificate counts until {until}, {days:.0f} days"
    if days < RENEW_BEFORE_DAYS:
        yield Finding(
            "warn", NAME, fact, "replace the files of [gateway] tls_certificate and tls_key; no restart is needed"
        )
    else:
        yield Finding("ok", NAME, fact)


async def _key(found: Gateway, *, is_own: bool) -> Finding:
    """Try out the key. is_own: its file is the one that the gateway has made."""
    try:
        async with gateway_link(found) as link:
            return await _standing(link, found)
    except NotAllowed as error:
        fix = f"delete {found.key_file} and start the gateway again: it makes a new one"
        return Finding("fail", NAME, str(error), fix if is_own else "name the right file: --api-key-file FILE")
    except SsmdError as error:
        return Finding("fail", NAME, str(error), "its log says why")


async def _standing(link: GatewayLink, found: Gateway) -> Finding:
    """Raises NotAllowed for a key that is nobody's."""
    try:
        known = await link.ask("GET", f"{ADMIN}/clients", Clients)
    except NotAllowed:
        return await _standing_of_client(link, found)
    return Finding("ok", NAME, f"the administrator's key counts; clients: {len(known.clients)}")


async def _standing_of_client(link: GatewayLink, found: Gateway) -> Finding:
    try:
        await link.ask("GET", "/api/v1/symbols", Nothing)
    except NotAllowed as error:
        raise NotAllowed(f"the key in {found.key_file} is nobody's here") from error
    fact = f"the key in {found.key_file} counts, but it is not the administrator's"
    return Finding("warn", NAME, fact, "`ssmd client` and `ssmd env apply` need the one in gateway-admin.key")
