"""The only place that builds or takes apart an object key.

raw/<feed>/<YYYY>/<MM>/<DD>/<HH>/<part>-<MM>.jsonl.zst          and beside it <part>-<MM>.manifest.json
normalized/<version>/<feed>/<type>/<symbol>/<YYYY>/<MM>/<DD>/<HH>-<MM>.capnp.zst     late: <HH>-<MM>.p01.capnp.zst
normalized/<version>/<feed>/minutes/<YYYY>/<MM>/<DD>/<HH>-<MM>.json                 what a reprocess made of one minute
normalized/<version>/<feed>/ranges/<start>-<end>.json                               of a whole range, as 20251201T0000Z
quality/<version>/<feed>/<YYYY>/<MM>/<DD>/<HH>-<MM>.json        what is known of raw part 00; others: <HH>-<MM>.p01.json
quality/<version>/<feed>/<YYYY>/<MM>/<DD>/<HH>-<MM>.short.json  the archive has fewer events of this minute than were made
quality/<version>/<feed>/<YYYY>/<MM>/<DD>/day.jsonl.zst         all records of a day that is over, for who reads days
holds/<name>.json                                                                   raw data that must stay for now
"""

import re
from contextlib import suppress
from typing import Final, Self, cast

from msgspec import Struct

from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.model import EVENT_TYPES, EventType
from ssmd.store.key_rules import check_key, minute_at, need_minute, need_part, need_series, need_token, utc

HOLDS_PREFIX: Final = "holds/"
"""What retention must not delete for now: each object names a feed, a span and when it expires."""

KEPT_PREFIXES: Final = ("raw/", "normalized/", "quality/")
"""What every key of something to keep starts with: what a backup holds. Holds and probes are for the moment only."""

SHORTFALL_ENDING: Final = ".short.json"
DIGEST_ENDING: Final = "/day.jsonl.zst"
_OBJECT_ENDING: Final = ".jsonl.zst"
_MANIFEST_ENDING: Final = ".manifest.json"

_RAW: Final = re.compile(
    r"raw/([^/]+)/([0-9]{4})/([0-9]{2})/([0-9]{2})/([0-9]{2})/([0-9]{2})-([0-9]{2})(\.jsonl\.zst|\.manifest\.json)"
)
_NORMALIZED: Final = re.compile(
    r"normalized/([^/]+)/([^/]+)/([^/]+)/([^/]+)"
    r"/([0-9]{4})/([0-9]{2})/([0-9]{2})/([0-9]{2})-([0-9]{2})(?:\.p([0-9]{2}))?\.capnp\.zst"
)
_MINUTE_RECORD: Final = re.compile(
    r"normalized/([^/]+)/([^/]+)/minutes/([0-9]{4})/([0-9]{2})/([0-9]{2})/([0-9]{2})-([0-9]{2})\.json"
)
_QUALITY: Final = re.compile(
    r"quality/([^/]+)/([^/]+)/([0-9]{4})/([0-9]{2})/([0-9]{2})/([0-9]{2})-([0-9]{2})(?:\.p([0-9]{2}))?\.json"
)
_SHORTFALL: Final = re.compile(
    r"quality/([^/]+)/([^/]+)/([0-9]{4})/([0-9]{2})/([0-9]{2})/([0-9]{2})-([0-9]{2})\.short\.json"
)
_DIGEST: Final = re.compile(r"quality/([^/]+)/([^/]+)/([0-9]{4})/([0-9]{2})/([0-9]{2})/day\.jsonl\.zst")
_RANGE: Final = re.compile(
    r"normalized/([^/]+)/([^/]+)/ranges/([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})Z"
    r"-([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})Z\.json"
)
_RANGE_TIME: Final = "%Y%m%dT%H%MZ"


class RawKey(Struct, frozen=True):
    """One minute of raw lines. ValueError for a feed, minute or part that no key can hold."""

    feed: str
    minute_ns: int
    part: int = 0

    def __post_init__(self) -> None:
        need_token("feed", self.feed)
        need_minute(self.minute_ns)
        need_part(self.part)

    @property
    def key(self) -> str:
        return self._stem + _OBJECT_ENDING

    @property
    def manifest(self) -> str:
        return self._stem + _MANIFEST_ENDING

    @property
    def _stem(self) -> str:
        return f"{raw_hour_prefix(self.feed, self.minute_ns)}{self.part:02}-{utc(self.minute_ns):%M}"

    @classmethod
    def parse(cls, key: str) -> Self:
        """Return what names this object; BadRecord for any other key, a manifest's included."""
        return cls._parse(key, _OBJECT_ENDING)

    @classmethod
    def parse_manifest(cls, key: str) -> Self:
        """Return what names the object of this manifest; BadRecord for any other key."""
        return cls._parse(key, _MANIFEST_ENDING)

    @classmethod
    def _parse(cls, key: str, ending: str) -> Self:
        found = _RAW.fullmatch(key)
        if found is None or found[8] != ending:
            raise BadRecord(f"not the key of a raw {ending}: {key[:200]!r}")
        feed, year, month, day, hour, part, minute = found.groups()[:7]
        try:
            return cls(feed, minute_at(year, month, day, hour, minute), int(part))
        except ValueError as error:
            raise BadRecord(f"not the key of a raw {ending}: {key[:200]!r}: {error}") from error


