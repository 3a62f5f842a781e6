"""Where things are: endpoints, credentials, limits. What is captured stands in the environment file instead.

Precedence: flags over `SSMD_<SECTION>_<KEY>` over `--config FILE` or ./ssmd.toml over the defaults here.
A key with `_file` appended is read from that file (secrets).
"""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from ssmd.errors import ConfigError

DEFAULT_FILE: Final = Path("ssmd.toml")
_PREFIX: Final = "SSMD_"
_UNITS: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_CREDENTIALS: Final = re.compile(r"(\w://)[^\s/@,]+(?::[^\s@,]*)?@")
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")

SECRETS: Final = frozenset({"secret_access_key", "access_key_id"})
"""Never shown."""

Port = Annotated[int, Meta(ge=0, le=65535)]


class ExchangeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """One section per exchange. An empty URL means the exchange's public one.

    allowed_hosts: hosts beside the exchange's own that a URL may name, with commas: a proxy, a new endpoint, a simulator
    elsewhere. They may have a private address; one of the exchange's own may only when it is named here too.
    """

    ws_url: str = ""
    rest_url: str = ""
    allowed_hosts: str = ""


class NatsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """url: empty makes `ssmd up` run its own server. credentials_file: a NATS creds file, if the server wants one."""

    url: str = ""
    stream: str = "marketdata"


class StorageSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """endpoint: empty means the local directory under --data-dir, else http(s)://host:port of any S3 server.

    The buckets stand in the environment. secret_access_key: give it as secret_access_key_file.
    """

    endpoint: str = ""
    region: str = "garage"
    access_key_id: str = ""
    secret_access_key: str = ""

    def __repr__(self) -> str:
        return f"StorageSettings(endpoint={without_passwords(self.endpoint)!r}, region={self.region!r}, …)"


class BackupSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The S3 server that `s3://` addresses of backups mean; what is empty is taken from [storage]."""

    endpoint: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""

    def __repr__(self) -> str:
        return f"BackupSettings(endpoint={without_passwords(self.endpoint)!r}, region={self.region!r}, …)"


ADMIN_KEY_FILE: Final = "gateway-admin.key"
"""Beside the gateway's database: who runs the gateway may administrate it."""


class GatewaySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where clients connect. database: empty means <data-dir>/gateway.db; its keys lie beside it.

    tls_certificate, tls_key: PEM files; both empty serve without TLS. They may be replaced at any time.
    origins: web pages of other hosts that may open a WebSocket, as https://host, with commas; programs always may.
    """

    listen: str = "127.0.0.1:8080"
    database: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    origins: str = ""
    max_connections: Annotated[int, Meta(ge=1)] = 4096
    max_connections_per_address: Annotated[int, Meta(ge=1)] = 1024


class JournalSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """flush_ms: the most that a SIGKILL loses; the writer usually needs a twentieth of it.

    fsync_ms: the most that a power cut loses. max_bytes: what segments may take on disk before capture stalls.
    """

    flush_ms: Annotated[int, Meta(ge=1, le=1000)] = 50
    fsync_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1000
    max_bytes: str = "10GB"


class OpsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """host and port of /health, /health/ready and /metrics of a role; port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: Port = 0


class DeploySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a Kubernetes overlay needs to know beside its environment.

    image, tag: what runs; an empty tag is this version. base: where the hand-written base is, seen from the overlay.
    raw_per_day: raw data of one feed, compressed; 1 GB is about ten symbols with books, and volumes are sized by it.
    s3_endpoint, s3_region: an S3 server for the cluster's data; empty runs the base's Garage. Its key is in a Secret.
    """

    image: str = "ssmd"
    tag: str = ""
    base: str = "../../base"
    raw_per_day: str = "1GB"
    s3_endpoint: str = ""
    s3_region: str = ""


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    level: str = "info"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    kraken: ExchangeSettings = ExchangeSettings()
    coinbase: ExchangeSettings = ExchangeSettings()
    nats: NatsSettings = NatsSettings()
    storage: StorageSettings = StorageSettings()
    backup: BackupSettings = BackupSettings()
    gateway: GatewaySettings = GatewaySettings()
    journal: JournalSettings = JournalSettings()
    ops: OpsSettings = OpsSettings()
    deploy: DeploySettings = DeploySettings()
    log: LogSettings = LogSettings()

    def exchange(self, name: str) -> ExchangeSettings:
        """Return the section of an exchange; one without a section has only defaults."""
        section = getattr(self, name, None)
        return section if isinstance(section, ExchangeSettings) else ExchangeSettings()


def backup_server(settings: Settings) -> StorageSettings:
    """Return the S3 server of backups: [backup], and [storage] for what that leaves out."""
    own, other = settings.backup, settings.storage
    return StorageSettings(
        own.endpoint or other.endpoint,
        own.region or other.region,
        own.access_key_id or other.access_key_id,
        own.secret_access_key or other.secret_access_key,
    )


def gateway_database(settings: Settings, data_dir: Path) -> Path:
    """Return where the gateway keeps its clients; its administrator's key lies beside it, as ADMIN_KEY_FILE."""
    return Path(settings.gateway.database) if settings.gateway.database else data_dir / "gateway.db"


