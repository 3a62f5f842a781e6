from hypothesis import given
from hypothesis import strategies as st

from ssmd.protocols.coverage import CRASH, REFUSED, Coverage, Gap
from ssmd.records import (
    Configured,
    Connected,
    Disconnected,
    FeedConfig,
    Live,
    Lost,
    Note,
    Predecessor,
    Record,
    Refused,
    Resync,
    SymbolSpec,
)

FOREVER = (0, 10**12)


def wants(*symbols: str, enabled: bool = True) -> Configured:
    return Configured(FeedConfig(tuple(SymbolSpec(symbol.lower(), symbol) for symbol in symbols), enabled=enabled))


class Story:
    """Writes notes at given times, numbering each connection's records."""

    def __init__(self) -> None:
        self.coverage = Coverage()
        self.seqs: dict[str, int] = {}

    def at(self, recv_ns: int, conn: str, *notes: Note) -> None:
        for note in notes:
            seq = self.seqs.get(conn, 0)
            self.seqs[conn] = seq + 1
            self.coverage.note(Record(recv_ns, conn, seq, note=note))

    def gaps(self, from_ns: int = FOREVER[0], to_ns: int = FOREVER[1]) -> tuple[Gap, ...]:
        return self.coverage.gaps_between(from_ns, to_ns)


def live_story(*symbols: str, at: int = 100, conn: str = "a") -> Story:
    story = Story()
    story.at(at, conn, Connected("wss://x"), wants(*symbols), Live(symbols))
    return story


def after(conn: str, recv_ns: int) -> Connected:
    return Connected("wss://x", Predecessor(conn, 9, recv_ns))


def test_what_is_live_has_no_gap() -> None:
    assert live_story("BTC", "ETH").gaps() == ()


def test_a_symbol_has_no_gap_before_its_first_live() -> None:
    story = live_story("BTC")
    story.at(200, "a", wants("BTC", "SOL"))
    assert story.gaps() == ()
    story.at(300, "a", Live(("SOL",)))
    assert story.gaps() == ()


def test_a_disconnect_opens_a_gap_at_the_last_frame_for_what_was_wanted() -> None:
    """Mutant: only for what was live; frames come as soon as the first of a symbol's channels is acknowledged."""
    story = live_story("BTC", "ETH")
    story.at(200, "a", wants("BTC", "ETH", "SOL"))
    story.at(500, "a", Disconnected("silent", last_frame_ns=450))
    assert story.gaps() == (Gap(450, None, "silent", ("BTC", "ETH", "SOL")),)


def test_a_refused_symbol_stays_refused_over_a_disconnect() -> None:
    story = live_story("BTC")
    story.at(200, "a", wants("BTC", "ETH"))
    story.at(300, "a", Refused("ETH", "book", "EQuery:Unknown asset pair"))
    story.at(500, "a", Disconnected("reset", last_frame_ns=450))
    assert story.gaps() == (Gap(300, None, "refused", ("ETH",)), Gap(450, None, "reset", ("BTC",)))


def test_a_disconnect_without_a_frame_opens_the_gap_at_its_own_time() -> None:
    story = live_story("BTC")
    story.at(500, "a", Disconnected("closed"))
    assert story.gaps() == (Gap(500, None, "closed", ("BTC",)),)


def test_each_symbol_is_covered_again_from_its_own_live() -> None:
    story = live_story("BTC", "ETH")
    story.at(500, "a", Disconnected("closed", last_frame_ns=450))
    story.at(600, "b", after("a", 450), wants("BTC", "ETH"), Live(("ETH",)))
    story.at(700, "b", Live(("BTC",)))
    assert story.gaps() == (Gap(450, 600, "closed", ("ETH",)), Gap(450, 700, "closed", ("BTC",)))


def test_failed_attempts_leave_one_open_gap() -> None:
    story = live_story("BTC")
    story.at(500, "a", Disconnected("closed", last_frame_ns=450))
    story.at(600, "b", after("a", 450), wants("BTC"), Disconnected("no_ack", last_frame_ns=590))
    story.at(700, "c", after("b", 590), wants("BTC"))
    assert story.gaps() == (Gap(450, None, "closed", ("BTC",)),)
    story.at(800, "c", Live(("BTC",)))
    assert story.gaps() == (Gap(450, 800, "closed", ("BTC",)),)


