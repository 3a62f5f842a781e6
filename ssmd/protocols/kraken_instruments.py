"""The list of pairs that Kraken offers: the snapshot of its `instrument` channel (recorded 2024: 683 pairs)."""

from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec
from msgspec import Raw, Struct

from ssmd.errors import BadFrame
from ssmd.protocols.text import shorten

_DECIMAL_DIGITS: Final = 40


class Instrument(Struct, frozen=True):
    """One pair as the venue lists it. Increments are plain decimal text (the venue writes `1e-08`)."""

    name: str
    base: str
    quote: str
    status: str
    price_precision: int
    qty_precision: int
    price_increment: str
    qty_increment: str


class _Pair(Struct):
    symbol: str
    base: str
    quote: str
    status: str
    price_precision: int
    qty_precision: int
    price_increment: Raw
    qty_increment: Raw


class _Pairs(Struct):
    pairs: list[_Pair]


class _InstrumentFrame(Struct, tag_field="channel", tag="instrument"):
    data: _Pairs


def parse_instruments(text: str) -> tuple[Instrument, ...]:
    """Return the pairs of a frame of the `instrument` channel. Raises BadFrame for any other text."""
    try:
        pairs = msgspec.json.decode(text, type=_InstrumentFrame).data.pairs
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadFrame("bad_shape", shorten(str(error))) from error
    return tuple(
        Instrument(
            pair.symbol,
            pair.base,
            pair.quote,
            pair.status,
            pair.price_precision,
            pair.qty_precision,
            _plain_decimal(pair.price_increment),
            _plain_decimal(pair.qty_increment),
        )
        for pair in pairs
    )


def _plain_decimal(raw: Raw) -> str:
    text = str(raw, "utf-8")
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > _DECIMAL_DIGITS:  # 1e999999 would become a million zeros
        raise BadFrame("bad_number", shorten(text))
    return format(number, "f")
