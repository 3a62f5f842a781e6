"""Where the running system is: by the settings, else by what `ssmd up` wrote into its data directory."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from ssmd.cli.options import Reach
from ssmd.errors import ConfigError
from ssmd.settings import ADMIN_KEY_FILE, Settings, gateway_database
from ssmd.trees import Endpoints


class Bus(Struct, frozen=True):
    """A NATS server and why it is taken for the one that is meant."""

    url: str
    origin: str


class NoBus(Struct, frozen=True):
    """There is none to talk to; the reason is for people."""

    reason: str


def find_bus(settings: Settings, data_dir: Path, environment: str = "") -> Bus | NoBus:
    """Return the NATS server of the settings, else that of an `ssmd up` that runs the environment (or any)."""
    if settings.nats.url:
        return Bus(settings.nats.url, "[nats] url")
    endpoints = _endpoints(data_dir)
    if endpoints is None or not endpoints.nats or not _is_alive(endpoints.pid):
        return NoBus(f"nothing runs in {data_dir} and no [nats] url is set")
    if environment and endpoints.environment not in {"", environment}:
        return NoBus(f"what runs in {data_dir} is {endpoints.environment}, not {environment}")
    return Bus(endpoints.nats, f"ssmd up in {data_dir}")


def running_nats(data_dir: Path) -> str:
    """Return the NATS URL of the system that runs in a data directory. Raises ConfigError when none does."""
    endpoints = _endpoints(data_dir)
    if endpoints is None:
        raise ConfigError(f"no system runs in {data_dir}; start one with `ssmd up`, or give --server URL")
    return endpoints.nats


def is_running(data_dir: Path) -> bool:
    """Tell whether an `ssmd up` runs in a data directory."""
    endpoints = _endpoints(data_dir)
    return endpoints is not None and _is_alive(endpoints.pid)


def _endpoints(data_dir: Path) -> Endpoints | None:
    path = data_dir / "run" / "endpoints.json"  # not run_dir: looking must not make the folder
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoints)
    except (OSError, msgspec.DecodeError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Gateway(Struct, frozen=True):
    """A gateway and why it is taken for the one that is meant. key_file: where its administrator's key should be."""

    url: str
    origin: str
    key_file: Path


def find_gateway(settings: Settings, data_dir: Path, reach: Reach, environment: str = "") -> Gateway | str:
    """Return the gateway that is named, else that of an `ssmd up` that runs the environment (or any), else why there is none.

    Raises ConfigError for a named one without a key file: the key of this machine's gateway is never sent to another.
    """
    if reach.gateway:
        if not reach.gateway.startswith(("http://", "https://")):
            raise ConfigError(f"--gateway is {reach.gateway!r}; write a URL such as https://gateway.example.org:8080")
        if reach.api_key_file is None:
            raise ConfigError(f"--gateway {reach.gateway} needs its key: --api-key-file FILE, or SSMD_API_KEY_FILE")
        return Gateway(reach.gateway.rstrip("/"), "--gateway", reach.api_key_file)
    endpoints = _endpoints(data_dir)
    if endpoints is None or not endpoints.gateway or not _is_alive(endpoints.pid):
        return f"no gateway runs in {data_dir}"
    if environment and endpoints.environment not in {"", environment}:
        return f"what runs in {data_dir} is {endpoints.environment}, not {environment}"
    key_file = reach.api_key_file or gateway_database(settings, data_dir).with_name(ADMIN_KEY_FILE)
    return Gateway(endpoints.gateway.rstrip("/"), f"ssmd up in {data_dir}", key_file)
