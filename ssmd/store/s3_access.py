"""Where an S3 server is and by which key it is used; checked before anything is asked of it."""

import re
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from ssmd.errors import ConfigError
from ssmd.settings import StorageSettings

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class S3Access(Struct, frozen=True):
    """Never shows its key."""

    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str
    section: str = "storage"
    """Of the settings, for messages."""

    def __repr__(self) -> str:
        return f"S3Access({self.endpoint!r}, {self.region!r})"

    @property
    def is_encrypted(self) -> bool:
        return self.endpoint.startswith("https://")


def s3_access(storage: StorageSettings, section: str = "storage") -> S3Access:
    """Return how to reach the server of the settings. Raises ConfigError for what cannot work."""
    endpoint = _endpoint(storage.endpoint, section)
    for key, value in (("region", storage.region), ("access_key_id", storage.access_key_id)):
        if not value.strip():
            raise ConfigError(f"{section}.{key} is empty; {endpoint} needs one")
    if not storage.secret_access_key:
        raise ConfigError(f"{section}.secret_access_key_file is not set, or its file is empty; it holds the secret key")
    return S3Access(endpoint, storage.region, storage.access_key_id, storage.secret_access_key, section)


def check_bucket(name: str) -> str:
    """Return the name if it can be a bucket's, else raise ConfigError."""
    if not _BUCKET.fullmatch(name):
        raise ConfigError(f"bucket is {name[:80]!r}; allowed are 3 to 63 of a-z, 0-9, - and .")
    return name


def _endpoint(text: str, section: str) -> str:
    """Return scheme, host and port. What the text holds besides is not shown: it may be a password."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{section}.endpoint is no URL; write http://host:port or https://host") from error
    if parts.scheme not in {"http", "https"} or not host:
        shown = "without a scheme" if "://" not in text else f"with the scheme {parts.scheme!r}"
        raise ConfigError(f"{section}.endpoint is {shown}; write http://host:port or https://host")
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"{section}.endpoint has more than scheme, host and port; buckets and keys are set elsewhere")
    shown_host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown_host}" + (f":{port}" if port is not None else "")