class NormalizedKey(Struct, frozen=True):
    """One minute of events of one symbol. ValueError for a part of it that no key can hold."""

    version: str
    feed: str
    type: EventType
    symbol: str
    minute_ns: int
    part: int = 0

    def __post_init__(self) -> None:
        need_series(self.version, self.feed, self.type, self.symbol)
        need_minute(self.minute_ns)
        need_part(self.part)

    @property
    def key(self) -> str:
        part = f"p{self.part:02}." if self.part else ""
        day = normalized_day_prefix(self.version, self.feed, self.type, self.symbol, self.minute_ns)
        return f"{day}{utc(self.minute_ns):%H-%M}.{part}capnp.zst"

    @property
    def minute_prefix(self) -> str:
        """What the keys of all parts of this minute start with."""
        return f"{self.key.rpartition('/')[0]}/{utc(self.minute_ns):%H-%M}."

    @classmethod
    def parse(cls, key: str) -> Self:
        """Return what names this object; BadRecord for any other key."""
        found = _NORMALIZED.fullmatch(key)
        if found is None or found[10] == "00":
            raise BadRecord(f"not the key of a normalized object: {key[:200]!r}")
        version, feed, kind, symbol, year, month, day, hour, minute, part = found.groups()
        try:
            minute_ns = minute_at(year, month, day, hour, minute)
            return cls(version, feed, cast("EventType", kind), symbol, minute_ns, int(part or 0))
        except ValueError as error:
            raise BadRecord(f"not the key of a normalized object: {key[:200]!r}: {error}") from error


class QualityKey(Struct, frozen=True):
    """The ledger record of one raw object: its part is that of the raw key."""

    version: str
    feed: str
    minute_ns: int
    part: int = 0

    def __post_init__(self) -> None:
        quality_prefix(self.version, self.feed)
        need_minute(self.minute_ns)
        need_part(self.part)

    @property
    def key(self) -> str:
        part = f".p{self.part:02}" if self.part else ""
        return f"{day_prefix(quality_prefix(self.version, self.feed), self.minute_ns)}{utc(self.minute_ns):%H-%M}{part}.json"

    @property
    def minute_prefix(self) -> str:
        """What the keys of all records of this minute start with."""
        return f"{day_prefix(quality_prefix(self.version, self.feed), self.minute_ns)}{utc(self.minute_ns):%H-%M}."

    @classmethod
    def of(cls, version: str, raw: RawKey) -> Self:
        """Return the record's key of a raw object."""
        return cls(version, raw.feed, raw.minute_ns, raw.part)

    @property
    def raw(self) -> RawKey:
        """The raw object that the record is about."""
        return RawKey(self.feed, self.minute_ns, self.part)

    @classmethod
    def parse(cls, key: str) -> Self:
        """Return what this record is about; BadRecord for any other key."""
        found = _QUALITY.fullmatch(key)
        try:
            if found is not None and found[8] != "00":
                return cls(found[1], found[2], minute_at(*found.groups()[2:7]), int(found[8] or 0))
        except ValueError:
            pass
        raise BadRecord(f"not the key of a ledger record: {key[:200]!r}")


class ShortfallKey(Struct, frozen=True):
    """The mark of a minute that is not wholly archived; it stands beside the minute's ledger records."""

    version: str
    feed: str
    minute_ns: int

    def __post_init__(self) -> None:
        quality_prefix(self.version, self.feed)
        need_minute(self.minute_ns)

    @property
    def key(self) -> str:
        day = day_prefix(quality_prefix(self.version, self.feed), self.minute_ns)
        return f"{day}{utc(self.minute_ns):%H-%M}{SHORTFALL_ENDING}"

    @classmethod
    def parse(cls, key: str) -> Self:
        """Return what this mark is about; BadRecord for any other key."""
        found = _SHORTFALL.fullmatch(key)
        try:
            if found is not None:
                return cls(found[1], found[2], minute_at(*found.groups()[2:]))
        except ValueError:
            pass
        raise BadRecord(f"not the key of a shortfall: {key[:200]!r}")