def test_a_predecessor_that_never_said_goodbye_crashed_at_its_last_record() -> None:
    story = live_story("BTC", "ETH")
    story.at(900, "b", after("a", 480), wants("BTC", "ETH"), Live(("BTC", "ETH")))
    assert story.gaps() == (Gap(480, 900, CRASH, ("BTC", "ETH")),)


def test_a_predecessor_that_said_goodbye_did_not_crash() -> None:
    story = live_story("BTC")
    story.at(500, "a", Disconnected("drain", last_frame_ns=450))
    story.at(900, "b", after("a", 499), wants("BTC"))
    assert story.gaps() == (Gap(450, None, "drain", ("BTC",)),)


def test_an_unknown_predecessor_opens_nothing() -> None:
    story = Story()
    story.at(900, "b", after("zzz", 480), wants("BTC"), Live(("BTC",)))
    assert story.gaps() == ()


def test_a_refused_symbol_has_an_open_gap_until_it_is_live() -> None:
    story = Story()
    story.at(100, "a", Connected("wss://x"), wants("BTC", "XBT"), Refused("XBT", "book", "pair not supported XBT/USD"))
    story.at(110, "a", Refused("XBT", "trade", "pair not supported XBT/USD"), Live(("BTC",)))
    assert story.gaps() == (Gap(100, None, REFUSED, ("XBT",)),)
    story.at(700, "a", Live(("XBT",)))
    assert story.gaps() == (Gap(100, 700, REFUSED, ("XBT",)),)


def test_a_symbol_refused_after_a_reconnect_is_missing_for_that_reason_from_then_on() -> None:
    story = live_story("BTC")
    story.at(500, "a", Disconnected("closed", last_frame_ns=450))
    story.at(600, "b", after("a", 450), wants("BTC"), Refused("BTC", "book", "no"))
    assert story.gaps() == (Gap(450, 600, "closed", ("BTC",)), Gap(600, None, REFUSED, ("BTC",)))


def test_a_resync_is_a_gap_since_the_book_went_wrong_for_that_symbol_alone() -> None:
    story = live_story("BTC", "ETH")
    story.at(500, "a", Resync("BTC", "checksum", 480))
    assert story.gaps() == (Gap(480, None, "checksum", ("BTC",)),)
    story.at(600, "a", Live(("BTC",)))
    assert story.gaps() == (Gap(480, 600, "checksum", ("BTC",)),)


def test_a_resync_before_the_first_live_is_no_gap() -> None:
    story = live_story("BTC")
    story.at(500, "a", wants("BTC", "SOL"), Resync("SOL", "checksum", 490))
    assert story.gaps() == ()


def test_a_second_resync_goes_on_with_the_open_gap() -> None:
    story = live_story("BTC")
    story.at(500, "a", Resync("BTC", "checksum", 480), Resync("BTC", "sequence", 495))
    assert story.gaps() == (Gap(480, None, "checksum", ("BTC",)),)


def test_a_connection_that_ended_can_neither_open_nor_close_anything() -> None:
    story = live_story("BTC")
    story.at(500, "a", Disconnected("closed", last_frame_ns=450), Live(("BTC",)), Refused("ETH", "book", "no"))
    assert story.gaps() == (Gap(450, None, "closed", ("BTC",)),)
    story.coverage.forget(500)
    story.at(500, "a", Live(("BTC",)))
    assert story.gaps() == (Gap(450, None, "closed", ("BTC",)),)


def test_a_disconnect_during_a_resync_goes_on_under_its_own_reason() -> None:
    story = live_story("BTC")
    story.at(500, "a", Resync("BTC", "checksum", 480))
    story.at(600, "a", Disconnected("silent", last_frame_ns=550))
    story.at(700, "b", after("a", 550), wants("BTC"), Live(("BTC",)))
    assert story.gaps() == (Gap(480, 550, "checksum", ("BTC",)), Gap(550, 700, "silent", ("BTC",)))


