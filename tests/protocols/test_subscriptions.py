import math
from collections import deque
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmd.protocols.base import Accepted, Control, Exchange, Pong, RateLimited, Rejected, Subscription
from ssmd.protocols.subscription import REFUSED_RETRY_S, RESYNC_CAP_S, RESYNC_FORGIVE_S, RETRY_CAP_S
from ssmd.protocols.subscriptions import DEGRADED_AFTER, BecameLive, Change, Reasked, Subscriptions, WasRefused
from ssmd.records import FeedConfig, SymbolSpec
from tests.protocols.fake_exchange import LIMITS, FakeExchange, FakeServer, config_of

EXCHANGE = cast("Exchange", FakeExchange())
FLAT = FeedConfig(symbols=(SymbolSpec("BTC", "BTC", "l1"),))


class Line:
    """A connection in virtual time: sends what is due, hands back the answers, remembers both."""

    def __init__(self, server: FakeServer | None = None) -> None:
        self.server = server or FakeServer()
        self.subscriptions = Subscriptions(EXCHANGE)
        self.now_s = 100.0
        self.sent: list[tuple[float, str]] = []
        self.changes: list[Change] = []

    def want(self, *names: str, depth: int = 10) -> None:
        self.changes += self.subscriptions.want(config_of(*names, depth=depth), self.now_s)

    def receive(self, *controls: Control) -> None:
        for control in controls:
            self.changes += self.subscriptions.receive(control, self.now_s)

    def send(self) -> list[str]:
        texts = list(self.subscriptions.due(self.now_s))
        self.sent += [(self.now_s, text) for text in texts]
        return texts

    def run(self, for_s: float, *, answering: bool = True) -> list[str]:
        """Let time pass from one due moment to the next; return what was sent."""
        before, end_s = len(self.sent), self.now_s + for_s
        while True:
            for text in self.send():
                if answering:
                    self.receive(*self.server.hear(text))
            next_s = self.subscriptions.next_due_s()
            if next_s > end_s:
                break
            self.now_s = max(next_s, self.now_s)
        self.now_s = end_s
        return [text for _, text in self.sent[before:]]


def live_on(*names: str, server: FakeServer | None = None) -> Line:
    line = Line(server)
    line.want(*names)
    line.run(5)
    line.changes.clear()
    return line


def test_a_name_is_live_when_every_channel_is_acknowledged() -> None:
    line = Line()
    line.want("BTC", "eth")
    assert line.subscriptions.pending == ["BTC", "eth"]
    line.receive(*line.server.hear(line.send()[0]))
    assert line.changes == []
    line.run(1)
    assert line.changes == [BecameLive(("BTC",)), BecameLive(("eth",))]
    assert line.subscriptions.live == ["BTC", "eth"]
    assert line.subscriptions.next_due_s() == math.inf


def test_a_change_asks_only_for_the_difference() -> None:
    line = live_on("btc", "eth")
    line.want("eth", "sol")
    assert line.run(5) == ["unsubscribe 2 trade btc 0", "subscribe 3 trade sol 0"]
    assert line.subscriptions.live == ["eth", "sol"]


def test_an_equal_configuration_asks_for_nothing() -> None:
    line = live_on("BTC")
    line.want("BTC")
    assert line.run(3600) == []


def test_another_depth_subscribes_only_the_books_anew_and_leaves_with_the_old_depth() -> None:
    line = live_on("BTC", "eth")
    line.want("BTC", "eth", depth=100)
    assert line.run(5) == ["unsubscribe 3 book BTC 10", "subscribe 4 book BTC 100"]
    assert line.changes == [Reasked(("BTC",)), BecameLive(("BTC",))]


def test_dropping_to_l1_leaves_the_book_and_the_name_stays_live() -> None:
    line = live_on("BTC")
    line.changes += line.subscriptions.want(FLAT, line.now_s)
    assert line.run(5) == ["unsubscribe 3 book BTC 10"]
    assert line.subscriptions.live == ["BTC"]
    assert line.changes == []


