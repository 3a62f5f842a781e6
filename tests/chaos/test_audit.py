"""The judges of the gateway's rows find every kind of wrong count, lost message and wrong peak; each is planted here."""

import signal
from collections import Counter

import pytest
from msgspec.structs import replace

from chaos.audit import Diaries, Kill, judge_peak, judge_resumes, judge_split, judge_usage
from chaos.rows import Row
from chaos.subscribers import Entry, Plan
from ssmd.clock import NS_PER_S
from ssmd.gateway.audit import WINDOW_S

PLAN = Plan("c0", "c0", "key", ("BTCUSD",), ("trade",))
OTHER = Plan("c1", "c1", "key", ("BTCUSD",), ("trade",), client_type="trading")
SERIES = "kraken/trade/BTCUSD"
KILLED_NS = 100 * NS_PER_S


def message(pos: int, at_s: float) -> Entry:
    return Entry("message", int(at_s * NS_PER_S), f"id-{pos}", SERIES, pos)


def diary() -> list[Entry]:
    """Four messages before a kill, the last one of them within the window, and two behind it."""
    return [
        Entry("opened", 90 * NS_PER_S, "s-1", pos=10),
        *(message(pos, at_s) for pos, at_s in ((11, 91), (12, 92), (14, 93), (15, 99.5))),
        Entry("closed", KILLED_NS),
        Entry("opened", 102 * NS_PER_S, "s-2", pos=17),
        *(message(pos, at_s) for pos, at_s in ((17, 103), (18, 104))),
        Entry("closed", 105 * NS_PER_S, code=1000),
    ]


STREAM = {SERIES: [(pos, f"id-{pos}") for pos in (9, 10, 11, 12, 14, 15, 17, 18, 20)]}


def found(entries: list[Entry] | None = None, **others: list[Entry]) -> Diaries:
    plans = [PLAN, *([OTHER] if others else [])]
    kills = (Kill(KILLED_NS, signal.SIGKILL),)
    return Diaries(plans, {"c0": diary() if entries is None else entries, **others}, kills)


@pytest.fixture
def row() -> Row:
    return Row("planted", 0)


@pytest.mark.parametrize(("counted", "is_well"), [(7, False), (6, True), (5, True), (4, False)])
def test_only_the_window_before_a_kill_may_be_missing_and_nothing_counts_twice(row, counted, is_well):
    assert WINDOW_S == 1.0
    judge_usage(row, found(), Counter({("c0", SERIES): counted}), Counter())
    assert (not row.missed) is is_well


def test_usage_of_a_series_that_nobody_got_is_found(row):
    judge_usage(row, found(), Counter({("c0", SERIES): 6, ("c0", "kraken/trade/ETHUSD"): 1}), Counter())
    assert row.missed


def test_exactly_the_streams_messages_are_well(row):
    judge_resumes(row, found(), STREAM)
    assert not row.missed


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        (lambda entries: entries.pop(2), "lost"),
        (lambda entries: entries.insert(7, entries[4]), "repeated"),
        (lambda entries: entries.insert(3, message(13, 92.5)), "strange"),
        (lambda entries: entries.__setitem__(slice(1, 3), entries[2:0:-1]), "out_of_order"),
    ],
)
def test_a_lost_a_repeated_a_strange_and_a_misplaced_message_are_found(row, damage, name):
    entries = diary()
    damage(entries)
    judge_resumes(row, found(entries), STREAM)
    assert any(name in problem for problem in row.missed)


def test_a_client_that_was_not_told_to_come_back_is_found(row):
    ended = found()
    judge_resumes(row, replace(ended, kills=(Kill(95 * NS_PER_S, signal.SIGTERM),)), STREAM)
    assert any("told_to_come_back" in problem for problem in row.missed)


NOBODY = {"display": 0, "non-display": 0, "trading": 0}
OTHERS = [Entry("opened", 91 * NS_PER_S, "s-3", pos=10), Entry("closed", 92 * NS_PER_S, code=1000)]


@pytest.mark.parametrize(("peak", "types"), [(1, {"display": 1}), (2, {"display": 2}), (3, {"display": 3})])
def test_a_wrong_peak_is_found(row, peak, types):
    judge_peak(row, found(c1=OTHERS), {"peak": peak, "at": "", "by_type": NOBODY | types})
    assert row.missed


def test_a_right_peak_is_well(row):
    judge_peak(row, found(c1=OTHERS), {"peak": 2, "at": "", "by_type": NOBODY | {"display": 1, "trading": 1}})
    assert not row.missed


@pytest.mark.parametrize(("messages", "clients", "is_well"), [(5, 1, True), (6, 1, False), (5, 2, False)])
def test_a_wrong_split_is_found(row, messages, clients, is_well):
    told = Counter({"display": messages}), Counter({"display": clients})
    judge_split(row, found(), Counter({("c0", SERIES): 5}), told)
    assert (not row.missed) is is_well
