import pytest

from ssmd.errors import BadRecord
from ssmd.model import Event, Quote, Trade
from ssmd.protocols.comparing import EXAMPLES, ComparingDecoder, Example, both, states_of
from ssmd.protocols.outcome import Counts, Decoded
from ssmd.records import Record

RECORD = Record(1, "c", 7, frame="{}")


def quote(n: int, bid: str = "1") -> Quote:
    return Quote("kraken", "BTCUSD", 1, "c", 7, n, 1, bid, "1", "2", "1")


def trade(n: int, price: str = "1") -> Trade:
    return Trade("kraken", "BTCUSD", 1, "c", 7, n, 1, price, "1", "buy", "9")


class Says:
    """A decoder that makes the same of every record."""

    def __init__(self, *events: Event) -> None:
        self.counts = Counts(frames=len(events))
        self._decoded = Decoded(events)

    def feed(self, _record: Record) -> Decoded:
        return self._decoded

    def state(self) -> bytes:
        return b"%d" % self.counts.frames


def compared(first: list[Event], second: list[Event]) -> ComparingDecoder:
    decoder = ComparingDecoder(Says(*first), Says(*second))
    assert decoder.feed(RECORD).events == tuple(second)
    return decoder


@pytest.mark.parametrize(
    ("first", "second", "verdicts"),
    [
        ([], [], {}),
        ([quote(0), trade(1)], [quote(0), trade(1)], {("quote", "same"): 1, ("trade", "same"): 1}),
        ([quote(0)], [quote(0), trade(1)], {("quote", "same"): 1, ("trade", "added"): 1}),
        ([quote(0), trade(1)], [quote(0)], {("quote", "same"): 1, ("trade", "removed"): 1}),
        ([trade(0, "1"), trade(1)], [trade(0, "2"), trade(1)], {("trade", "changed"): 1, ("trade", "same"): 1}),
        ([quote(0)], [trade(0)], {("trade", "changed"): 1}),
    ],
)
def test_events_are_compared_by_their_identity(first, second, verdicts):
    assert compared(first, second).verdicts == verdicts


def test_an_example_names_the_event_and_the_fields_that_differ():
    (example,) = compared([trade(3, "1")], [trade(3, "2")]).examples
    assert example == Example("changed", "kraken/c/7/3", "trade", "BTCUSD", ("price",))


def test_it_keeps_a_few_examples_and_counts_all():
    decoder = ComparingDecoder(Says(), Says(trade(0)))
    for _ in range(EXAMPLES * 3):
        decoder.feed(RECORD)
    assert len(decoder.examples) == EXAMPLES
    assert decoder.verdicts["trade", "added"] == EXAMPLES * 3


def test_it_is_the_second_decoder_to_its_reader_and_saves_both():
    decoder = compared([quote(0)], [quote(0), trade(1)])
    assert decoder.counts.frames == 2
    assert states_of(decoder.state()) == (b"1", b"2") == states_of(both(b"1", b"2"))
    with pytest.raises(BadRecord):
        states_of(b"\xff")
