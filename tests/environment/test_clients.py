from collections.abc import Callable

import pytest

from ssmd.environment.changes import Draft
from ssmd.environment.clients import Client, Grant, add_client, entitle, remove_client, revoke
from ssmd.errors import ConfigError
from tests.environment.sample import MINE, inspected
from tests.environment.test_changes import edited, lines

TWO = MINE.replace("  feeds:\n", "  feeds:\n    coinbase: {symbols: [{name: BTC-USD, internal: BTCUSD}]}\n", 1)
ALL = Grant("kraken", ("*",))


def test_a_new_client_may_read_nothing_yet():
    said, text = edited(MINE, lambda draft: add_client(draft, Client("desk", "display", "The desk: 2nd", 3)))
    assert said == "client/desk added as display"
    assert lines(MINE, text) == [
        "+    - client_id: desk",
        '+      name: "The desk: 2nd"',
        "+      type: display",
        "+      feeds: []",
        "+      symbols: []",
        "+      max_devices: 3",
    ]


def test_the_first_client_of_a_file_makes_the_list():
    text = MINE[: MINE.index("  # who")]
    _, after = edited(text, lambda draft: add_client(draft, Client("desk", "display")))
    assert after == text.rstrip("\n") + (
        "\n  entitlements:\n    - client_id: desk\n      type: display\n      feeds: []\n      symbols: []\n\n"
    )


def test_a_client_that_has_nothing_is_entitled_in_its_own_entry():
    def edit(draft: Draft) -> str:
        add_client(draft, Client("desk", "display"))
        return entitle(draft, "desk", Grant("kraken", ("BTC*", "SOLUSD"), ("trade",), "2027-01-31"))

    said, text = edited(MINE, edit)
    assert said == "client/desk may read BTC*, SOLUSD on kraken"
    assert lines(MINE, text) == [
        "+    - client_id: desk",
        "+      type: display",
        "+      feeds: [kraken]",
        '+      symbols: ["BTC*", SOLUSD]',
        "+      data_types: [trade]",
        '+      expires_at: "2027-01-31"',
    ]


def test_more_symbols_on_the_same_terms_join_the_entry():
    said, text = edited(MINE, lambda draft: entitle(draft, "bot", Grant("kraken", ("ETHUSD", "SOLUSD", "SOLUSD"))))
    assert said == "client/bot may read ETHUSD, SOLUSD on kraken"
    assert lines(MINE, text) == [
        "-      symbols: [BTCUSD, ETHUSD] # no more",
        "+      symbols: [BTCUSD, ETHUSD, SOLUSD] # no more",
    ]


def test_what_is_granted_already_changes_nothing():
    assert edited(MINE, lambda draft: entitle(draft, "people", ALL)) == (
        "client/people unchanged: it may read that already",
        MINE,
    )


@pytest.mark.parametrize("grant", [Grant("kraken", ("*",), ("trade",)), Grant("kraken", ("*",), (), "2027-01-31")])
def test_other_terms_are_a_further_entry(grant):
    _, text = edited(MINE, lambda draft: entitle(draft, "bot", grant))
    assert lines(MINE, text)[:3] == ["+    - client_id: bot", "+      feeds: [kraken]", '+      symbols: ["*"]']


def test_entitled_and_revoked_again_the_file_is_as_before():
    def edit(draft: Draft) -> str:
        entitle(draft, "bot", Grant("coinbase", ("*",)))
        return revoke(draft, "bot", "coinbase")

    assert edited(TWO, edit)[1] == TWO


def test_a_client_that_loses_its_only_feed_stays_as_a_client():
    said, text = edited(MINE, lambda draft: revoke(draft, "bot", "kraken"))
    assert said == "client/bot may no longer read kraken"
    assert lines(MINE, text) == [
        "-      feeds: [kraken]",
        "-      symbols: [BTCUSD, ETHUSD] # no more",
        "+      feeds: []",
        "+      symbols: [] # no more",
    ]


