"""What a client gives back as the id of a message, and what ids alone tell of the order of two."""

from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ssmd.actors.lineage import Lineage
from ssmd.gateway.live.identity import Identity
from ssmd.gateway.live.resume import parse_origin
from ssmd.gateway.problems import Problem
from ssmd.model import is_token, message_id
from tests.gateway.live_world import START_NS, trade

parts = st.one_of(st.text(max_size=6), st.sampled_from(["kraken", "k-0-1", "0", "7", "*", ">", "", "a.b", "٣", "1 "]))
tokens = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
numbers = st.integers(0, 10**18 - 1)


@given(st.one_of(st.text(max_size=60), st.lists(parts, max_size=6).map("/".join)))
@example("kraken/k-0-1/007/0")
@example("kraken/k-0-1/7/0\n")
@example("kraken/k-0-1/+7/0")
@example("kraken/k-0-1/1_0/0")
@example("md.kraken.trade.*/k-0-1/7/0")
@example(f"kraken/{'k' * 33}/7/0")
@example(f"kraken/k-0-1/{10**18}/0")
def test_whatever_is_sent_as_an_id_is_one_to_the_letter_or_is_refused(text: str):
    if Identity.parse(text) is None:
        with pytest.raises(Problem) as refused:
            parse_origin(f"id:{text}", START_NS)
        assert (refused.value.code, refused.value.errors[0].parameter) == ("invalid_parameter", "from")
        return
    found = parse_origin(f"id:{text}", START_NS)
    assert isinstance(found, Identity)
    assert is_token(found.feed)
    assert is_token(found.conn)
    assert message_id(found) == text


@given(tokens, tokens, numbers, numbers)
def test_every_id_that_a_message_can_have_is_understood(feed: str, conn: str, seq: int, n: int):
    assert Identity.parse(f"{feed}/{conn}/{seq}/{n}") == Identity(feed, conn, seq, n)


def test_the_id_of_a_message_is_what_resumes_behind_it():
    assert parse_origin(f"id:{message_id(trade(7))}", START_NS) == Identity("kraken", "k-0-1", 7, 0)


def sides(ordered: list[Identity]) -> set[int | None]:
    return {earlier.side_of(later) for earlier, later in combinations(ordered, 2)}


def test_within_a_connection_the_place_decides():
    ordered = [Identity("kraken", "whatever", *place) for place in ((2, 0), (2, 1), (10, 0))]
    assert sides(ordered) == {1}
    assert sides(ordered[::-1]) == {-1}
    assert ordered[0].side_of(ordered[0]) == 0


def test_the_connections_of_one_slot_are_in_the_order_that_they_were_named_in():
    names = [lineage.begin(slot=3).conn for lineage in (Lineage(START_NS), Lineage(2 * START_NS)) for _ in range(12)]
    ordered = [Identity("kraken", name, 100 - number, 0) for number, name in enumerate(names)]
    assert sides(ordered) == {1}
    assert sides(ordered[::-1]) == {-1}


def test_a_later_start_of_the_connector_is_behind_an_earlier_one_whatever_the_slot():
    before, after = (
        Identity("kraken", Lineage(at_ns).begin(slot).conn, 5, 0) for at_ns, slot in ((START_NS, 4), (2 * START_NS, 0))
    )
    assert (before.side_of(after), after.side_of(before)) == (1, -1)


@pytest.mark.parametrize(
    "other",
    ["kraken/abc-1-9/5/0", "kraken/else/5/0", "kraken/abc-0-01/5/0", "kraken/abc--0/5/0", "coinbase/abc-0-1/5/0"],
)
def test_nothing_is_said_where_ids_alone_do_not_tell(other: str):
    one, another = Identity("kraken", "abc-0-2", 5, 0), Identity.parse(other)
    assert another is not None
    assert one.side_of(another) is None
    assert another.side_of(one) is None