class DigestKey(Struct, frozen=True):
    """All ledger records of the day that begins at day_ns."""

    version: str
    feed: str
    day_ns: int

    @property
    def key(self) -> str:
        return f"{day_prefix(quality_prefix(self.version, self.feed), self.day_ns).rstrip('/')}{DIGEST_ENDING}"

    @property
    def minute_ns(self) -> int:
        """The last minute that it may tell of."""
        return self.day_ns + 1439 * NS_PER_MINUTE

    @classmethod
    def parse(cls, key: str) -> Self:
        """Return which day this digest is about; BadRecord for any other key."""
        with suppress(ValueError):
            if (found := _DIGEST.fullmatch(key)) is not None:
                return cls(found[1], found[2], minute_at(found[3], found[4], found[5], "00", "00"))
        raise BadRecord(f"not the key of a digest: {key[:200]!r}")


class MinuteKey(Struct, frozen=True):
    """The record of one minute that was reprocessed."""

    version: str
    feed: str
    minute_ns: int

    def __post_init__(self) -> None:
        need_minute(self.minute_ns)

    @property
    def key(self) -> str:
        return f"{minutes_prefix(self.version, self.feed)}{utc(self.minute_ns):%Y/%m/%d/%H-%M}.json"

    @classmethod
    def parse(cls, key: str) -> Self:
        """Return what this record is about; BadRecord for any other key."""
        found = _MINUTE_RECORD.fullmatch(key)
        try:
            if found is not None:
                return cls(found[1], found[2], minute_at(*found.groups()[2:]))
        except ValueError:
            pass
        raise BadRecord(f"not the key of a minute's record: {key[:200]!r}")


class RangeKey(Struct, frozen=True):
    """The manifest of a range of one version: readers may rely on every minute of it."""

    version: str
    feed: str
    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        need_minute(self.start_ns)
        need_minute(self.end_ns)
        if self.end_ns <= self.start_ns:
            raise ValueError(f"range ends at {self.end_ns}, which is not after its start {self.start_ns}")

    @property
    def key(self) -> str:
        span = f"{utc(self.start_ns):{_RANGE_TIME}}-{utc(self.end_ns):{_RANGE_TIME}}"
        return f"{ranges_prefix(self.version, self.feed)}{span}.json"

    @classmethod
    def parse(cls, key: str) -> Self:
        """Return which range this manifest is about; BadRecord for any other key."""
        found = _RANGE.fullmatch(key)
        try:
            if found is not None:
                return cls(found[1], found[2], minute_at(*found.groups()[2:7]), minute_at(*found.groups()[7:]))
        except ValueError:
            pass
        raise BadRecord(f"not the key of a range manifest: {key[:200]!r}")


def minutes_prefix(version: str, feed: str) -> str:
    return f"{normalized_prefix(version, feed)}minutes/"


def ranges_prefix(version: str, feed: str) -> str:
    return f"{normalized_prefix(version, feed)}ranges/"


def quality_prefix(version: str, feed: str) -> str:
    need_token("version", version)
    need_token("feed", feed)
    return f"quality/{version}/{feed}/"


def day_prefix(prefix: str, at_ns: int) -> str:
    """Return what the keys of one day below a prefix start with."""
    return f"{prefix}{utc(at_ns):%Y/%m/%d/}"


def hold_key(name: str) -> str:
    return check_key(f"{HOLDS_PREFIX}{name}.json")


def raw_prefix(feed: str) -> str:
    need_token("feed", feed)
    return f"raw/{feed}/"


def raw_day_prefix(feed: str, at_ns: int) -> str:
    return f"{raw_prefix(feed)}{utc(at_ns):%Y/%m/%d/}"


def raw_hour_prefix(feed: str, at_ns: int) -> str:
    """Return the narrowest prefix there is: the part stands before the minute in a raw key."""
    return f"{raw_prefix(feed)}{utc(at_ns):%Y/%m/%d/%H/}"


def normalized_prefix(version: str, feed: str, kind: EventType | None = None, symbol: str | None = None) -> str:
    """Return what the keys of a feed start with, or of one type of it, or of one symbol of that."""
    need_series(version, feed, EVENT_TYPES[0] if kind is None else kind, "X" if symbol is None else symbol)
    if kind is None:
        return f"normalized/{version}/{feed}/"
    return f"normalized/{version}/{feed}/{kind}/" + (f"{symbol}/" if symbol is not None else "")


def normalized_day_prefix(version: str, feed: str, kind: EventType, symbol: str, at_ns: int) -> str:
    return f"{normalized_prefix(version, feed, kind, symbol)}{utc(at_ns):%Y/%m/%d/}"


def normalized_hour_prefix(version: str, feed: str, kind: EventType, symbol: str, at_ns: int) -> str:
    return f"{normalized_day_prefix(version, feed, kind, symbol, at_ns)}{utc(at_ns):%H}-"
