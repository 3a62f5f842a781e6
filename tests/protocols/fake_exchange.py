"""A small exchange to test subscriptions against: readable texts, and a server that loses what it is told to lose."""

from collections.abc import Collection, Sequence

from ssmd.errors import BadFrame
from ssmd.protocols.base import Accepted, Control, Limits, Operation, Rejected, Request, Subscription
from ssmd.records import FeedConfig, SymbolSpec

LIMITS = Limits(
    max_frame_bytes=1 << 20,
    connects_per_window=10,
    connect_window_s=60,
    idle_timeout_s=5,
    ack_timeout_s=10,
    ping_interval_s=20,
    requests_per_s=5,
    symbols_per_request=3,
    reconnect_first_s=1,
    reconnect_cap_s=30,
    after_maintenance_s=5,
    stable_after_s=30,
)


def config_of(*names: str, depth: int = 10) -> FeedConfig:
    """Return a configuration; a name in capitals also wants its book."""
    symbols = tuple(SymbolSpec(name, name.upper(), "l2" if name.isupper() else "l1") for name in names)
    return FeedConfig(symbols=symbols, book_depth=depth)


class FakeExchange:
    """Writes requests as `operation req_id channel names depth`."""

    name = "fake"
    rest_url = "https://fake.test"
    hosts = frozenset({"fake.test"})
    clock_resolution_s = 1e-9
    limits = LIMITS
    book_depths = (10, 100)

    def subscriptions(self, config: FeedConfig) -> frozenset[Subscription]:
        trades = {Subscription("trade", spec.name) for spec in config.symbols}
        books = {Subscription("book", spec.name) for spec in config.symbols if spec.depth == "l2"}
        return frozenset(trades | books)

    def requests(
        self, operation: Operation, subscriptions: Collection[Subscription], config: FeedConfig, first_req_id: int
    ) -> Sequence[Request]:
        requests: list[Request] = []
        for channel in sorted({subscription.channel for subscription in subscriptions}):
            ordered = sorted(subscription for subscription in subscriptions if subscription.channel == channel)
            for at in range(0, len(ordered), self.limits.symbols_per_request):
                part = tuple(ordered[at : at + self.limits.symbols_per_request])
                req_id = first_req_id + len(requests)
                names = ",".join(subscription.name for subscription in part)
                depth = config.book_depth if channel == "book" else 0
                requests.append(Request(req_id, f"{operation} {req_id} {channel} {names} {depth}", part))
        return requests

    def instruments_url(self, rest_url: str) -> str:
        return f"{rest_url}/names"

    def instruments(self, answer: bytes) -> frozenset[str]:
        """Read names with a space between them."""
        return frozenset(_text(answer).split())

    def spelling(self, name: str) -> str:
        return name.strip()

    def clock_url(self, rest_url: str) -> str:
        return f"{rest_url}/time"

    def clock_ns(self, answer: bytes) -> int:
        if not _text(answer).isdecimal():
            raise BadFrame("bad_time")
        return int(answer)


def _text(answer: bytes) -> str:
    try:
        return answer.decode("ascii")
    except UnicodeDecodeError as error:
        raise BadFrame("bad_shape", str(error)) from error


class FakeServer:
    """The other side: knows what is subscribed and at which depth, refuses some names, answers in order."""

    def __init__(self, refuses: Collection[str] = (), nameless_refusals: bool = False) -> None:
        self.refuses = set(refuses)
        self.nameless_refusals = nameless_refusals
        self.live: dict[Subscription, str] = {}

    def hear(self, text: str, lost: Collection[str] = ()) -> list[Control]:
        """Obey a request except for the lost names; return the answers."""
        operation, req_text, channel, names, depth = text.split()
        req_id = int(req_text)
        heard = [Subscription(channel, name) for name in names.split(",") if name not in lost]
        if operation == "unsubscribe":
            return [self._unsubscribe(subscription, req_id, depth) for subscription in heard]
        if self.nameless_refusals and self.refuses & {subscription.name for subscription in heard}:
            return [Rejected("subscribe", "something is wrong", req_id=req_id, lasting=True)]
        return [self._subscribe(subscription, req_id, depth) for subscription in heard]

    def _subscribe(self, subscription: Subscription, req_id: int, depth: str) -> Control:
        name, channel = subscription.name, subscription.channel
        if name in self.refuses:
            return Rejected("subscribe", "not supported", name, channel, req_id, lasting=True)
        if subscription in self.live:
            return Rejected("subscribe", "already subscribed", name, channel, req_id, already=True)
        self.live[subscription] = depth
        return Accepted("subscribe", subscription, req_id)

    def _unsubscribe(self, subscription: Subscription, req_id: int, depth: str) -> Control:
        if self.live.get(subscription) != depth:
            return Rejected("unsubscribe", "not subscribed", subscription.name, subscription.channel, req_id)
        del self.live[subscription]
        return Accepted("unsubscribe", subscription, req_id)
