"""Environment files for the tests: places in them are marked with «name», so that no test counts lines by hand."""

import re
from pathlib import Path
from typing import Final

from ssmd.environment.catalog import FeedFacts
from ssmd.environment.load import Inspection, inspect
from ssmd.environment.source import Source, parse

_MARK: Final = re.compile("«([a-z0-9 ]*)»")


def _spell(name: str) -> str:
    return name.upper().replace("XBT", "BTC").replace("XDG", "DOGE").replace("-", "/")


CATALOG: Final = {
    "kraken": FeedFacts(
        frozenset({"BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "DOGE/USD", "AVAX/USD"}),
        "a list made for the tests",
        _spell,
        max_book_depth=100,
        normalizers=("v1", "v2"),
    ),
    "coinbase": FeedFacts(frozenset({"BTC-USD", "ETH-USD"}), "another list", str.upper),
}

MINE: Final = """\
# yaml-language-server: $schema=schema.json
# Everything has a comment.
apiVersion: ssmd/v1
kind: Environment   # of ssmd
metadata:
  name: mine        # also the file's name

spec:
  # what is captured
  feeds:
    # the first exchange
    kraken:         # no key needed
      enabled: true # for now
      symbols:      # three of them
        # the big one
        - name: BTC/USD    # what they call it
          internal: BTCUSD # what we call it
          depth: l2        # books too

        # the second one
        - name: "ETH/USD"
          internal: 'ETHUSD'
          depth: l1
        - {name: SOL/USD, internal: SOLUSD, depth: l1} # in one line
        # the end of the symbols
      book_depth: 25 # levels

  storage:
    raw: {bucket: ssmd-mine-raw, retention_days: -1} # forever
    normalized:
      bucket: ssmd-mine-normalized
      retention_days: 30

  # who may read
  entitlements:
    - client_id: bot # the bot
      type: trading
      feeds: [kraken]
      symbols: [BTCUSD, ETHUSD] # no more

    # people
    - client_id: people
      name: "The people"
      type: display
      feeds: [kraken]
      symbols: ["*"]
    # the end of the clients
"""
"""An environment with a comment at every kind of place, in three styles."""


def unmarked(text: str) -> tuple[str, dict[str, tuple[int, int]]]:
    """Return a text without its marks, and for each mark the line and column of what stands behind it."""
    places: dict[str, tuple[int, int]] = {}
    clean = ""
    at = 0
    for mark in _MARK.finditer(text):
        clean += text[at : mark.start()]
        places[mark[1]] = (clean.count("\n") + 1, len(clean) - clean.rfind("\n"))
        at = mark.end()
    return clean + text[at:], places


def place_of(text: str, part: str) -> tuple[int, int]:
    """Return the line and column at which a part begins that stands in a text once."""
    assert text.count(part) == 1, f"{part!r} stands there {text.count(part)} times"
    before = text[: text.index(part)]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def inspected(text: str | bytes, path: Path | str = "/nosuch/mine.yaml") -> Inspection:
    return inspect(Path(path), text if isinstance(text, bytes) else text.encode(), CATALOG)


def source_of(text: str) -> Source:
    return parse(text.encode(), "mine.yaml")


def codes(inspection: Inspection) -> list[str]:
    return [problem.code for problem in inspection.problems]
