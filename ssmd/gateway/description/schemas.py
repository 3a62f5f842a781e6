"""The shapes of requests and answers, by the name under which OpenAPI and AsyncAPI refer to them.

What is a struct in the code is taken from it; what is put together by hand there is written by hand here.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.gateway import reports
from ssmd.gateway.access import CLIENT_TYPES
from ssmd.gateway.administration import Record
from ssmd.gateway.description.parts import Json, Schema, listed, record, ref, text, whole
from ssmd.gateway.formats.rows import SCHEMAS as COLUMNS
from ssmd.gateway.formats.rows import Column
from ssmd.gateway.history.estimate import Estimate
from ssmd.gateway.problems import STATUS, ParameterError
from ssmd.gateway.routes import bodies
from ssmd.gateway.web.health import Alive, Ready
from ssmd.model import EVENT_TYPES, EventType

TIME: Final = text(description="RFC 3339 with nine digits, UTC", examples=["2025-12-06T14:00:00.123456789Z"])
TIME_OR_NONE: Final[Schema] = {"type": ["string", "null"], "description": "RFC 3339 with nine digits, UTC"}
SYMBOL: Final = text(pattern="^[A-Z0-9_-]{1,32}$", examples=["BTCUSD"])
FEED: Final = text(pattern="^[A-Za-z0-9_-]{1,32}$", examples=["kraken"])
EVENT_TYPE: Final = text(enum=list(EVENT_TYPES))
DISPLAY: Final = text(enum=list(CLIENT_TYPES))
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final = whole(minimum=0)
COUNTS: Final[Schema] = {"type": "object", "additionalProperties": COUNT}
QUALITY: Final = text(enum=["verified", "unverifiable", "suspect", "missing"])
TEMPLATE: Final = "#/components/schemas/{name}"


def of_structs(structs: Iterable[type[Struct]]) -> Mapping[str, Json]:
    """Return the schema of each struct, and of those in it, by name."""
    return msgspec.json.schema_components(list(structs), ref_template=TEMPLATE)[1]


# rows --------------------------------------------------------------------------------------------------------

_LEVELS: Final = listed({"type": "array", "prefixItems": [NUMBER, NUMBER], "minItems": 2, "maxItems": 2})
_KINDS: Final[Mapping[str, Schema]] = {"text": text(), "number": NUMBER, "time": text(), "levels": _LEVELS}


def _column(column: Column) -> Schema:
    return {**_KINDS[column.kind], "description": column.meaning}


def _row(kind: EventType) -> Schema:
    """Nothing is required: `fields=` leaves out what was not asked for."""
    fields = {column.name: _column(column) for column in COLUMNS[kind]}
    return record(fields, optional=tuple(fields))


ROW_OF: Final[Mapping[EventType, str]] = {"trade": "Trade", "quote": "Quote", "book": "Book"}


def _listing(fields: Mapping[str, Schema], *, optional: tuple[str, ...] = (), quality: bool = False) -> Schema:
    judged = {"version": text(), "quality": ref("Quality")} if quality else {}
    return record({**fields, **judged, "request_id": text()}, optional=optional)


def _page(kind: EventType) -> Schema:
    cursor: Schema = {
        "type": ["string", "null"],
        "description": "ask for the next page with it; null: this is the last",
    }
    fields = {"data": listed(ref(ROW_OF[kind])), "next_cursor": cursor, "hint": text()}
    return _listing(fields, optional=("hint",), quality=True)


# answers that have no struct ---------------------------------------------------------------------------------

_PROBLEM: Final = record(
    {
        "type": text(),
        "title": text(),
        "status": whole(enum=sorted(set(STATUS.values()))),
        "code": text(enum=sorted(STATUS)),
        "detail": text(),
        "instance": text(description="the path that was asked for"),
        "request_id": text(),
        "hint": text(description="what to do next"),
        "errors": listed(ref("ParameterError")),
        "suggestions": listed(text()),
        "estimate": ref("Estimate"),
        "missing": text(description="what is away: nats, store or db"),
        "oldest_pos": whole(),
    },
    optional=("hint", "errors", "suggestions", "estimate", "missing", "oldest_pos"),
)
_WINDOW: Final = record(
    {
        "start": TIME,
        "end": TIME_OR_NONE,
        "feed": FEED,
        "symbols": listed(SYMBOL, description="empty: all of the feed's"),
        "status": QUALITY,
        "reason": text(),
        "frames": {"type": ["integer", "null"], "description": "null: the loss cannot be counted"},
    }
)
_QUALITY: Final = record(
    {
        "status": {**QUALITY, "description": "the worst of the windows"},
        "versions": {"type": "object", "additionalProperties": text(), "description": "of the normalizer, by feed"},
        "windows": listed(ref("Window")),
        "coverage": COUNTS,
        "checksums": COUNTS,
    }
)
_SYMBOL: Final = record(
    {
        "symbol": SYMBOL,
        "name": text(description="what the exchange calls it"),
        "feed": FEED,
        "types": listed(EVENT_TYPE),
        "first": TIME_OR_NONE,
        "last": TIME_OR_NONE,
        "live": {"type": "boolean"},
    }
)
_FEED: Final = record(
    {
        "feed": FEED,
        "enabled": {"type": "boolean"},
        "version": text(description="what readers are served"),
        "live_version": text(description="what captures now"),
        "versions": listed(text()),
        "symbols": listed(SYMBOL),
        "connected": {"type": "boolean"},
        "pending": listed(SYMBOL),
    }
)
_SPAN: Final = record({"feed": FEED, "symbol": SYMBOL, "type": EVENT_TYPE, "first": TIME_OR_NONE, "last": TIME_OR_NONE})
_FIELD: Final = record({"name": text(), "type": text(), "meaning": text()})
_STEP: Final = record({"action": text(), "client_id": text(), "detail": text()})
_REFUSED: Final = record({"client_id": text(), "feed": text(), "symbols": listed(text()), "detail": text()})

STRUCTS: Final[tuple[type[Struct], ...]] = (
    Alive,
    Ready,
    Estimate,
    ParameterError,
    Record,
    reports.Usage,
    reports.PeakUsers,
    reports.Split,
    bodies.NewClientBody,
    bodies.RotateBody,
    bodies.GrantBody,
    bodies.EnvironmentBody,
    bodies.ClientView,
    bodies.KnownView,
    bodies.NewKeyView,
    bodies.SessionBody,
)

SCHEMAS: Final[Mapping[str, Json]] = {
    **of_structs(STRUCTS),
    "Problem": _PROBLEM,
    "Trade": _row("trade"),
    "Quote": _row("quote"),
    "Book": _row("book"),
    "Window": _WINDOW,
    "Quality": _QUALITY,
    "Trades": _page("trade"),
    "Quotes": _page("quote"),
    "Books": _page("book"),
    "Symbols": _listing({"data": listed(_SYMBOL)}),
    "Feeds": _listing({"data": listed(_FEED)}),
    "Gaps": _listing({"data": listed(ref("Window"))}, quality=True),
    "Coverage": _listing({"data": listed(_SPAN)}, quality=True),
    "Size": _listing({"estimate": ref("Estimate"), "start": TIME, "end": TIME}),
    "Fields": _listing({"type": EVENT_TYPE, "fields": listed(_FIELD)}),
    "Ticket": record({"ticket": text(), "valid_s": NUMBER}),
    "Clients": record({"clients": listed(ref("ClientView"))}),
    "OneClient": record({"client": ref("ClientView")}),
    "Sessions": record({"sessions": listed(ref("SessionBody"))}),
    "Removed": record({"removed": text()}),
    "Kicked": record({"kicked": text()}),
    "Reconciled": record({"dry_run": {"type": "boolean"}, "changes": listed(_STEP), "refused": listed(_REFUSED)}),
}