def test_removing_a_symbol_closes_its_open_gap() -> None:
    story = live_story("BTC", "ETH")
    story.at(500, "a", Resync("BTC", "checksum", 480))
    story.at(550, "a", wants("ETH"))
    assert story.gaps() == (Gap(480, 550, "checksum", ("BTC",)),)
    story.at(600, "a", Disconnected("closed", last_frame_ns=590))
    assert story.gaps()[1:] == (Gap(590, None, "closed", ("ETH",)),)


def test_removing_a_symbol_while_nothing_is_connected_closes_its_gap_at_the_next_connect() -> None:
    story = live_story("BTC", "ETH")
    story.at(500, "a", Disconnected("closed", last_frame_ns=450))
    story.at(600, "b", after("a", 450), wants("ETH"))
    assert story.gaps() == (Gap(450, 600, "closed", ("BTC",)), Gap(450, None, "closed", ("ETH",)))


def test_disabling_a_feed_wants_nothing_and_opens_no_gap() -> None:
    story = live_story("BTC")
    story.at(500, "a", wants("BTC", enabled=False), Disconnected("not_wanted", last_frame_ns=490))
    assert story.gaps() == ()


def test_shards_are_separate() -> None:
    story = live_story("BTC")
    story.at(100, "s", Connected("wss://x"), wants("ETH"), Live(("ETH",)))
    story.at(500, "a", Disconnected("closed", last_frame_ns=450))
    story.at(510, "s", wants("ETH", "SOL"))
    assert story.gaps() == (Gap(450, None, "closed", ("BTC",)),)


def test_a_symbol_that_moved_to_another_connection_is_covered_there() -> None:
    story = live_story("BTC", "ETH")
    story.at(200, "s", Connected("wss://x"), wants("ETH"), Live(("ETH",)))
    story.at(500, "a", Disconnected("closed", last_frame_ns=450))
    assert story.gaps() == (Gap(450, None, "closed", ("BTC",)),)


def test_something_lost_marks_that_moment_for_what_was_live() -> None:
    story = live_story("BTC", "ETH")
    story.at(500, "a", Lost("disk_full", 17))
    assert story.gaps() == (Gap(500, 500, "disk_full", ("BTC", "ETH")),)


def test_a_span_shows_what_ended_in_it_or_is_still_open_and_nothing_older_or_later() -> None:
    story = live_story("BTC", at=10)
    story.at(100, "a", Resync("BTC", "checksum", 90))
    story.at(150, "a", Live(("BTC",)))
    story.at(250, "a", Resync("BTC", "checksum", 190))
    assert story.gaps(0, 100) == (Gap(90, 150, "checksum", ("BTC",)),)
    assert story.gaps(200, 300) == (Gap(190, None, "checksum", ("BTC",)),)
    assert story.gaps(0, 50) == ()


def test_a_gap_that_is_noted_late_is_told_in_the_span_of_the_note() -> None:
    story = live_story("BTC", at=10)
    story.at(150, "a", Resync("BTC", "checksum", 140))
    story.at(210, "a", Disconnected("silent", last_frame_ns=199))
    assert story.gaps(200, 300) == (Gap(140, 199, "checksum", ("BTC",)), Gap(199, None, "silent", ("BTC",)))


def test_forgetting_keeps_what_is_open_and_what_is_live() -> None:
    story = live_story("BTC", "ETH")
    story.at(200, "a", Resync("BTC", "checksum", 190))
    story.at(300, "a", Live(("BTC",)), Resync("ETH", "checksum", 290))
    story.coverage.forget(1000)
    assert story.gaps() == (Gap(290, None, "checksum", ("ETH",)),)
    story.at(2000, "a", Disconnected("closed", last_frame_ns=1990))
    assert Gap(1990, None, "closed", ("BTC", "ETH")) in story.gaps()


def test_a_year_of_daily_reconnects_takes_no_more_memory_than_a_day() -> None:
    story = live_story("BTC", "ETH", conn="0", at=1)
    sizes = []
    for day in range(1, 366):
        story.at(day * 1000, str(day - 1), Disconnected("closed", last_frame_ns=day * 1000 - 10))
        story.at(day * 1000 + 50, str(day), after(str(day - 1), 0), wants("BTC", "ETH"), Live(("BTC", "ETH")))
        story.coverage.forget(day * 1000)
        sizes.append(len(story.coverage.state()))
    assert max(sizes) < 2 * sizes[0]


