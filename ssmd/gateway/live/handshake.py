"""From an HTTP request to a WebSocket: what the URL asks for, who asks, from where, and the answer 101."""

from hashlib import blake2b
from typing import Final
from urllib.parse import parse_qsl

from msgspec import Struct
from wsproto import ConnectionType
from wsproto.events import AcceptConnection
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from ssmd.gateway.access import Device
from ssmd.gateway.live.commands import MAX_SYMBOLS, Subscribe
from ssmd.gateway.live.outbox import Slow
from ssmd.gateway.problems import ParameterError, Problem, invalid
from ssmd.model import EVENT_TYPES, EventType

PARAMETERS: Final = ("symbols", "types", "feed", "from", "slow", "snapshot", "ticket")
KEY_NAMES: Final = ("key", "api_key", "apikey", "api-key", "token", "access_token", "authorization", "auth")
KEY_HINT: Final = (
    'URLs end in logs: send "Authorization: Bearer …" or X-API-Key, or {"op":"auth","key":"…"} as the first message'
)
_UPGRADE: Final = (b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version")
_MAX_DEVICE_CHARS: Final = 64


class RequestHead(Struct, frozen=True):
    """A request as the server has read it: header names in lower case. received: what came behind the head."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    received: bytes = b""

    def header(self, name: bytes) -> str:
        """Return the first value of that name, or nothing."""
        return next((value.decode("latin-1").strip() for found, value in self.headers if found == name), "")


class Asked(Struct, frozen=True):
    """What the URL says. subscribe: None without symbols; the client sends messages then."""

    subscribe: Subscribe | None
    slow: Slow
    ticket: str


def accept(head: RequestHead) -> bytes:
    """Return the answer that opens the WebSocket, without any extension: nothing is compressed. Raises Problem."""
    handshake = H11Handshake(ConnectionType.SERVER)
    headers = [(b"host", b"gateway"), *((name, value) for name, value in head.headers if name in _UPGRADE)]
    try:
        handshake.initiate_upgrade_connection(headers, b"/subscribe")
    except RemoteProtocolError as error:
        raise invalid(ParameterError("headers", "", str(error)), hint="open this address as a WebSocket") from None
    return handshake.send(AcceptConnection())


def check_origin(head: RequestHead, allowed: frozenset[str]) -> None:
    """Refuse a page of somebody else's. Raises Problem. Programs send no Origin."""
    origin = head.header(b"origin")
    if origin and origin not in allowed:
        raise Problem("origin_refused", "this origin may not open a WebSocket here", "gateway.origins lists who may")


def key_of(head: RequestHead) -> str:
    """Return the key in the headers, or nothing."""
    scheme, _, key = head.header(b"authorization").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else head.header(b"x-api-key")


def device_of(head: RequestHead, ip_address: str) -> Device:
    """Return where this comes from: as X-Device-Id says, or told by address and user agent."""
    named = head.header(b"x-device-id")[:_MAX_DEVICE_CHARS]
    made = blake2b(f"{ip_address} {head.header(b'user-agent')}".encode(), digest_size=8).hexdigest()
    return Device(ip_address, named or made)


def parse_target(target: bytes) -> Asked:
    """Return what the URL asks for. Raises Problem with all errors at once; none repeats what may be a key."""
    query = target.decode("latin-1").partition("?")[2]
    try:
        given = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=2 * len(PARAMETERS)))
    except ValueError:
        raise invalid(ParameterError("query", "", f"at most {2 * len(PARAMETERS)} parameters")) from None
    if any(name.lower() in KEY_NAMES or "ssmd_" in f"{name}{value}" for name, value in given.items()):
        raise invalid(ParameterError("query", "", "a key never stands in a URL"), hint=KEY_HINT)
    errors = [*_unknown(given), *_errors(given)]
    if errors:
        raise invalid(*errors)
    return Asked(_subscribe(given), "close" if given.get("slow") == "close" else "skip", given.get("ticket", ""))


def _unknown(given: dict[str, str]) -> list[ParameterError]:
    return [
        ParameterError(name[:40], "", f"unknown; there are {', '.join(PARAMETERS)}")
        for name in given
        if name not in PARAMETERS
    ]


def _errors(given: dict[str, str]) -> list[ParameterError]:
    found = []
    kinds = [kind for kind in _list(given.get("types", "")) if kind not in EVENT_TYPES]
    if kinds:
        found.append(ParameterError("types", kinds[0][:40], f"allowed are {', '.join(EVENT_TYPES)}"))
    if given.get("slow", "skip") not in {"skip", "close"}:
        found.append(ParameterError("slow", given["slow"][:40], "allowed are skip, close"))
    if given.get("snapshot", "false") not in {"true", "false", "1", "0"}:
        found.append(ParameterError("snapshot", given["snapshot"][:40], "allowed are true, false"))
    if "symbols" in given and not 0 < len(_list(given["symbols"])) <= MAX_SYMBOLS:
        found.append(ParameterError("symbols", "", f"1 to {MAX_SYMBOLS} symbols, separated by commas"))
    return found


def _subscribe(given: dict[str, str]) -> Subscribe | None:
    if "symbols" not in given:
        return None
    types: tuple[EventType, ...] = tuple(kind for kind in EVENT_TYPES if kind in _list(given.get("types", "")))
    return Subscribe(
        symbols=tuple(_list(given["symbols"])),
        types=types,
        feed=given.get("feed", ""),
        start=given.get("from", "now"),
        snapshot=given.get("snapshot", "false") in {"true", "1"},
    )


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
