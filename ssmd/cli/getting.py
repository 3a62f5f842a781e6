"""What `ssmd get` does: rows of a gateway, printed."""

import csv
import json
import sys
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from ssmd.cli.options import Format, Reading
from ssmd.cli.output import say, show_rows
from ssmd.cli.reading import reader, say_quality
from ssmd.client import AsyncClient, AsyncResult, Book, Level, Quote, Trade
from ssmd.client.asking import RowOptions
from ssmd.errors import ConfigError

DEFAULT_LAST: Final = 20
MAX_LAST: Final = 10_000
SHOWN_LEVELS: Final = 3


class Wanted(NamedTuple):
    symbols: tuple[str, ...]
    last: int | None
    start: str
    end: str
    limit: int
    feed: str
    version: str


class BookRow(Struct, frozen=True):
    """A book for people: its best levels."""

    received_at: str
    exchange: str
    symbol: str
    bids: str
    asks: str


class TradeRow(Struct, frozen=True):
    received_at: str
    exchange: str
    symbol: str
    side: str
    price: float
    size: float
    trade_id: str


class QuoteRow(Struct, frozen=True):
    received_at: str
    exchange: str
    symbol: str
    bid_size: float
    bid_price: float
    ask_price: float
    ask_size: float


async def get_rows(what: str, wanted: Wanted, reading: Reading, output: Format) -> int:
    _check(what, wanted)
    async with reader(reading) as client:
        result = _ask(client, what, wanted)
        answer = await result
    rows: Sequence[Struct] = answer.rows
    _show(what, rows, output)
    if len(rows) == wanted.limit and _has_limit(what, wanted):
        say(f"! only the first {wanted.limit:,} rows: --limit gives more, `ssmd export` all of them")
    say_quality(answer.quality)
    return 0


def _check(what: str, wanted: Wanted) -> None:
    if not wanted.symbols:
        raise ConfigError(f"name at least one symbol: ssmd get {what} BTCUSD")
    if wanted.last is not None and (wanted.start or wanted.end):
        raise ConfigError("--last is the newest rows, --start and --end are a range; give one of both")
    if wanted.last is not None and not 1 <= wanted.last <= MAX_LAST:
        raise ConfigError(f"--last is {wanted.last}; allowed are 1 to {MAX_LAST:,}, and any number in a range")
    if wanted.last is not None and what in {"gaps", "coverage"}:
        raise ConfigError(f"{what} belong to a range: --start -1d")
    if wanted.limit < 1:
        raise ConfigError(f"--limit is {wanted.limit}; it must be at least 1")


def _has_limit(what: str, wanted: Wanted) -> bool:
    return bool(wanted.start) and what not in {"gaps", "coverage"}


def _ask(client: AsyncClient, what: str, wanted: Wanted) -> AsyncResult[Struct]:
    span = (wanted.start or None, wanted.end or None)
    if what in {"gaps", "coverage"}:
        ranged: Callable[..., AsyncResult[Struct]] = getattr(client, what)
        return ranged(wanted.symbols, *span, wanted.feed)
    rows: Callable[..., AsyncResult[Struct]] = getattr(client, what)
    return rows(wanted.symbols, *span, **_options(wanted))


def _options(wanted: Wanted) -> RowOptions:
    options = RowOptions(limit=wanted.limit) if wanted.start else RowOptions(last=wanted.last or DEFAULT_LAST)
    if wanted.feed:
        options["feed"] = wanted.feed
    if wanted.version:
        options["version"] = wanted.version
    return options


# printing ----------------------------------------------------------------------------------------------------


def _show(what: str, rows: Sequence[Struct], output: Format) -> None:
    if output == "table":
        show_rows([_for_people(row) for row in rows], output, f"no {what}")
    elif output == "csv" and rows:
        _print_csv(rows)
    elif output == "name":
        sys.stdout.writelines(f"{getattr(row, 'id', '')}\n" for row in rows)
    else:
        show_rows(rows, output)


def _for_people(row: Struct) -> Struct:
    match row:
        case Trade():
            head = (row.received_at, row.exchange, row.symbol)
            return TradeRow(*head, row.side, row.price, row.size, row.trade_id)
        case Quote():
            head = (row.received_at, row.exchange, row.symbol)
            return QuoteRow(*head, row.bid_size, row.bid_price, row.ask_price, row.ask_size)
        case Book():
            return BookRow(row.received_at, row.exchange, row.symbol, levels(row.bids), levels(row.asks))
    return row


def levels(side: Sequence[Level]) -> str:
    """Return the best levels as `size@price`, and how many more there are."""
    more = f" +{len(side) - SHOWN_LEVELS}" if len(side) > SHOWN_LEVELS else ""
    return " ".join(f"{level.size}@{level.price}" for level in side[:SHOWN_LEVELS]) + more


def _print_csv(rows: Sequence[Struct]) -> None:
    """Print the columns of the gateway's own CSV; a list is JSON within its cell."""
    plain = [msgspec.to_builtins(row) for row in rows]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(plain[0])
    writer.writerows([_cell(value) for value in row.values()] for row in plain)


def _cell(value: object) -> object:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, (list, tuple)) else value
