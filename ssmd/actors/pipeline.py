"""What passes between the connector's actors."""

from msgspec import Struct

from ssmd.bus.base import Outgoing
from ssmd.journal import Position


class Batch(Struct, frozen=True):
    """What came of some records: messages to publish, and where the cursor stands once they are acknowledged.

    received_ns: the receive time of each message, in the same order.
    """

    position: Position
    messages: tuple[Outgoing, ...] = ()
    received_ns: tuple[int, ...] = ()
    oldest_ns: int = 0
    """The receive time of the oldest record."""


class Progress:
    """How far the normalizer has handed over. Owned by the tree: a restarted normalizer goes on from here."""

    def __init__(self, start: Position | None) -> None:
        self.position = start
