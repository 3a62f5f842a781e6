"""Whatever operators do: after `env apply`, file, overlay, git, live copy and connectors say the same."""

import random

import pytest

from tests.cli.project import report

EDITS = 60
APPLY_EVERY = 6
NAMES = ("BTC/USD", "ETH/USD", "SOL/USD", "DOGE/USD", "AVAX/USD", "XBT/USD", "NO/SUCH", "SOLUSD")


def edit(chance: random.Random) -> tuple[str, ...]:
    """Return some command, legal or not."""
    name, other = chance.sample(NAMES, 2)
    depth = chance.choice(["l1", "l2"])
    return chance.choice(
        [
            ("feed", "add", "kraken", name, "--depth", depth),
            ("feed", "add", "kraken", name, other),
            ("feed", "remove", "kraken", name, "--yes"),
            ("symbol", "map", name, chance.choice(["AUSD", "BTCUSD", "bad!"])),
            ("symbol", "unmap", name, "--yes"),
            ("feed", chance.choice(["enable", "disable"]), "kraken", "--yes"),
            ("client", "add", chance.choice(["a", "b", "c!"]), "--type", "trading"),
            ("client", "entitle", "a", "--feed", "kraken", "--symbols", chance.choice(["*", "BTC*", "SOLUSD", "x"])),
            ("client", "revoke", "a", "--feed", "kraken", "--yes"),
        ]
    )


@pytest.mark.slow
def test_after_an_apply_nothing_has_drifted(ask, repository, lab, live, seed):
    chance = random.Random(seed)
    live.answer = report
    made = 0
    for step in range(1, EDITS + 1):
        live_only = chance.random() < 0.3
        done = ask(*edit(chance), "--env", "lab", *(("--no-live",) if live_only else ()))
        assert done.code in {0, 1, 2}, done.err
        made += done.code == 0
        if step % APPLY_EVERY == 0:
            applied = ask("env", "apply", "lab")
            assert applied.code == 0, applied.err
            status = ask("env", "status", "lab")
            assert status.code == 0, status.out
    assert made > EDITS / 6
