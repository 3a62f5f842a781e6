"""Two normalizer versions on the same records: what the second one makes, and in what the first one differs."""

from collections import Counter, deque
from typing import Final, Literal

import msgspec
from msgspec import Struct

from ssmd.errors import BadRecord
from ssmd.model import Event, EventType, message_id, type_of
from ssmd.protocols.outcome import Counts, Decoded, Decoder
from ssmd.records import Record

Verdict = Literal["same", "changed", "added", "removed"]
"""Of an event of the second version: added is one that the first does not have, removed one that only the first has."""

EXAMPLES: Final = 20
"""Kept until somebody takes them: a wrong version differs in every event, and nobody reads them all."""


class Example(Struct, frozen=True):
    """One difference. fields: those of the event that differ; none for one that only one version has."""

    verdict: Verdict
    id: str
    type: EventType
    symbol: str
    fields: tuple[str, ...] = ()


class _Both(Struct, frozen=True):
    first: bytes
    second: bytes


def both(first: bytes, second: bytes) -> bytes:
    """Return the state of a comparison from those of its two decoders."""
    return msgspec.msgpack.encode(_Both(first, second))


def states_of(state: bytes) -> tuple[bytes, bytes]:
    """Return the states of the first and the second decoder. Raises BadRecord for a damaged one."""
    try:
        saved = msgspec.msgpack.decode(state, type=_Both)
    except msgspec.MsgspecError as error:
        raise BadRecord(f"state of a comparison cannot be read: {error}") from error
    return saved.first, saved.second


class ComparingDecoder:
    """Is the second decoder to its reader; feeds the first one too and counts by type and verdict."""

    def __init__(self, first: Decoder, second: Decoder) -> None:
        self.verdicts: Counter[tuple[EventType, Verdict]] = Counter()
        self.examples: deque[Example] = deque(maxlen=EXAMPLES)
        self._first = first
        self._second = second

    @property
    def counts(self) -> Counts:
        return self._second.counts

    def feed(self, record: Record) -> Decoded:
        first, second = self._first.feed(record), self._second.feed(record)
        if first.events == second.events:
            for event in second.events:
                self.verdicts[type_of(event), "same"] += 1
        else:
            self._compare(first, second)
        return second

    def state(self) -> bytes:
        return both(self._first.state(), self._second.state())

    def _compare(self, first: Decoded, second: Decoded) -> None:
        before = {event.n: event for event in first.events}
        for event in second.events:
            was = before.pop(event.n, None)
            if was is None:
                self._note("added", event)
            elif was == event:
                self.verdicts[type_of(event), "same"] += 1
            else:
                self._note("changed", event, _different_fields(was, event))
        for event in before.values():
            self._note("removed", event)

    def _note(self, verdict: Verdict, event: Event, fields: tuple[str, ...] = ()) -> None:
        kind = type_of(event)
        self.verdicts[kind, verdict] += 1
        self.examples.append(Example(verdict, message_id(event), kind, event.symbol, fields))


def _different_fields(was: Event, event: Event) -> tuple[str, ...]:
    if type(was) is not type(event):
        return ("type",)
    return tuple(field for field in event.__struct_fields__ if getattr(was, field) != getattr(event, field))
