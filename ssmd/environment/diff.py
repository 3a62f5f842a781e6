"""How two environments differ in meaning: order, comments and spelling do not count."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.environment.rules import BUCKETS, bucket_name
from ssmd.environment.spec import Environment, Spec
from ssmd.records import FeedConfig

BY_CONVENTION: Final = "by convention"
_SECTIONS: Final = Spec.__struct_fields__
_KEYED: Final = {"symbols": "name", "entitlements": "client_id"}


class Difference(Struct, frozen=True):
    """One field. left and right: the values as text, None where the side lacks it."""

    path: str
    left: str | None
    right: str | None


def differences(left: Environment, right: Environment) -> list[Difference]:
    """Return every field that differs, except for the names: of the environment, and of buckets named after it."""
    a, b = dict(_fields(left)), dict(_fields(right))
    paths = sorted({**a, **b}, key=lambda path: _SECTIONS.index(path.partition(".")[0].partition("[")[0]))
    return [Difference(path, a.get(path), b.get(path)) for path in paths if a.get(path) != b.get(path)]


def _fields(environment: Environment) -> Iterator[tuple[str, str]]:
    spec = msgspec.to_builtins(environment.spec)
    for kind in BUCKETS:
        if spec["storage"][kind]["bucket"] == bucket_name(environment.name, kind):
            spec["storage"][kind]["bucket"] = BY_CONVENTION
    yield from flatten("", spec)


def flatten(path: str, value: object) -> Iterator[tuple[str, str]]:
    """Give the leaves of a structure by path; elements of lists are named by what identifies them."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flatten(f"{path}.{key}".lstrip("."), item)
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
        identity = _KEYED[path.rpartition(".")[2]]
        seen: dict[str, int] = {}
        for item in sorted(value, key=_entry_order) if identity == "client_id" else value:
            name = item[identity]
            seen[name] = seen.get(name, 0) + 1
            again = f"#{seen[name]}" if seen[name] > 1 else ""
            yield from flatten(f"{path}[{name}{again}]", {k: v for k, v in item.items() if k != identity} or "there")
    elif isinstance(value, (list, tuple)):
        yield path, ", ".join(sorted(map(str, value))) or "none"
    elif value is not None:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)


def _entry_order(entry: Mapping[str, object]) -> tuple[bool, bytes]:
    """Order the entries of a client: its definition first, the grants by what they say."""
    return entry.get("type") is None, msgspec.json.encode(entry)


SHOWN: Final = 5


def some(lines: Sequence[str]) -> str:
    """Return the first few of them as one text, and how many more there are."""
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more


def undone(before: FeedConfig | None, after: FeedConfig | None, live: FeedConfig) -> list[str]:
    """Return what somebody else changed live that putting `after` in its place would undo.

    before: what our change began with. A field of `live` that is neither as before nor as we want it is theirs.
    """
    base, ours, theirs = (dict(_config_fields(config)) for config in (before, after, live))
    changed = [path for path in {**theirs, **base} if theirs.get(path) not in {base.get(path), ours.get(path)}]
    return [f"{path} is {theirs.get(path, 'not there')} live, {base.get(path, 'not there')} here" for path in changed]


def config_differences(here: FeedConfig, there: FeedConfig) -> list[str]:
    """Return the fields in which a live copy differs from what is defined, in words."""
    a, b = dict(_config_fields(here)), dict(_config_fields(there))
    return [
        f"{path} is {b.get(path, 'not there')} live, {a.get(path, 'not there')} in the file"
        for path in {**a, **b}
        if a.get(path) != b.get(path)
    ]


def _config_fields(config: FeedConfig | None) -> Iterator[tuple[str, str]]:
    """Give what can be changed of a feed; a symbol is one field."""
    if config is not None:
        for symbol in config.symbols:
            yield f"symbol {symbol.name}", f"{symbol.symbol} {symbol.depth}"
        for field in FeedConfig.__struct_fields__:
            if field not in {"symbols", "revision"}:
                yield field, str(getattr(config, field)).lower()
