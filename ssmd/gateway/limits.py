"""How often something may happen: token buckets. Pure: the time is given, in seconds of a clock that never goes back."""

from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import Final, Generic, TypeVar

from msgspec import Struct

K = TypeVar("K", bound=Hashable)

MAX_BUCKETS: Final = 10_000
"""Of one kind: what they cost stays below 4 MB, whoever knocks from however many addresses."""
IPV6_HOST_BITS: Final = 64
"""One subscriber line usually has at least so many addresses of its own."""


class Rate(Struct, frozen=True):
    """So many per second in the long run, so many at once after a pause."""

    per_s: float
    burst: int


class Bucket:
    """Tokens that come back with time. It begins full."""

    __slots__ = ("_at_s", "_rate", "_tokens")

    def __init__(self, rate: Rate, at_s: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at_s = at_s

    def take(self, at_s: float, amount: float = 1.0) -> float:
        """Take tokens and return 0; without enough take none, and return after how many seconds there are."""
        wait_s = self.wait_s(at_s, amount)
        if wait_s == 0:
            self._tokens -= amount
        return wait_s

    def wait_s(self, at_s: float, amount: float = 1.0) -> float:
        """Return after how many seconds so many tokens are there: 0 for now, infinity for never."""
        rate = self._rate
        self._tokens = min(rate.burst, self._tokens + max(0.0, at_s - self._at_s) * rate.per_s)
        self._at_s = max(at_s, self._at_s)
        if self._tokens >= amount:
            return 0.0
        return (amount - self._tokens) / rate.per_s if rate.per_s > 0 and amount <= rate.burst else float("inf")

    def has_rate(self, rate: Rate) -> bool:
        return self._rate == rate


class Buckets(Generic[K]):
    """A bucket for each key (an address, a client). Above MAX_BUCKETS the one longest unused is forgotten."""

    def __init__(self, capacity: int = MAX_BUCKETS) -> None:
        self._capacity = capacity
        self._buckets: OrderedDict[K, Bucket] = OrderedDict()

    def take(self, key: K, rate: Rate, at_s: float, amount: float = 1.0) -> float:
        """As Bucket.take. A key whose rate has changed begins anew."""
        bucket = self._buckets.get(key)
        if bucket is None or not bucket.has_rate(rate):
            bucket = self._buckets[key] = Bucket(rate, at_s)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return bucket.take(at_s, amount)

    def __len__(self) -> int:
        return len(self._buckets)


def host_of(address: str) -> str:
    """Return what is limited as one host: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> IPV6_HOST_BITS << IPV6_HOST_BITS))
