"""A thousand random edits, legal, odd and illegal, under the rule of the command line: an invalid result is refused."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import pytest

from ssmd.environment.changes import Draft, put_symbol, remove_symbol, set_enabled
from ssmd.environment.clients import Client, Grant, add_client, entitle, remove_client, revoke
from ssmd.environment.diff import differences
from ssmd.environment.load import Inspection, inspect
from ssmd.environment.promote import promote
from ssmd.errors import ConfigError
from tests.environment.sample import CATALOG, MINE
from tests.environment.test_changes import FLOW

STEPS: Final = 1_000
T = TypeVar("T")

# what there is to choose from: what is legal stands first, and is chosen more often

FEEDS = ["kraken", "kraken", "coinbase", "bitstamp", "no", "", "a b"]
NAMES = [
    "BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "DOGE/USD", "AVAX/USD", "XBT/USD", "BTC-USD", "ETH-USD", "BTCUSD", "",
    "no", "a: b", "# x", "x\ny", "BTC/USD ", "é", "💥", "\udcff", "'", '"', "[", "B" * 40, "-1", "null",
]  # fmt: skip
SYMBOLS = [None, None, None, "BTCUSD", "ETHUSD", "A_B-C", "NO", "1E3", "010", "btc", "", "x y", "A\0", "*"]
CLIENTS = ["bot", "people", "c1", "c2", "no", "010", "a b", "", "x\x1b", "*", "1e3"]
GLOBS = ["*", "BTC*", "BTCUSD", "ETHUSD", "NOPE", "no", "NO", "[A]", "", "B?C"]
TYPES = ["display", "non-display", "trading", "admin", ""]
DATA_TYPES = [(), (), ("trade",), ("trade", "book"), ("trades",)]
EXPIRIES = [None, None, "2027-01-31", "2027-01-31T12:00Z", "2027-02-30", "soon"]


class Operator:
    """Two files and whoever edits them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.texts = {"mine": MINE, "flow": FLOW.replace("mine", "flow")}
        self.outcomes: Counter[str] = Counter()

    def step(self) -> None:
        name = self._random.choice(list(self.texts))
        before = inspected(name, self.texts[name])
        draft = Draft(before.source, before.root)
        try:
            what = self._edit(draft, before)
        except ConfigError:
            self.outcomes["refused by the edit"] += 1
            return
        after = inspected(name, draft.text)
        if after.problems:
            self.outcomes["refused as invalid"] += 1
            return
        self.outcomes[what] += 1
        self.texts[name] = draft.text

    def _pick(self, choices: Sequence[T]) -> T:
        return choices[int(len(choices) * self._random.random() ** 2.5)]

    def _edit(self, draft: Draft, before: Inspection) -> str:
        pick = self._pick
        feed, name, client = pick(FEEDS), pick(NAMES), pick(CLIENTS)
        grant = Grant(feed, tuple(pick(GLOBS) for _ in range(pick([1, 2, 0]))), pick(DATA_TYPES), pick(EXPIRIES))
        edits = {
            "put": lambda: put_symbol(draft, feed, name, pick(SYMBOLS), pick([None, "l1", "l2"])),
            "remove": lambda: remove_symbol(draft, feed, name),
            "switch": lambda: set_enabled(draft, feed, enabled=pick([True, False])),
            "client": lambda: add_client(draft, Client(client, pick(TYPES), pick(NAMES), pick([None, 1, 0, 3]))),
            "entitle": lambda: entitle(draft, client, grant),
            "revoke": lambda: revoke(draft, client, feed),
            "forget": lambda: remove_client(draft, client),
            "promote": lambda: self._promote(draft, before),
        }
        often = ["put", "put", "put", "remove", "client", "client", "entitle", "entitle", "entitle", "revoke", "revoke"]
        what = self._random.choice([*edits, *often])
        edits[what]()
        return what

    def _promote(self, draft: Draft, before: Inspection) -> None:
        other = self._random.choice(list(self.texts))
        theirs = inspected(other, self.texts[other]).checked()
        promote(draft, before.checked(), theirs)
        after = inspected(before.name, draft.text)
        if after.environment is not None:
            assert not [d for d in differences(after.environment, theirs) if d.path.startswith("feeds")]


def inspected(name: str, text: str) -> Inspection:
    return inspect(Path(f"/nosuch/{name}.yaml"), text.encode(), CATALOG)


@pytest.mark.slow
def test_whatever_operators_do_every_file_that_is_written_is_valid(seed):
    operator = Operator(seed)
    for _ in range(STEPS):
        operator.step()
        for name, text in operator.texts.items():
            assert inspected(name, text).problems == ()
    for what in ("put", "remove", "switch", "client", "entitle", "revoke", "forget", "promote"):
        assert operator.outcomes[what] > 0, f"{what} never succeeded: {operator.outcomes}"
    for comment in ("# Everything has a comment.", "# what is captured", "# forever", "# the first exchange"):
        assert comment in operator.texts["mine"]


def test_a_revoke_of_what_was_granted_is_never_refused(seed):
    """Else somebody keeps access because of something else in the file."""
    random_ = random.Random(seed)
    for _ in range(10):
        operator = Operator(random_.randrange(2**32))
        for _ in range(10):
            operator.step()
        text = operator.texts["mine"]
        environment = inspected("mine", text).checked()
        granted = [(entry.client_id, feed) for entry in environment.spec.entitlements for feed in entry.feeds]
        for client, feed in granted:
            inspection = inspected("mine", text)
            draft = Draft(inspection.source, inspection.root)
            revoke(draft, client, feed)
            after = inspected("mine", draft.text).checked()
            assert all(feed not in entry.feeds for entry in after.spec.entitlements if entry.client_id == client)
