"""What `ssmd tail` does: messages of a gateway as they come."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
import trio
from msgspec import Struct

from ssmd.cli.getting import levels
from ssmd.cli.listen import until_signal
from ssmd.cli.options import Format, Reading, parse_names
from ssmd.cli.output import printable, say
from ssmd.cli.reading import reader
from ssmd.client import Book, Connection, Event, Gap, Lag, Message, Quote, Refused, Revoked, Subscription, Trade
from ssmd.clock import NS_PER_S, now_ns
from ssmd.errors import ConfigError

EVERY_S: Final = 1.0
QUIET_S: Final = 5.0


class Tail(NamedTuple):
    symbols: tuple[str, ...]
    types: str
    start: str
    most: int | None
    stats: bool
    feed: str


class Second(Struct, frozen=True):
    """What came within about a second. lag_ms: of the newest message, from receiving it to here; None without one."""

    at: str
    messages: int
    trade: int
    quote: int
    book: int
    gaps: int
    lost: int
    lag_ms: float | None


async def print_messages(tail: Tail, reading: Reading, output: Format) -> int:
    _check(tail, output)
    async with until_signal(), reader(reading) as client:
        types = parse_names(tail.types)
        async with client.subscribe(tail.symbols, types, tail.start, feed=tail.feed) as messages:
            if tail.stats:
                await _count(messages, output)
            else:
                await _print_or_wonder(messages, output, tail)
    return 0


async def _print_or_wonder(messages: Subscription, output: Format, tail: Tail) -> None:
    """Print, and say so if nothing comes at first: a quiet symbol and one that nobody captures look the same."""
    heard = trio.Event()

    async def wonder() -> None:
        with trio.move_on_after(QUIET_S):
            await heard.wait()
            return
        symbol = tail.symbols[0]
        say(f"no message yet: `ssmd get gaps {symbol}` says whether {symbol} is captured now; Ctrl-C ends the wait")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wonder)
        await _print(messages, output, tail.most, heard)
        nursery.cancel_scope.cancel()


def _check(tail: Tail, output: Format) -> None:
    if not tail.symbols:
        raise ConfigError("name at least one symbol: ssmd tail BTCUSD")
    if tail.most is not None and tail.most < 1:
        raise ConfigError(f"--count is {tail.most}; it must be at least 1")
    if output not in {"table", "json", "ndjson"}:
        raise ConfigError(f"--output is {output}; messages without an end are printed as table or ndjson")


async def _print(messages: Subscription, output: Format, count: int | None, heard: trio.Event) -> None:
    left = math.inf if count is None else count
    show = _show_lines if output == "table" else _show_json
    while left > 0 and (batch := await messages.batch()):
        heard.set()
        show(batch[: int(min(left, len(batch)))])
        left -= len(batch)


def _show_json(messages: Sequence[Message]) -> None:
    sys.stdout.write("".join(f"{msgspec.json.encode(message).decode()}\n" for message in messages))
    sys.stdout.flush()


def _show_lines(messages: Sequence[Message]) -> None:
    sys.stdout.write("".join(f"{printable(_line(message))}\n" for message in messages))
    sys.stdout.flush()


def _line(message: Message) -> str:
    match message:
        case Trade():
            return f"{_head(message)} trade  {message.side:<4} {message.size} @ {message.price}"
        case Quote():
            bid, ask = f"{message.bid_size} @ {message.bid_price}", f"{message.ask_price} @ {message.ask_size}"
            return f"{_head(message)} quote  {bid} | {ask}"
        case Book():
            return f"{_head(message)} book   {levels(message.bids)} | {levels(message.asks)}"
    return f"! {_notice(message)}"


def _head(event: Event) -> str:
    return f"{event.received_at[11:26]} {event.exchange} {event.symbol:<8}"


def _notice(message: Gap | Lag | Revoked | Refused | Connection) -> str:
    match message:
        case Gap():
            about = " ".join(filter(None, (message.feed, message.data_type, *message.symbols)))
            return f"gap: {about} {message.start} to {message.end or 'now'}: {message.reason}"
        case Lag():
            return f"lag: {message.dropped} quotes and books left out, read too slowly"
        case Revoked():
            lost = (f"{one.feed} {one.data_type} {' '.join(one.symbols)}" for one in message.subscriptions)
            return f"revoked: {'; '.join(lost)}"
        case Refused():
            near = f"; did you mean {' or '.join(message.suggestions)}?" if message.suggestions else ""
            return f"refused: {message.symbol}: {message.code}{near}"
    return f"connection {message.state}{': ' if message.detail else ''}{message.detail}"


# once per second ---------------------------------------------------------------------------------------------


class _Tally:
    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._lost = 0
        self._lag_ms: float | None = None

    def add(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._kinds[str(message.__struct_config__.tag)] += 1
            self._lost += message.dropped if isinstance(message, Lag) else 0
        newest = next((one for one in reversed(messages) if isinstance(one, (Trade, Quote, Book))), None)
        if newest is not None:
            self._lag_ms = round((now_ns() - newest.received_ns) / NS_PER_S * 1000, 1)

    def taken(self) -> Second:
        kinds, lost, lag_ms = self._kinds, self._lost, self._lag_ms
        self._kinds, self._lost, self._lag_ms = Counter(), 0, None
        trades, quotes, books = (kinds[name] for name in ("trade", "quote", "book"))
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Second(at, trades + quotes + books, trades, quotes, books, kinds["gap"], lost, lag_ms)


async def _count(messages: Subscription, output: Format) -> None:
    tally = _Tally()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_every_second, lambda: _show_second(tally.taken(), output))
        while batch := await messages.batch():
            tally.add(batch)
        nursery.cancel_scope.cancel()


async def _every_second(show: Callable[[], None]) -> None:
    while True:
        await trio.sleep(EVERY_S)
        show()


def _show_second(second: Second, output: Format) -> None:
    if output == "table":
        lag = "" if second.lag_ms is None else f"  lag {second.lag_ms:g} ms"
        kinds = f"trade {second.trade}  quote {second.quote}  book {second.book}"
        line = f"{second.at}  {second.messages} msg/s  {kinds}  gaps {second.gaps}  lost {second.lost}{lag}"
    else:
        line = msgspec.json.encode(second).decode()
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