def test_requests_hold_only_so_many_symbols_and_keep_their_distance() -> None:
    line = Line()
    line.want(*"abcdefgh")
    texts = line.run(5)
    assert [text.split()[3] for text in texts] == ["a,b,c", "d,e,f", "g,h"]
    times_s = [time_s for time_s, _ in line.sent]
    assert times_s == pytest.approx([100.0, 100.2, 100.4])


def test_a_lost_request_is_asked_again_alone_and_without_end() -> None:
    line = Line()
    line.want("a", "b", "c")
    line.receive(*line.server.hear(line.send()[0], lost={"b"}))
    assert line.subscriptions.live == ["a", "c"]
    asked = line.run(3600, answering=False)
    assert {text.split()[3] for text in asked} == {"b"}
    gaps_s = [later - earlier for (earlier, _), (later, _) in pairwise(line.sent)]
    assert gaps_s[0] == pytest.approx(LIMITS.ack_timeout_s + 1)
    assert gaps_s == sorted(gaps_s)
    assert gaps_s[-1] == pytest.approx(LIMITS.ack_timeout_s + RETRY_CAP_S)
    assert not line.subscriptions.stuck
    line.run(100)
    assert line.subscriptions.live == ["a", "b", "c"]


def test_no_answer_at_all_is_stuck_but_a_refusal_is_an_answer() -> None:
    silent = Line()
    silent.want("a")
    silent.run(LIMITS.ack_timeout_s - 0.1, answering=False)
    assert not silent.subscriptions.stuck
    silent.run(0.1, answering=False)
    assert silent.subscriptions.stuck
    refusing = Line(FakeServer(refuses="a"))
    refusing.want("a")
    refusing.run(3600)
    assert not refusing.subscriptions.stuck


def test_a_late_acknowledgement_counts() -> None:
    line = Line()
    line.want("a")
    line.run(LIMITS.ack_timeout_s + 0.5, answering=False)
    line.receive(Accepted("subscribe", Subscription("trade", "a"), 1))
    assert line.subscriptions.live == ["a"]
    assert line.run(3600) == []


def test_a_lasting_refusal_is_told_once_and_retried_rarely_while_the_others_go_on() -> None:
    line = Line(FakeServer(refuses="b"))
    line.want("a", "b", "c")
    line.run(5)
    assert line.changes == [BecameLive(("a",)), WasRefused("b", "trade", "not supported"), BecameLive(("c",))]
    (refusal,) = line.subscriptions.refused
    assert (refusal.name, refusal.retry_at_s) == ("b", 100 + REFUSED_RETRY_S)
    assert line.subscriptions.pending == []
    line.run(2 * REFUSED_RETRY_S)
    assert [text.split()[3] for _, text in line.sent] == ["a,b,c", "b", "b"]
    assert len(line.changes) == 3
    line.server.refuses.clear()
    line.run(REFUSED_RETRY_S)
    assert line.changes[-1] == BecameLive(("b",))
    assert line.subscriptions.refused == []


def test_a_passing_refusal_is_retried_soon() -> None:
    line = Line()
    line.want("a")
    line.send()
    line.receive(Rejected("subscribe", "busy", name="a", channel="trade", req_id=1))
    assert line.subscriptions.refused[0].retry_at_s - line.now_s <= 5
    line.run(5)
    assert line.subscriptions.live == ["a"]


def test_a_refusal_without_a_name_is_matched_by_its_request_and_narrowed_down() -> None:
    line = Line(FakeServer(refuses="e", nameless_refusals=True))
    line.want(*"abcdef")
    line.run(5)
    assert line.subscriptions.live == ["a", "b", "c", "d", "f"]
    assert [refusal.name for refusal in line.subscriptions.refused] == ["e"]
    assert line.changes.count(WasRefused("e", "trade", "something is wrong")) == 1


