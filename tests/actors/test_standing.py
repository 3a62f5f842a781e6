from msgspec.structs import replace

from ssmd.actors.report import RefusedSymbol
from ssmd.actors.standing import SlotState, Standing
from ssmd.bus.base import KvEntry
from ssmd.records import FeedConfig
from tests.actors.fakes import BTC, ETH, SOL

CONFIG = FeedConfig(symbols=(BTC, ETH, SOL), shards=2)


def applied(version: int, revision: int, **fields: object) -> SlotState:
    return SlotState(version, replace(CONFIG, revision=revision), **fields)


def test_before_any_session_everything_is_pending_under_the_file():
    stand = Standing(CONFIG).cell.get()
    assert sorted(symbol for slot in stand.slots for symbol in slot.pending) == ["BTCUSD", "ETHUSD", "SOLUSD"]
    assert stand.in_force == CONFIG


def test_in_force_is_only_what_every_session_has_applied():
    standing = Standing(CONFIG)
    standing.tell(0, applied(2, 7))
    assert standing.cell.get().in_force.revision == 0
    standing.tell(1, applied(2, 7))
    assert standing.cell.get().in_force.revision == 7
    standing.tell(1, applied(3, 8))
    assert standing.cell.get().in_force.revision == 7


def test_a_revision_that_begins_anew_is_in_force_only_when_every_session_has_it():
    """Mutant: the smallest revision; one session of two was then enough for a bucket that was made again."""
    standing = Standing(CONFIG)
    standing.tell(0, applied(2, 57))
    standing.tell(1, applied(2, 57))
    standing.tell(0, applied(3, 1))
    assert standing.cell.get().in_force.revision == 57
    standing.tell(1, applied(3, 1))
    assert standing.cell.get().in_force.revision == 1


def test_a_session_without_connection_keeps_its_revision_and_waits_for_its_symbols():
    standing = Standing(FeedConfig(symbols=(BTC, ETH)))
    config = FeedConfig(symbols=(BTC, SOL), revision=3)
    standing.tell(0, SlotState(2, config, ("BTCUSD",), (), (RefusedSymbol("SOLUSD", "no"),)))
    standing.lose(0)
    assert standing.cell.get().slots == (SlotState(2, config, (), ("BTCUSD", "SOLUSD")),)


def test_the_same_again_wakes_nobody():
    standing = Standing(CONFIG)
    standing.tell(0, applied(2, 7))
    version = standing.cell.version
    standing.tell(0, applied(2, 7))
    standing.accept()
    assert standing.cell.version == version


def test_a_refused_value_stays_until_a_good_one_is_accepted_and_its_reason_is_one_short_line():
    standing = Standing(CONFIG, lambda: 123)
    standing.refuse(KvEntry("k", b"x", 4), "bad\n" + "y" * 500)
    refused = standing.cell.get().refused_config
    assert (refused.revision, refused.refused_ns, len(refused.reason)) == (4, 123, 161)
    assert refused.reason.startswith("bad y")
    standing.tell(0, applied(2, 7))
    assert standing.cell.get().refused_config == refused
    standing.accept()
    assert standing.cell.get().refused_config is None