def test_frames_say_nothing() -> None:
    coverage = Coverage()
    coverage.note(Record(1, "a", 0, frame="{}"))
    assert coverage.state() == Coverage().state()


SYMBOLS = ("BTC", "ETH", "SOL")
CONNS = ("a", "b", "c")
NOTES = st.one_of(
    st.sets(st.sampled_from(SYMBOLS)).map(lambda symbols: wants(*symbols)),
    st.sets(st.sampled_from(SYMBOLS)).map(lambda symbols: Live(tuple(symbols))),
    st.sampled_from(SYMBOLS).map(lambda symbol: Refused(symbol, "book", "no")),
    st.builds(Resync, st.sampled_from(SYMBOLS), st.just("checksum"), st.integers(0, 500)),
    st.builds(Disconnected, st.sampled_from(["closed", "silent"]), st.just(""), st.integers(0, 500)),
    st.just(Lost("disk_full")),
    st.sampled_from(CONNS).map(lambda conn: after(conn, 100)),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    """Any notes of three connections, good sense or not, in the order of a journal."""
    records, seqs, recv_ns = [], dict.fromkeys(CONNS, 0), 0
    for conn, note, pause_ns in draw(
        st.lists(st.tuples(st.sampled_from(CONNS), NOTES, st.integers(0, 50)), max_size=40)
    ):
        recv_ns += pause_ns
        records.append(Record(recv_ns, conn, seqs[conn], note=note))
        seqs[conn] += 1
    return records


def folded(records: list[Record], start: Coverage | None = None) -> Coverage:
    coverage = start or Coverage()
    for record in records:
        coverage.note(record)
    return coverage


@given(records=histories(), cut=st.integers(0, 40))
def test_a_saved_state_goes_on_exactly_where_it_stopped(records: list[Record], cut: int) -> None:
    whole = folded(records)
    resumed = folded(records[cut:], Coverage(folded(records[:cut]).state()))
    assert resumed.state() == whole.state()
    assert resumed.gaps_between(*FOREVER) == whole.gaps_between(*FOREVER)


@given(records=histories(), data=st.data())
def test_records_seen_again_change_nothing(records: list[Record], data: st.DataObject) -> None:
    again: list[Record] = []
    for at, record in enumerate(records):
        again += [record, *data.draw(st.lists(st.sampled_from(records[: at + 1]), max_size=3))]
    assert folded(again).state() == folded(records).state()


@given(records=histories())
def test_gaps_are_well_formed_and_a_symbol_has_at_most_one_open(records: list[Record]) -> None:
    gaps = folded(records).gaps_between(*FOREVER)
    assert all(gap.to_ns is None or gap.from_ns <= gap.to_ns for gap in gaps)
    assert all(gap.symbols == tuple(sorted(set(gap.symbols))) and gap.symbols for gap in gaps)
    open_symbols = [symbol for gap in gaps if gap.to_ns is None for symbol in gap.symbols]
    assert len(open_symbols) == len(set(open_symbols))
    assert len({(gap.from_ns, gap.to_ns, gap.reason) for gap in gaps}) == len(gaps)


@given(records=histories())
def test_what_stops_being_live_is_in_a_gap_unless_it_is_no_longer_wanted(records: list[Record]) -> None:
    coverage = Coverage()
    for record in records:
        before = live_in(coverage)
        coverage.note(record)
        stopped = before - live_in(coverage)
        assert isinstance(record.note, Configured) or stopped <= set(coverage._state.open)


def live_in(coverage: Coverage) -> set[str]:
    return {symbol for connection in coverage._state.connections.values() for symbol in connection.live}


def test_what_is_wanted_is_what_connections_capture_and_what_open_gaps_miss() -> None:
    story = live_story("A", "B")
    assert story.coverage.wanted() == ("A", "B")
    story.at(200, "a", Disconnected("reset", "", 190))
    assert story.coverage.wanted() == ("A", "B")
    assert Coverage(story.coverage.state()).wanted() == ("A", "B")
    story.at(300, "b", after("a", 200), wants("B"))
    assert story.coverage.wanted() == ("B",)
    story.at(400, "b", wants(enabled=False))
    assert story.coverage.wanted() == ()