def test_a_refusal_without_name_and_request_is_ignored() -> None:
    line = Line()
    line.want("a")
    line.send()
    line.receive(Rejected("subscribe", "what?"))
    assert line.subscriptions.pending == ["a"]


def test_answers_without_req_id_match_by_channel_and_name() -> None:
    line = Line()
    line.want("A")
    line.run(1, answering=False)
    line.receive(Accepted("subscribe", Subscription("book", "A")), Accepted("subscribe", Subscription("trade", "A")))
    assert line.subscriptions.live == ["A"]


def test_unexpected_answers_change_nothing() -> None:
    line = live_on("a")
    line.receive(
        Accepted("subscribe", Subscription("trade", "zzz")),
        Accepted("subscribe", Subscription("ohlc", "a")),
        Accepted("unsubscribe", Subscription("trade", "a")),
        Rejected("subscribe", "no", name="a", channel="trade"),
        Rejected("unsubscribe", "no", name="a", channel="trade"),
        Pong(1),
    )
    assert (line.subscriptions.live, line.changes, line.run(3600)) == (["a"], [], [])


def test_already_subscribed_counts_as_live() -> None:
    line = Line()
    line.want("a")
    line.send()
    line.receive(Rejected("subscribe", "already subscribed", "a", "trade", 1, already=True))
    assert line.subscriptions.live == ["a"]


def test_a_resync_leaves_waits_and_subscribes_again_for_that_channel_only() -> None:
    line = live_on("BTC", "ETH")
    line.subscriptions.resync("BTC", "book", line.now_s)
    assert line.subscriptions.live == ["ETH"]
    (text,) = line.send()
    assert text == "unsubscribe 3 book BTC 10"
    answers = line.server.hear(text)
    assert line.run(5, answering=False) == []
    line.receive(*answers)
    assert line.run(5) == ["subscribe 4 book BTC 10"]
    assert line.changes == [BecameLive(("BTC",))]


def test_already_subscribed_during_a_resync_leaves_first() -> None:
    line = live_on("BTC")
    line.subscriptions.resync("BTC", "book", line.now_s)
    line.send()
    line.receive(Rejected("unsubscribe", "try again", "BTC", "book", 3))  # it did not leave
    assert [text.split()[0] for text in line.run(3600)] == ["subscribe", "unsubscribe", "subscribe"]
    assert line.subscriptions.live == ["BTC"]


def test_a_book_that_never_matches_makes_no_storm_and_is_degraded_until_it_holds() -> None:
    line = live_on("BTC", "ETH")
    before, hour_s = len(line.sent), 3600
    for _ in range(hour_s):
        line.subscriptions.resync("BTC", "book", line.now_s)
        line.run(1)
    rounds = (len(line.sent) - before) / 2
    assert DEGRADED_AFTER <= rounds <= hour_s / RESYNC_CAP_S + 10
    assert line.subscriptions.degraded == ["BTC"]
    assert {text.split()[3] for _, text in line.sent[before:]} == {"BTC"}
    line.run(2 * RESYNC_FORGIVE_S)
    line.send()
    assert line.subscriptions.degraded == []


def test_a_resync_of_what_is_not_subscribed_is_ignored() -> None:
    line = live_on("BTC")
    line.subscriptions.resync("BTC", "ohlc", line.now_s)
    line.subscriptions.resync("ETH", "book", line.now_s)
    assert line.run(60) == []


def test_a_mismatch_before_the_acknowledgement_still_brings_a_new_snapshot() -> None:
    line = Line()
    line.want("BTC")
    line.run(1, answering=False)
    line.subscriptions.resync("BTC", "book", line.now_s)
    texts = line.run(5)
    assert [text.split()[0] for text in texts if " book " in text] == ["unsubscribe", "subscribe"]


