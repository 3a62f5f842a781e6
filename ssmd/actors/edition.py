"""Which normalized data flow: a version of a feed's, as everybody's, or beside it as a candidate."""

from msgspec import Struct

from ssmd.model import Event, EventType, is_symbol, message_id, type_of


class Edition(Struct, frozen=True):
    """Names everything that the data of one version have of their own on the bus and in the metrics.

    A candidate's message ids begin with its version: on its stream another candidate's data may lie from before.
    """

    feed: str
    version: str
    is_candidate: bool = False

    @property
    def label(self) -> str:
        """The feed's name in metrics: a candidate is not counted as what everybody uses."""
        return f"{self.feed}/{self.version}" if self.is_candidate else self.feed

    @property
    def durable(self) -> str:
        """The name of the consumer that archives it."""
        return f"candidate-{self.version}-{self.feed}" if self.is_candidate else f"archiver-{self.feed}"

    @property
    def subjects(self) -> str:
        return f"{self._prefix}.{self.feed}.>"

    def subject(self, event: Event) -> str:
        return f"{self._prefix}.{self.feed}.{type_of(event)}.{event.symbol}"

    def message_id(self, event: Event) -> str:
        identity = message_id(event)
        return f"{self.version}/{identity}" if self.is_candidate else identity

    def series_of(self, subject: str) -> tuple[EventType, str] | None:
        """Return the type and the symbol that a subject is about; None for one that is not of this edition."""
        head = f"{self._prefix}.{self.feed}."
        match subject.removeprefix(head).split("."):
            case [("trade" | "quote" | "book") as kind, symbol] if subject.startswith(head) and is_symbol(symbol):
                return kind, symbol
        return None

    @property
    def _prefix(self) -> str:
        return f"candidate.{self.version}" if self.is_candidate else "md"
