"""What answers consist of: the same names as in the JSON of the gateway."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final, Literal, NamedTuple, TypeVar, get_type_hints

from msgspec import Struct, defstruct, field
from msgspec.structs import replace

from ssmd.client.times import ns_of

R = TypeVar("R", bound=Struct)

EventType = Literal["trade", "quote", "book"]
Status = Literal["verified", "unverifiable", "suspect", "missing"]


class Level(NamedTuple):
    price: float
    size: float


class _Received:
    """received_at: by our clock; ranges and order go by it. timestamp: the exchange's clock where it gives one."""

    __slots__ = ()
    timestamp: str
    received_at: str

    @property
    def timestamp_ns(self) -> int:
        return ns_of(self.timestamp)

    @property
    def received_ns(self) -> int:
        return ns_of(self.received_at)


class _Part(Struct, _Received, frozen=True):
    """Some fields of an event."""


class Trade(Struct, _Received, frozen=True, tag_field="type", tag="trade", omit_defaults=True, repr_omit_defaults=True):
    """side: of the taker. id: names this message everywhere. pos: its place in the live stream; history has none."""

    exchange: str
    symbol: str
    price: float
    size: float
    side: Literal["buy", "sell"]
    trade_id: str
    timestamp: str
    received_at: str
    id: str
    pos: int | None = None


class Quote(Struct, _Received, frozen=True, tag_field="type", tag="quote", omit_defaults=True, repr_omit_defaults=True):
    """snapshot: the last one there was when the subscription began, not a new one."""

    exchange: str
    symbol: str
    bid_price: float
    bid_size: float
    ask_price: float
    ask_size: float
    timestamp: str
    received_at: str
    id: str
    pos: int | None = None
    snapshot: bool = False


class Book(Struct, _Received, frozen=True, tag_field="type", tag="book", omit_defaults=True, repr_omit_defaults=True):
    """A whole book to the depth that is captured, best levels first. snapshot: as of a quote."""

    exchange: str
    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    timestamp: str
    received_at: str
    id: str
    pos: int | None = None
    snapshot: bool = False


Event = Trade | Quote | Book


@cache
def part_of(kind: type[R], fields: tuple[str, ...]) -> type[R]:
    """Return what a row is that has these fields only, in the order of the whole row. Unknown ones are left out."""
    known = {"type": str, **get_type_hints(kind)}
    found = [(name, known[name]) for name in ("type", *kind.__struct_fields__) if name in fields]
    part: type[R] = defstruct(kind.__name__, found, bases=(_Part,), frozen=True, module=kind.__module__)  # type: ignore[assignment]  # as far as it goes
    return part


def is_event(kind: type[Struct]) -> bool:
    return issubclass(kind, _Received)


class Window(Struct, frozen=True):
    """A stretch of time that is not verified. end: None while it lasts. symbols: none means every one of the feed."""

    start: str
    end: str | None
    feed: str
    symbols: tuple[str, ...]
    status: Status
    reason: str
    frames: int | None = None


class Quality(Struct, frozen=True):
    """What is known of a range. status: the worst of the windows. coverage: minutes by status."""

    status: Status
    windows: tuple[Window, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    coverage: dict[str, int] = field(default_factory=dict)
    checksums: dict[str, int] = field(default_factory=dict)
    windows_left_out: int = 0

    @property
    def version(self) -> str:
        """Of the normalizer; with several feeds there may be several."""
        return ",".join(sorted(set(self.versions.values())))


STATUSES: Final[tuple[Status, ...]] = ("verified", "unverifiable", "suspect", "missing")
"""From good to bad."""


def worst(statuses: Iterable[Status]) -> Status:
    return max(statuses, key=STATUSES.index, default="verified")


def joined(pages: Sequence[Quality]) -> Quality | None:
    """Return the quality of pages that follow each other. What only a whole range has, the counts, is left out."""
    if len(pages) <= 1:
        return pages[0] if pages else None
    windows: list[Window] = []
    for window in (window for page in pages for window in page.windows):
        before = next((one for one in windows if _goes_on(one, window)), None)
        if before is not None:
            windows.remove(before)
            window = replace(window, start=min(before.start, window.start))  # noqa: PLW2901  # longer, the same
        windows.append(window)
    versions = {feed: version for page in pages for feed, version in page.versions.items()}
    return Quality(worst(page.status for page in pages), tuple(windows), versions)


def _goes_on(before: Window, window: Window) -> bool:
    """Tell whether a page begins with what the page before it ended with; gaps are told whole by each page."""
    is_same = replace(before, start="", end=None) == replace(window, start="", end=None)
    return is_same and (before.end == window.start or (before.start, before.end) == (window.start, window.end))


class Symbol(Struct, frozen=True):
    """What this key may read. name: the exchange's. first, last: of what is kept."""

    symbol: str
    name: str
    feed: str
    types: tuple[str, ...]
    first: str | None = None
    last: str | None = None
    live: bool = False


class Coverage(Struct, frozen=True):
    """From when to when there is something of a series."""

    feed: str
    symbol: str
    type: EventType
    first: str | None = None
    last: str | None = None