def test_what_was_never_asked_is_dropped_without_a_word() -> None:
    line = Line()
    line.want("a", "b")
    line.want()
    assert line.run(60) == []


def test_what_is_dropped_before_its_acknowledgement_is_unsubscribed() -> None:
    line = Line()
    line.want("a")
    acknowledged = line.server.hear(line.send()[0])
    line.want()
    line.receive(*acknowledged)
    assert line.run(5) == ["unsubscribe 2 trade a 0"]
    assert line.server.live == {}
    assert line.changes == []


def test_what_is_wanted_again_while_leaving_comes_back() -> None:
    line = live_on("a")
    line.want()
    left = line.server.hear(line.run(0.1, answering=False)[0])
    line.want("a")
    line.receive(*left)
    assert line.run(5) == ["subscribe 3 trade a 0"]
    assert line.changes == [BecameLive(("a",))]


def test_what_may_have_been_heard_is_unsubscribed_though_no_answer_came() -> None:
    line = Line()
    line.want("a")
    line.server.hear(line.send()[0])
    line.run(LIMITS.ack_timeout_s + 0.5, answering=False)
    line.want()
    assert line.run(5) == ["unsubscribe 2 trade a 0"]
    assert line.server.live == {}


def test_an_unsubscribe_acknowledged_while_subscribing_is_ignored() -> None:
    line = Line()
    line.want("a")
    line.send()
    line.receive(Accepted("unsubscribe", Subscription("trade", "a")))
    assert line.run(5, answering=False) == []


def test_a_subscribe_acknowledged_while_leaving_is_ignored() -> None:
    line = live_on("a")
    line.want()
    line.send()
    line.receive(Accepted("subscribe", Subscription("trade", "a")))
    line.want("a")
    assert line.subscriptions.live == []


def test_an_acknowledgement_before_the_question_is_ignored() -> None:
    line = Line()
    line.want("a")
    line.receive(Accepted("subscribe", Subscription("trade", "a")))
    assert line.subscriptions.live == []
    assert line.run(5) == ["subscribe 1 trade a 0"]


def test_a_refusal_without_a_name_spares_what_was_acknowledged() -> None:
    line = Line()
    line.want("a", "b")
    line.send()
    line.receive(Accepted("subscribe", Subscription("trade", "a"), 1), Rejected("subscribe", "no", req_id=1))
    assert line.subscriptions.live == ["a"]
    assert [refusal.name for refusal in line.subscriptions.refused] == ["b"]


def test_a_second_new_depth_does_not_leave_twice() -> None:
    line = live_on("BTC")
    line.want("BTC", depth=100)
    answers = line.server.hear(line.send()[0])
    line.want("BTC", depth=50)
    line.receive(*answers)
    assert line.run(60) == ["subscribe 4 book BTC 50"]


def test_a_new_depth_is_not_taken_for_live_while_the_old_one_is_still_there() -> None:
    line = live_on("BTC")
    line.want("BTC", depth=100)
    line.send()
    line.receive(Rejected("unsubscribe", "try again", "BTC", "book", 3))  # it did not leave
    line.run(60)
    assert line.server.live[Subscription("book", "BTC")] == "10"
    assert line.subscriptions.live == []


def test_unsubscribes_of_two_depths_do_not_share_a_request() -> None:
    line = live_on("BTC", "ETH")
    line.want("ETH")
    line.run(0.5, answering=False)  # the unsubscribes of BTC are lost
    line.want("ETH", depth=100)
    line.run(5)
    line.now_s = line.subscriptions.next_due_s()
    assert line.send() == []  # the answers are given up
    line.now_s += 1
    line.want(depth=100)
    line.run(60)
    assert line.server.live == {}


