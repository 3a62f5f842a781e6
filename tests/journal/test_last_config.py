import pytest
from msgspec.structs import replace

from ssmd.journal import LastConfig
from ssmd.journal.last_config import FILE
from ssmd.records import FeedConfig, SymbolSpec

DEFINED = FeedConfig(symbols=(SymbolSpec("BTC/USD", "BTCUSD"),))
LIVE = replace(DEFINED, symbols=(*DEFINED.symbols, SymbolSpec("ETH/USD", "ETHUSD")), revision=7)


def test_what_was_taken_last_is_in_force_after_a_restart(tmp_path):
    LastConfig(tmp_path, DEFINED).save(LIVE)
    assert LastConfig(tmp_path, DEFINED).load() == LIVE


def test_without_one_the_file_counts(tmp_path):
    assert LastConfig(tmp_path, DEFINED).load() == DEFINED


def test_a_file_that_was_changed_since_is_newer_than_what_was_live(tmp_path):
    LastConfig(tmp_path, DEFINED).save(LIVE)
    changed = replace(DEFINED, book_depth=25)
    assert LastConfig(tmp_path, changed).load() == changed


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"defined":1,"taken":2}'])
def test_one_that_cannot_be_read_is_none(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    assert LastConfig(tmp_path, DEFINED).load() == DEFINED