def parse_size(text: str, key: str) -> int:
    """Return the bytes of a size such as `10GB` or `500 MB` (powers of ten)."""
    match = _SIZE.fullmatch(text)
    if match is None or match[2].upper() not in _UNITS:
        raise ConfigError(f"{key} is {text!r}; write a number with B, KB, MB, GB or TB, for example 10GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def without_passwords(text: str) -> str:
    """Return a text for people without the user and password that a URL in it may carry."""
    return _CREDENTIALS.sub(r"\1***@", text)


def environment_variables() -> Mapping[str, str]:
    return os.environ  # noqa: TID251  # the one place that reads it


def cache_dir(variables: Mapping[str, str] | None = None) -> Path:
    """Return the folder for what can be fetched again; it may not exist. A relative XDG_CACHE_HOME does not count."""
    found = environment_variables() if variables is None else variables
    named = Path(found.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path(found.get("HOME") or "/") / ".cache") / "ssmd"


class Setting(Struct, frozen=True):
    """One value in force. origin: the file, the variable, or `default`. A secret that is set shows as ***."""

    key: str
    value: str
    origin: str


def load(config: Path | None = None, variables: Mapping[str, str] | None = None) -> Settings:
    """Read the settings file and the variables. Raises ConfigError with the key, the value and what is allowed."""
    return _sources(config, variables)[0]


def explain(config: Path | None = None, variables: Mapping[str, str] | None = None) -> list[Setting]:
    """Return every setting with its origin. Raises ConfigError as `load` does."""
    values, origins = _sources(config, variables)
    found = []
    for section in Settings.__struct_fields__:
        part = getattr(values, section)
        for name in part.__struct_fields__:
            value = str(getattr(part, name))
            shown = "***" if value and name in SECRETS else without_passwords(value)
            found.append(Setting(f"{section}.{name}", shown, origins.get((section, name), "default")))
    return found


def settings_file(config: Path | None = None) -> Path | None:
    """Return the settings file that is read, None when there is none."""
    return config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def _sources(
    config: Path | None, variables: Mapping[str, str] | None
) -> tuple[Settings, Mapping[tuple[str, str], str]]:
    """Return the settings, and for every key that was given where it was given."""
    sections = _read_toml(config)
    origins = {
        (section, key.removesuffix("_file")): str(settings_file(config))
        for section, values in sections.items()
        for key in values
    }
    for section, key, value in _from_variables(environment_variables() if variables is None else variables):
        sections.setdefault(section, {})[key] = value
        origins[section, key.removesuffix("_file")] = f"{_PREFIX}{section}_{key}".upper()
    for section, values in sections.items():
        _check_keys(section, values)
        _read_secret_files(section, values)
    try:
        return msgspec.convert(sections, Settings, strict=False), origins
    except msgspec.ValidationError as error:
        raise ConfigError(f"settings: {error}") from error


def _read_toml(config: Path | None) -> dict[str, dict[str, object]]:
    path = settings_file(config)
    if path is None:
        return {}
    try:
        tables = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {path} is not TOML: {error}") from error
    for section, values in tables.items():
        if not isinstance(values, dict):
            raise ConfigError(f"settings file {path}: {section!r} stands outside of a [section]")
    return tables


def _from_variables(variables: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """Give the variables that name a section of ours; others such as SSMD_ENV belong to the CLI."""
    sections = set(Settings.__struct_fields__)
    for name, value in variables.items():
        section, _, key = name.removeprefix(_PREFIX).lower().partition("_")
        if name.startswith(_PREFIX) and section in sections and key:
            yield section, key, value


def _check_keys(section: str, values: Mapping[str, object]) -> None:
    known = Settings.__struct_fields__
    if section not in known:
        raise ConfigError(f"settings: unknown section [{section}]{_suggest(section, known)}")
    keys = type(getattr(Settings(), section)).__struct_fields__
    for key in values:
        if key.removesuffix("_file") not in keys and key not in keys:
            raise ConfigError(f"settings: unknown key {section}.{key}{_suggest(key, keys)}")


def _suggest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"


def _read_secret_files(section: str, values: dict[str, object]) -> None:
    for key in [key for key in values if key.endswith("_file")]:
        path = Path(str(values.pop(key)))
        try:
            values[key.removesuffix("_file")] = path.read_text().strip()
        except OSError as error:
            raise ConfigError(f"settings: {section}.{key} names {path}, which cannot be read") from error