def test_a_stale_acknowledgement_of_an_earlier_life_is_ignored() -> None:
    line = live_on("a")
    line.want()
    line.run(1)
    line.want("a")
    line.send()
    line.receive(Accepted("subscribe", Subscription("trade", "a"), 1))
    assert line.subscriptions.live == []
    line.receive(Accepted("subscribe", Subscription("trade", "a"), 3))
    assert line.subscriptions.live == ["a"]


def test_a_complaint_about_the_rate_asks_everything_pending_later_and_slower() -> None:
    line = Line()
    line.want(*"abcdef")
    line.send()
    line.receive(RateLimited("too fast"))
    assert line.send() == []
    line.run(10)
    assert line.subscriptions.live == list("abcdef")
    times_s = [time_s for time_s, _ in line.sent]
    assert times_s[1] - times_s[0] >= 1
    assert min(later - earlier for earlier, later in pairwise(times_s)) >= 2 / LIMITS.requests_per_s


def test_a_name_becomes_live_when_its_refused_book_is_no_longer_wanted() -> None:
    line = Line()
    line.want("BTC")
    line.run(1, answering=False)
    line.receive(
        Accepted("subscribe", Subscription("trade", "BTC")),
        Rejected("subscribe", "no", "BTC", "book", lasting=True),
    )
    assert line.subscriptions.want(FLAT, line.now_s) == (BecameLive(("BTC",)),)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sets(st.sampled_from(["A", "B", "c", "d"])), st.sampled_from([10, 100])),
        st.tuples(st.just("lose"), st.sets(st.sampled_from(["A", "B", "c", "d"])), st.booleans()),
        st.tuples(st.just("answer"), st.integers(0, 5), st.booleans()),
        st.tuples(st.just("resync"), st.sampled_from(["A", "B"]), st.just(0)),
        st.tuples(st.just("limit"), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.floats(0, 30), st.just(0)),
    ),
    max_size=40,
)


@given(steps=STEPS, refuses=st.sets(st.sampled_from(["A", "c"]), max_size=1), nameless=st.booleans())
def test_whatever_happens_it_ends_where_it_should_once_the_exchange_answers(steps, refuses, nameless) -> None:
    server = FakeServer(refuses, nameless)
    line = Line(server)
    names: set[str] = set()
    depth = 10
    answers: deque[Control] = deque()
    for step, what, how in steps:
        if step == "want":
            names, depth = what, how
            line.want(*sorted(names), depth=depth)
        elif step == "lose":  # requests are lost in part, and perhaps their answers too
            for text in line.send():
                replies = server.hear(text, lost=what)
                answers.extend(replies if how else ())
        elif step == "answer" and answers:
            answers.rotate(what)  # in any order
            line.receive(answers.popleft())
        elif step == "resync":
            line.subscriptions.resync(what, "book", line.now_s)
        elif step == "limit":
            line.receive(RateLimited("slow down"))
        elif step == "wait":
            line.now_s += what
    line.want(*sorted(names), depth=depth)
    line.receive(*answers)
    line.run(3 * REFUSED_RETRY_S)

    wanted = EXCHANGE.subscriptions(config_of(*names))
    assert set(server.live) == {subscription for subscription in wanted if subscription.name not in refuses}
    assert line.subscriptions.live == sorted(names - refuses)
    assert {refusal.name for refusal in line.subscriptions.refused} == names & refuses
    assert line.subscriptions.pending == []
    assert all(at == str(depth) for subscription, at in server.live.items() if subscription.channel == "book")
    times_s = [time_s for time_s, _ in line.sent]
    gaps_s = [later - earlier for earlier, later in pairwise(times_s)]
    assert all(gap_s > 0.99 / LIMITS.requests_per_s for gap_s in gaps_s)


def test_two_hundred_symbols_are_live_within_the_allowed_rate() -> None:
    line = Line()
    names = [f"S{number}" for number in range(200)]
    line.want(*names)
    line.run(60)
    assert len(line.subscriptions.live) == 200
    assert len(line.sent) == math.ceil(200 / LIMITS.symbols_per_request) * 2
