"""The rule behind a minute's status, and the fold behind its figures."""

from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmd import __version__
from ssmd.clock import NS_PER_MINUTE, NS_PER_S
from ssmd.errors import BadRecord
from ssmd.protocols import quality
from ssmd.protocols.coverage import Gap
from ssmd.protocols.manifest import Manifest
from ssmd.protocols.outcome import Counts
from ssmd.protocols.quality import (
    STATUSES,
    Figures,
    MinuteFold,
    Source,
    Span,
    Tally,
    added,
    judge,
    ledger_record,
    touches,
    worst,
)
from ssmd.records import Record

MINUTE = 1_765_029_600 * NS_PER_S
END = MINUTE + NS_PER_MINUTE
GOOD = Figures(frames=10, checksums_verified=5)
WHO = Source("0.1.0", "unknown")


def manifest(frames: int = 10, gaps: tuple[Gap, ...] = ()) -> Manifest:
    return Manifest("k", "kraken", "w", MINUTE, frames, 2, 100, 50, "aa", None, None, None, gaps, ("BTCUSD",))


@pytest.mark.parametrize(
    ("figures", "gaps", "status", "reasons"),
    [
        (GOOD, (), "verified", ()),
        (Figures(frames=10), (), "unverifiable", ("unproven",)),
        (Figures(frames=10, checksums_verified=5, checksums_failed=1), (), "suspect", ("checksum",)),
        (Figures(frames=10, checksums_verified=5, rejects={"bad_time": 1}), (), "suspect", ("rejected",)),
        (Figures(frames=10, checksums_verified=5, trade_id_gaps=1), (), "suspect", ("trade_ids",)),
        (GOOD, (Gap(MINUTE, MINUTE + 5, "checksum", ("BTCUSD",)),), "suspect", ("checksum",)),
        (GOOD, (Gap(MINUTE, MINUTE + 5, "silent", ("BTCUSD",)),), "missing", ("silent",)),
        (GOOD, (Gap(MINUTE, MINUTE + 5, "a word nobody knew", ("BTCUSD",)),), "missing", ("a word nobody knew",)),
        (Figures(), (Gap(MINUTE, None, "reset", ("A",)), Gap(MINUTE, None, "checksum", ("B",))), "missing", ("checksum", "reset")),
    ],
)  # fmt: skip
def test_the_worst_that_is_known_is_the_status(figures, gaps, status, reasons):
    assert judge(figures, gaps, MINUTE) == (status, reasons)


@pytest.mark.parametrize(
    ("from_ns", "to_ns", "does"),
    [
        (MINUTE - 5, MINUTE, False),
        (MINUTE - 5, MINUTE + 1, True),
        (MINUTE, MINUTE, True),
        (END - 1, END + 5, True),
        (END, END + 5, False),
        (END, END, False),
        (MINUTE - 5, None, True),
        (END, None, False),
    ],
)
def test_a_gap_touches_the_minutes_that_it_reaches_into(from_ns, to_ns, does):
    assert touches(Gap(from_ns, to_ns, "reset", ()), MINUTE, END) is does


def test_the_worst_of_several_counts_in_any_order():
    for some in permutations(STATUSES, 2):
        assert worst(some) == max(some, key=STATUSES.index)
    assert worst(()) == "verified"


def test_another_count_of_frames_than_the_manifest_makes_it_suspect():
    record = ledger_record("v1", manifest(frames=11), Tally(GOOD, ()), WHO)
    assert (record.status, record.reasons) == ("suspect", ("frames",))
    assert ledger_record("v1", manifest(), Tally(GOOD, ()), WHO).status == "verified"


def test_a_fold_counts_what_grew_since_it_began():
    counts = Counts(frames=5, trades=2, rejected={"bad_time": 1}, messages={"ETHUSD": 4})
    fold = MinuteFold(counts)
    for conn, seq in (("b-0-1", 7), ("a-0-1", 3), ("b-0-1", 8), ("unreadable", 0)):
        fold.take(conn, seq)
    fold.reject_event("trade")
    counts.frames, counts.trades, counts.books_published = 8, 4, 3
    counts.rejected["bad_time"] = 3
    counts.messages["BTCUSD"] = 1
    tally = fold.tally(counts)
    assert tally.connections == (Span("a-0-1", 3, 3), Span("b-0-1", 7, 8))
    figures = tally.figures
    assert (figures.frames, figures.events) == (3, {"trade": 1, "quote": 0, "book": 3})
    assert (figures.rejects, figures.messages) == ({"bad_time": 2, "not_encodable": 1}, {"BTCUSD": 1})


def test_records_taken_together_span_what_they_span_one_by_one():
    records = [Record(seq, conn, seq, "{}") for seq, conn in enumerate("abba-cab")]
    together, alone = MinuteFold(Counts()), MinuteFold(Counts())
    for record in records:
        alone.take(record.conn, record.seq)
    for at in range(0, len(records), 3):
        together.take_all(records[at : at + 3])
    assert together.tally(Counts()) == alone.tally(Counts())


names = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 9))
figures_of = st.builds(Figures, frames=st.integers(0, 9), rejects=names, messages=names, desyncs=st.integers(0, 9))


@given(st.lists(figures_of, max_size=4))
def test_figures_of_parts_add_up(parts):
    total = added(parts)
    assert total.frames == sum(part.frames for part in parts)
    assert sum(total.rejects.values()) == sum(sum(part.rejects.values()) for part in parts)


def test_equal_records_are_equal_bytes_and_come_back():
    one = ledger_record("v1", manifest(), Tally(Figures(messages={"A": 1, "B": 2}), ()), WHO)
    two = ledger_record("v1", manifest(), Tally(Figures(messages={"B": 2, "A": 1}), ()), WHO)
    assert quality.encode(one) == quality.encode(two)
    assert quality.decode_record(quality.encode(one)) == one


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b"[" * 2000])
def test_what_is_no_record_is_bad_input(text):
    with pytest.raises(BadRecord):
        quality.decode_record(text)
    with pytest.raises(BadRecord):
        quality.decode_tally(text)


class Package:
    def __init__(self, version: str, direct_url: object = None) -> None:
        self.version = version
        self._direct_url = direct_url

    def read_text(self, _name: str) -> str | None:
        return None if self._direct_url is None else msgspec.json.encode(self._direct_url).decode()


@pytest.mark.parametrize(
    ("package", "commit"),
    [
        (Package("0.1.0"), "unknown"),
        (Package("0.1.0", {"url": "file:///src", "dir_info": {"editable": True}}), "unknown"),
        (Package("0.1.0", {"url": "git+https://x", "vcs_info": {"vcs": "git", "commit_id": "a" * 40}}), "a" * 40),
        (Package("0.1.0", {"vcs_info": {"commit_id": "no commit"}}), "unknown"),
        (Package("0.1.0", {"vcs_info": 7}), "unknown"),
        (Package("0.1.0+g1a2b3c4d"), "1a2b3c4d"),
    ],
)
def test_the_commit_is_told_only_where_the_installed_package_knows_it(package, commit, monkeypatch):
    monkeypatch.setattr(quality.metadata, "distribution", lambda _name: package)
    quality.source.cache_clear()
    assert quality.source() == Source(__version__, commit)
    quality.source.cache_clear()
