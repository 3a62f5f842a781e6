"""What `ssmd tail` says while nothing comes."""

import pytest
import trio

from ssmd.cli.tailing import Tail, _print_or_wonder
from ssmd.client import Connection

QUIET = Tail(("DOTUSD",), "", "", None, stats=False, feed="")


class Messages:
    """A subscription whose first message takes a while."""

    def __init__(self, after_s: float) -> None:
        self._left_s = [after_s, 20.0]

    async def batch(self) -> list[Connection]:
        if not self._left_s:
            return []
        await trio.sleep(self._left_s.pop(0))
        return [Connection("resumed")]


@pytest.mark.parametrize(("after_s", "wonders"), [(1.0, False), (8.0, True)])
async def test_a_symbol_that_says_nothing_at_first_is_told_once(autojump_clock, capsys, after_s, wonders):
    """Mutant: wait without a word, as for a symbol that nobody captures."""
    await _print_or_wonder(Messages(after_s), "table", QUIET)
    shown = capsys.readouterr()
    assert shown.err.count("ssmd get gaps DOTUSD") == wonders
    assert len(shown.out.splitlines()) == 2
