"""Where the gateway is and which key opens it. The key is never in a repr, a log or a URL."""

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.client.errors import AuthError, InvalidParameter, Unavailable

GATEWAY: Final = "SSMD_GATEWAY"
KEY_FILE: Final = "SSMD_API_KEY_FILE"
DATA_DIR: Final = "ssmd-data"
DEMO_KEY: Final = "demo.header"


class Place(Struct, frozen=True):
    """url: without a slash at its end."""

    url: str
    key: str

    def __repr__(self) -> str:
        return f"Place({self.url!r})"


class _Endpoints(Struct, frozen=True):
    gateway: str = ""


def find(gateway: str = "", api_key_file: str | Path = "", data_dir: str | Path = DATA_DIR) -> Place:
    """Return the gateway that is named here or by SSMD_GATEWAY, else the one that runs in the data directory.

    That one's demo key is used when no file is named; it is never sent to another gateway. Raises Unavailable, AuthError.
    """
    url = gateway or os.environ.get(GATEWAY, "")  # noqa: TID251  # it stands alone: no settings of ours
    file = api_key_file or os.environ.get(KEY_FILE, "")  # noqa: TID251
    if not url:
        url, file = _running(Path(data_dir)), file or Path(data_dir) / DEMO_KEY
    if not file:
        raise AuthError(f"no key for {url}", f"name its file: api_key_file=…, or {KEY_FILE}")
    return Place(_checked(url), read_key(Path(file)))


def _running(data_dir: Path) -> str:
    try:
        endpoints = msgspec.json.decode((data_dir / "run" / "endpoints.json").read_bytes(), type=_Endpoints)
    except (OSError, msgspec.MsgspecError):
        endpoints = _Endpoints()
    if not endpoints.gateway:
        raise Unavailable(f"no gateway runs in {data_dir}", f"name one: gateway=…, or {GATEWAY}; or start `ssmd up`")
    return endpoints.gateway


def _checked(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme not in {"http", "https"} or not rest or "@" in rest or "?" in rest:
        raise InvalidParameter(f"{scheme}://… is no address of a gateway", "write https://gateway.example.org:8080")
    return url.rstrip("/")


def read_key(path: Path) -> str:
    """Return the key in a file: alone, or as a header such as curl takes with -H @FILE."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise AuthError(
            f"the key file {path} cannot be read: {why}", "`ssmd client add ID --type display` makes a key"
        ) from None
    words = text.rpartition(":")[2].split()
    words = words[1:] if words[:1] == ["Bearer"] else words
    if len(words) != 1 or not words[0].isascii() or not words[0].isprintable():
        raise AuthError(f"the key file {path} holds no key", "one line: the key, or Authorization: Bearer KEY")
    return words[0]
