"""An archive of a year in a store as far away as one in another house, which counts what it is asked."""

from collections import Counter
from functools import cache

from ssmd.clock import NS_PER_MINUTE
from ssmd.codec.packing import Item, pack
from ssmd.model import Trade
from ssmd.protocols.quality import Figures, LedgerRecord, Source, encode
from ssmd.store.keys import NormalizedKey, QualityKey, RawKey
from ssmd.store.memory import MemoryStore, StoreFaults
from tests.gateway.serving import FEED, message_of

DELAY_S = 0.025
DAY_NS = 1_764_979_200 * 10**9  # 2025-12-06
MINUTES = 1_440
MONTHS = 12
"""Before the day: a minute of each."""
TRADES = 4
"""Of one symbol in each minute."""


class FarStore(MemoryStore):
    """asked: how many calls of each kind. calls: each of them, with its key or prefix."""

    def __init__(self) -> None:
        super().__init__(StoreFaults(delay_s=DELAY_S))
        self.asked: Counter[str] = Counter()
        self.calls: list[str] = []

    async def _call(self, what: str) -> None:
        self.asked[what.partition(" ")[0]] += 1
        self.calls.append(what)
        await super()._call(what)

    def begin(self) -> None:
        """Count from now on."""
        self.asked.clear()
        self.calls.clear()


def far_archive() -> FarStore:
    """Return a store with twelve months of a minute each, and one whole day."""
    store = FarStore()
    store.objects |= _objects()
    return store


@cache
def _objects() -> dict[str, bytes]:
    minutes = [*(-30 * 1_440 * months for months in range(1, MONTHS + 1)), *range(MINUTES)]
    return {key: body for minute in minutes for key, body in stored(DAY_NS + minute * NS_PER_MINUTE).items()}


def stored(minute_ns: int, price: str = "1.5", checksums: int = 600) -> dict[str, bytes]:
    """Return what is stored of one minute, by key."""
    trades = [made(minute_ns, number, price) for number in range(TRADES)]
    raw = RawKey(FEED, minute_ns)
    figures = Figures(900, {"trade": TRADES}, {"BTCUSD": 900}, checksums)
    record = LedgerRecord(
        "v1", FEED, minute_ns, "verified", (), raw.key, "0" * 64, "w", 0, figures, (), (), ("BTCUSD",),
        Source("test", "unknown"),
    )  # fmt: skip
    return {
        NormalizedKey("v1", FEED, "trade", "BTCUSD", minute_ns).key: pack(
            [Item(one.recv_ns, one.conn, one.seq, one.n, message_of(one).payload) for one in trades]
        ),
        QualityKey("v1", FEED, minute_ns).key: encode(record),
        raw.key: b"raw",
        raw.manifest: b"{}",
    }


def made(minute_ns: int, number: int, price: str) -> Trade:
    at_ns = minute_ns + number
    seq = minute_ns // NS_PER_MINUTE * TRADES + number
    return Trade(FEED, "BTCUSD", at_ns, "c", seq, 0, at_ns, price, "1.0", "buy", str(seq))