def test_a_revoke_takes_every_entry_of_the_feed_and_its_terms():
    def edit(draft: Draft) -> str:
        entitle(draft, "bot", Grant("kraken", ("SOLUSD",), ("trade",), "2027-01-31"))
        entitle(draft, "bot", Grant("kraken", ("SOLUSD",), ("quote",)))
        return revoke(draft, "bot", "kraken")

    _, text = edited(MINE, edit)
    entries = [entry for entry in inspected(text).checked().spec.entitlements if entry.client_id == "bot"]
    assert [(entry.feeds, entry.symbols, entry.type) for entry in entries] == [((), (), "trading")]


def test_of_several_feeds_only_the_revoked_one_goes():
    text = TWO.replace("feeds: [kraken]\n      symbols: [B", "feeds: [kraken, coinbase]\n      symbols: [B")
    _, after = edited(text, lambda draft: revoke(draft, "bot", "coinbase"))
    assert lines(text, after) == ["-      feeds: [kraken, coinbase]", "+      feeds: [kraken]"]


def test_a_revoke_is_not_stopped_by_a_symbol_that_only_the_revoked_feed_has():
    """ETHUSD is on kraken alone: left in the entry it would make the file invalid, and the revoke would be refused."""
    text = TWO.replace("feeds: [kraken]\n      symbols: [B", "feeds: [kraken, coinbase]\n      symbols: [B")
    _, after = edited(text, lambda draft: revoke(draft, "bot", "kraken"))
    assert "feeds: [coinbase]\n      symbols: [BTCUSD] # no more\n" in after


def test_an_entry_of_which_no_symbol_is_left_grants_nothing():
    text = TWO.replace(
        "feeds: [kraken]\n      symbols: [BTCUSD, ETHUSD]", "feeds: [kraken, coinbase]\n      symbols: [ETHUSD]"
    )
    _, after = edited(text, lambda draft: revoke(draft, "bot", "kraken"))
    assert "feeds: []\n      symbols: [] # no more\n" in after


def test_a_removed_client_is_gone_with_all_its_entries_and_no_comment_of_others():
    def edit(draft: Draft) -> str:
        entitle(draft, "bot", Grant("kraken", ("SOLUSD",), ("trade",)))
        return remove_client(draft, "bot")

    said, text = edited(MINE, edit)
    assert said == "client/bot removed"
    assert lines(MINE, text) == [
        "-    - client_id: bot # the bot",
        "-      type: trading",
        "-      feeds: [kraken]",
        "-      symbols: [BTCUSD, ETHUSD] # no more",
    ]


def test_clients_removed_one_after_the_other_in_one_draft_are_the_ones_that_were_named():
    def edit(draft: Draft) -> str:
        for name in ("x", "y", "z"):
            add_client(draft, Client(name, "display"))
        remove_client(draft, "bot")
        remove_client(draft, "y")
        return remove_client(draft, "x")

    _, text = edited(MINE, edit)
    assert [entry.client_id for entry in inspected(text).checked().spec.entitlements] == ["people", "z"]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda draft: add_client(draft, Client("bot", "display")), "client 'bot' exists already; `ssmd client entitle` lets it"),
        (lambda draft: entitle(draft, "bott", ALL), "there is no client 'bott'; did you mean 'bot'?; `ssmd client add` makes one"),
        (lambda draft: entitle(draft, "x", ALL), "there is no client 'x'; there are bot, people; `ssmd client add` makes one"),
        (lambda draft: revoke(draft, "x", "kraken"), "there is no client 'x'"),
        (lambda draft: revoke(draft, "bot", "coinbase"), "client 'bot' is not entitled to feed 'coinbase': nothing to revoke"),
        (lambda draft: remove_client(draft, ""), "there is no client ''"),
        (lambda draft: add_client(draft, Client("x\ny", "display")), "'x\\ny' has a line break or an invisible character"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_why_and_changes_nothing(edit: Callable[[Draft], str], said: str):
    inspection = inspected(MINE)
    draft = Draft(inspection.source, inspection.root)
    with pytest.raises(ConfigError) as caught:
        edit(draft)
    assert str(caught.value).startswith(said)
    assert draft.text == MINE
