"""Talk to a gateway's admin API: HTTP and nothing else. What it refuses becomes an error with a fix and an exit code."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import httpx
import msgspec
from msgspec import Struct

from ssmd.cli.running import Gateway
from ssmd.client.broken import advice, why
from ssmd.errors import ConfigError, Conflict, GatewayDown, NotAllowed, SsmdError

T = TypeVar("T")

WITHIN_S: Final = 10.0
ADMIN: Final = "/api/v1/admin"
_REACTIONS: Final[Mapping[int, type[SsmdError]]] = {
    400: ConfigError,
    401: NotAllowed,
    403: NotAllowed,
    404: ConfigError,
    409: Conflict,
    429: GatewayDown,
    503: GatewayDown,
}


class Refused(Struct, frozen=True):
    """What a gateway says when it does not do what it was asked for."""

    code: str = ""
    detail: str = ""
    hint: str = ""


class NotThere(ConfigError):
    """The gateway does not know what was named."""


class GatewayLink:
    """An open way to one gateway."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self.url = url

    async def ask(self, method: str, path: str, answer: type[T], body: object = None) -> T:
        """Return the decoded answer. Raises GatewayDown, NotAllowed, NotThere, Conflict, ConfigError."""
        content = None if body is None else msgspec.json.encode(body)
        try:
            response = await self._client.request(method, path, content=content)
            return _decoded(response, answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise GatewayDown(f"the gateway at {self.url} cannot be reached: {why(error)}; {advice(error)}") from error
        except msgspec.MsgspecError as error:
            raise GatewayDown(f"what answers at {self.url} is no gateway of this version: {error}") from error


def _decoded(response: httpx.Response, answer: type[T]) -> T:
    if response.is_success:
        return msgspec.json.decode(response.content, type=answer)
    problem = msgspec.json.decode(response.content, type=Refused)
    said = f"the gateway says: {problem.detail}" + (f"; {problem.hint}" if problem.hint else "")
    if problem.code == "not_found":
        raise NotThere(said)
    raise _REACTIONS.get(response.status_code, SsmdError)(said)


@asynccontextmanager
async def gateway_link(
    gateway: Gateway, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[GatewayLink]:
    """Open a way to a gateway with the key in its file. Raises NotAllowed without one."""
    headers = {"Authorization": f"Bearer {_key(gateway.key_file)}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(
        base_url=gateway.url, headers=headers, timeout=WITHIN_S, transport=transport
    ) as client:
        yield GatewayLink(client, gateway.url)


def _key(path: Path) -> str:
    try:
        key = path.read_text().strip()
    except OSError as error:
        raise NotAllowed(
            f"the administrator's key cannot be read: {path}: {error.strerror}; name its file: --api-key-file FILE"
        ) from error
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        raise NotAllowed(f"{path} holds no key; name another file: --api-key-file FILE")
    return key


# answers -----------------------------------------------------------------------------------------------------


class GrantView(Struct, frozen=True):
    feed: str
    symbols: tuple[str, ...]
    data_types: tuple[str, ...] = ()
    expires_at: str | None = None


class ClientView(Struct, frozen=True):
    client_id: str
    type: str
    name: str
    origin: str
    created_at: str
    limits: dict[str, float | None]
    grants: tuple[GrantView, ...]


class KeyView(Struct, frozen=True):
    key_id: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    is_live: bool


class ClientAnswer(Struct, frozen=True):
    client: ClientView


class KnownClient(Struct, frozen=True):
    """A client with its keys, and the feeds of which only a person can grant it anything again."""

    client: ClientView
    keys: tuple[KeyView, ...]
    revoked: dict[str, str]


class Clients(Struct, frozen=True):
    clients: tuple[ClientView, ...]


class NewKey(Struct, frozen=True):
    """A key that was just made; it is shown this one time."""

    client_id: str
    key_id: str
    key: str

    def __repr__(self) -> str:
        return f"NewKey({self.client_id!r}, {self.key_id!r}, …)"


class SessionView(Struct, frozen=True):
    session_id: str
    client_id: str
    type: str
    connected_at: str
    device_id: str
    ip_address: str


class Sessions(Struct, frozen=True):
    sessions: tuple[SessionView, ...]


class Nothing(Struct, frozen=True):
    """An answer that says only that it is done."""


class UsageRow(Struct, frozen=True):
    client_id: str
    feed: str
    symbol: str
    data_type: str
    display_type: str
    message_count: int


class Usage(Struct, frozen=True):
    month: str
    rows: tuple[UsageRow, ...]


class ClientChange(Struct, frozen=True):
    action: str
    client_id: str
    detail: str


class RefusedGrant(Struct, frozen=True):
    client_id: str
    feed: str
    symbols: tuple[str, ...]
    detail: str


class Reconciled(Struct, frozen=True):
    """What was brought to a file, or would be; refused: what the file grants and a revoke forbids."""

    dry_run: bool
    changes: tuple[ClientChange, ...]
    refused: tuple[RefusedGrant, ...]
