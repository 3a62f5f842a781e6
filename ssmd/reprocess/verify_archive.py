"""The checks of what was made from raw data: normalized objects and ledger records against a second reckoning."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec
from msgspec import Struct

from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.codec import marketdata
from ssmd.codec.packing import Identity, Item, Series, pack, unpack
from ssmd.errors import BadRecord
from ssmd.model import EVENT_TYPES, Event
from ssmd.protocols.manifest import Manifest
from ssmd.protocols.quality import LedgerRecord, Tally, ledger_record
from ssmd.reprocess.verify_report import Finding
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey, normalized_day_prefix, normalized_prefix

NS_PER_DAY = 1440 * NS_PER_MINUTE

Minutes = dict[int, dict[Series, list[NormalizedKey]]]


async def objects_of_day(store: Store, version: str, feed: str, day_ns: int) -> Minutes:
    """Return the normalized objects of a day by minute and series, parts in order."""
    found: Minutes = {}
    for kind in EVENT_TYPES:
        for folder in await store.folders(normalized_prefix(version, feed, kind)):
            symbol = folder.rstrip("/").rpartition("/")[2]
            for meta in await store.list(normalized_day_prefix(version, feed, kind, symbol, day_ns)):
                try:
                    key = NormalizedKey.parse(meta.key)
                except BadRecord:
                    continue
                found.setdefault(key.minute_ns, {}).setdefault(Series(kind, symbol), []).append(key)
    return found


async def archive_problems(
    store: Store,
    expected: Mapping[Series, Sequence[Item]],
    stored: Mapping[Series, Sequence[NormalizedKey]],
    unprovable: Collection[str] = (),
) -> Sequence[Finding]:
    """Compare a minute of the archive with what its raw data gives, series by series, but for these connections."""
    found: list[Finding] = []
    for series in sorted(expected.keys() | stored.keys()):
        keys = sorted(stored.get(series, ()), key=lambda key: key.part)
        bodies = [await store.read(key.key) or b"" for key in keys]
        items = expected.get(series, ())
        if not keys:
            name = f"{items[0].conn}/{items[0].seq}/{items[0].n}"
            detail = f"there is no object; {len(items)} {series.type} events of {series.symbol} expected, first {name}"
            found.append(Finding("archive", f"{series.type}/{series.symbol}", detail, minute_of(items[0].recv_ns)))
        elif len(keys) > 1 or bodies[0] != pack(items):
            found += _differences(items, keys, bodies, unprovable)
    return found


def _differences(
    items: Sequence[Item], keys: Sequence[NormalizedKey], bodies: Sequence[bytes], unprovable: Collection[str]
) -> Iterator[Finding]:
    """Compare event by event: later parts are one minute together, and equal events may be packed in other bytes."""
    minute_ns = keys[0].minute_ns
    if [key.part for key in keys] != list(range(len(keys))):
        yield Finding("archive", keys[-1].key, "a part before it is missing", minute_ns)
    events: list[Event] = []
    for key, body in zip(keys, bodies, strict=True):
        try:
            got = unpack(key.type, body)
        except BadRecord as error:
            yield Finding("archive", key.key, f"cannot be read: {error}", minute_ns)
            continue
        if any(_place(one) >= _place(two) for one, two in pairwise(got)):
            yield Finding("archive", key.key, "events are not in order, each once", minute_ns)
        events += got
    for detail in _compare(items, keys[0], [event for event in events if event.conn not in unprovable]):
        yield Finding("archive", keys[0].key, detail, minute_ns)


def _compare(items: Sequence[Item], key: NormalizedKey, events: Sequence[Event]) -> Iterator[str]:
    wanted = {item.identity: item for item in items}
    got = {_identity(event): event for event in events}
    twice = [identity for identity, count in Counter(map(_identity, events)).items() if count > 1]
    missing, extra = [one for one in wanted if one not in got], [one for one in got if one not in wanted]
    if twice:
        yield f"{len(twice)} events are there more than once, first {_text(twice[0])}"
    if missing:
        yield f"{len(missing)} events are missing, first {_text(missing[0])}"
    if extra:
        yield f"{len(extra)} events are too many, first {_text(extra[0])}"
    for identity, item in wanted.items():
        if identity in got and (other := got[identity]) != (event := marketdata.decode(key.type, item.payload)):
            yield f"events differ, first {_text(identity)}: {_first_difference(event, other)}"
            return


def _first_difference(wanted: Struct, got: Struct) -> str:
    for name in wanted.__struct_fields__:
        one, other = getattr(wanted, name), getattr(got, name)
        if one != other:
            if isinstance(one, Struct) and isinstance(other, Struct):
                return f"{name}.{_first_difference(one, other)}"
            return f"{name} is {_shown(other)}, raw data gives {_shown(one)}"
    return "kind"


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _place(event: Event) -> tuple[int, str, int, int]:
    return event.recv_ns, event.conn, event.seq, event.n


def _identity(event: Event) -> Identity:
    return event.conn, event.seq, event.n


def _text(identity: Identity) -> str:
    conn, seq, n = identity
    return f"{conn}/{seq}/{n}"


# ledger ------------------------------------------------------------------------------------------------------


def record_problem(
    stored: LedgerRecord, manifest: Manifest, tally: Tally, *, is_whole: bool, is_follower: bool = False
) -> str:
    """Return how a ledger record differs from what the raw data gives; nothing when it says the same.

    is_whole: the feed was read from its beginning. Otherwise trades of before the warm-up are not known: repeats of
    them and jumps behind them may rightly be in the record and not here.
    is_follower: the writer began with nothing where another one had been (a restored system): jumps from that one's
    trades to its own may rightly be here and not in the record.
    """
    figures = tally.figures
    if is_follower:
        jumps = min(figures.trade_id_gaps, stored.figures.trade_id_gaps)
        figures = msgspec.structs.replace(figures, trade_id_gaps=jumps)
    if not is_whole:
        figures = msgspec.structs.replace(
            figures,
            duplicates=max(figures.duplicates, stored.figures.duplicates),
            trade_id_gaps=max(figures.trade_id_gaps, stored.figures.trade_id_gaps),
        )
    again = ledger_record(stored.version, manifest, Tally(figures, tally.connections), stored.source)
    return "" if again == stored else _first_difference(again, stored)
