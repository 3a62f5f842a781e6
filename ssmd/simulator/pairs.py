"""The pairs that the simulated exchanges list: precisions as Kraken's instrument channel gave them in 2024-04."""

import re
from typing import Final

from msgspec import Struct

from ssmd.errors import ConfigError

_SYMBOL: Final = re.compile(r"[A-Z0-9]{1,10}/[A-Z0-9]{1,10}")
_PRICE_DIGITS: Final = 4
_QTY_DIGITS: Final = 8
_START: Final = "10"

_TABLE: Final = """
BTC 1 8 63500 | ETH 2 8 3350 | SOL 2 8 185 | XRP 5 8 0.61 | ADA 6 8 0.58 | DOGE 7 8 0.18 | DOT 4 8 8.4 | AVAX 2 8 47
LINK 5 8 17.8 | LTC 2 8 100 | BCH 2 8 590 | MATIC 4 8 0.9 | ATOM 4 8 11.3 | UNI 3 8 11.2 | ETC 3 8 32 | XLM 6 8 0.13
ALGO 5 8 0.22 | NEAR 3 8 6.7 | FIL 3 8 8.4 | AAVE 2 8 120 | XMR 2 8 130 | XTZ 4 8 1.3 | EOS 4 8 1.05 | TRX 6 8 0.12
SHIB 8 5 0.0000271 | APE 4 8 1.8 | SAND 4 8 0.62 | MANA 5 8 0.63 | AXS 3 8 9.9 | CRV 3 8 0.63 | MKR 1 8 3700
COMP 2 8 74 | SNX 3 8 4.1 | GRT 5 8 0.35 | ENJ 3 8 0.48 | BAT 5 8 0.29 | ZRX 3 8 0.81 | KSM 2 8 44 | FLOW 3 8 1.2
ICP 3 8 16.9 | INJ 3 8 34 | OP 4 5 3.3 | ARB 4 5 1.5 | SUI 4 5 1.7 | SEI 5 5 0.72 | TIA 4 5 12.2 | APT 4 8 14.6
PEPE 9 5 0.0000068 | BONK 9 5 0.0000218 | WIF 4 5 3.7 | FET 4 8 2.6 | RUNE 3 8 8.0 | LDO 3 8 2.5 | IMX 3 8 2.7
STX 4 8 3.1 | MINA 3 8 1.1 | KAVA 4 8 0.95 | ZEC 2 8 29 | DASH 3 8 37 | 1INCH 3 8 0.56 | CHZ 4 8 0.13
GALA 4 8 0.055 | OCEAN 4 8 1.2 | YFI 0 8 8200 | USDT 5 8 1.0 | USDC 4 8 1.0 | DAI 5 8 1.0 | PAXG 2 8 2300
FTM 4 8 0.87 | RNDR 4 8 9.5 | EGLD 2 8 56 | DYDX 3 8 3.2 | GMX 2 8 40 | SUSHI 3 8 1.6 | BLUR 4 5 0.53 | LRC 4 8 0.36
QTUM 5 8 4.3 | KNC 4 8 0.75 | BAL 2 8 5.1 | BAND 3 8 2.0 | STORJ 5 8 0.75 | ANKR 5 8 0.057 | JASMY 5 8 0.021
"""


class Pair(Struct, frozen=True):
    """Prices are integer ticks of 10^-price_digits, sizes integer units of 10^-qty_digits."""

    symbol: str
    price_digits: int = _PRICE_DIGITS
    qty_digits: int = _QTY_DIGITS
    start: str = _START

    @property
    def base(self) -> str:
        return self.symbol.partition("/")[0]

    @property
    def quote(self) -> str:
        return self.symbol.partition("/")[2]

    @property
    def start_ticks(self) -> int:
        return round(float(self.start) * 10.0**self.price_digits)

    def price_text(self, ticks: int) -> str:
        return fixed(ticks, self.price_digits)

    def qty_text(self, units: int) -> str:
        return fixed(units, self.qty_digits)


def fixed(number: int, digits: int) -> str:
    """Return `number * 10^-digits` with exactly that many digits, the way exchanges write it."""
    if digits == 0:
        return str(number)
    whole, part = divmod(number, 10**digits)
    return f"{whole}.{part:0{digits}}"


def listed_pairs(extra: tuple[str, ...]) -> dict[str, Pair]:
    """Return every legal pair by its symbol: the table, and the extra symbols with default precisions."""
    pairs = {}
    for cell in _TABLE.replace("\n", "|").split("|"):
        if cell.strip():
            base, price_digits, qty_digits, start = cell.split()
            pairs[f"{base}/USD"] = Pair(f"{base}/USD", int(price_digits), int(qty_digits), start)
    for symbol in extra:
        if not _SYMBOL.fullmatch(symbol):
            raise ConfigError(f"symbol {symbol!r} is not of the form BTC/USD, in capitals")
        pairs.setdefault(symbol, Pair(symbol))
    return pairs
