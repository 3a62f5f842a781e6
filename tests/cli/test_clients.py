"""`ssmd client …`, `env apply` and `env status` with a running gateway: both places say the same, or neither is changed."""

import json

import pytest

from ssmd.gateway.access import Grant, Series
from ssmd.gateway.clients import atoms
from tests.cli.live_gateway import LiveGateway

LAB = ("--env", "lab")


@pytest.fixture
def gateway(project, monkeypatch):
    found = LiveGateway(project.folder / "ssmd-data", "lab")
    for module in ("clients", "clients_live", "reconciling", "client_status"):
        monkeypatch.setattr(f"ssmd.cli.{module}.gateway_link", found.link)
    return found


def added(ask, client_id: str = "bot") -> str:
    """Add a client and return its key."""
    done = ask("client", "add", client_id, "--type", "display", *LAB, "-o", "json")
    assert done.code == 0, done.err
    line, _, record = done.out.partition("\n")
    assert line == f"client/{client_id} added as display"
    return json.loads(record)["key"]


def granted(gateway, client_id: str = "bot") -> dict:
    client = gateway.policy().client(client_id)
    return {} if client is None else atoms(client.grants)


ALL = atoms((Grant("kraken", ("*",)),))


def test_a_client_is_added_entitled_and_revoked_in_both_places(ask, lab, gateway):
    before = lab.read_text()
    key = added(ask)
    assert gateway.who(key).client_id == "bot"
    assert ask("client", "entitle", "bot", "--feed", "kraken", "--symbols", "*", *LAB).code == 0
    assert granted(gateway) == ALL
    assert 'symbols: ["*"]' in lab.read_text()
    assert ask("client", "revoke", "bot", "--feed", "kraken", *LAB, "--yes").code == 0
    assert granted(gateway) == {}
    assert ask("client", "remove", "bot", *LAB, "--yes").code == 0
    assert gateway.who(key) == "invalid_key"
    assert lab.read_text() == before


def test_an_older_file_cannot_bring_back_what_was_revoked_and_a_person_can(ask, repository, lab, gateway):
    added(ask)
    ask("client", "entitle", "bot", "--feed", "kraken", "--symbols", "*", *LAB)
    older = lab.read_text()
    assert ask("client", "revoke", "bot", "--feed", "kraken", *LAB, "--yes").code == 0
    lab.write_text(older)
    done = ask("env", "apply", "lab", "--no-commit")
    assert (done.code, granted(gateway)) == (0, {})
    assert (
        "! gateway client/bot does not get kraken: *: revoked; only `ssmd client entitle` grants it again" in done.err
    )
    assert "revoked; only" in ask("env", "status", "lab").out
    assert ask("client", "entitle", "bot", "--feed", "kraken", "--symbols", "*", *LAB).code == 0
    assert granted(gateway) == ALL
    assert "does not get" not in ask("env", "apply", "lab", "--no-commit").err


def test_apply_brings_the_file_to_the_gateway_and_status_names_every_drift(ask, repository, lab, gateway):
    added(ask)
    added(ask, "other")
    assert "the gateway has the 2 of the file as defined" in ask("env", "status", "lab").out
    for words in ("entitle bot --feed kraken --symbols BTC* --types trade --expires 2199-01-31", "remove other --yes"):
        assert ask("client", *words.split(), *LAB, "--no-live").code == 0
    rows = {r["part"]: r for r in json.loads(ask("env", "status", "lab", "-o", "json").out)}
    assert rows["client bot"]["detail"] == (
        "the gateway would change it: nothing -> kraken: BTC* (trade) until 2199-01-31T00:00Z"
    )
    assert (rows["client bot"]["state"], rows["client bot"]["fix"]) == ("drift", "ssmd env apply lab")
    assert rows["client other"]["detail"] == "the gateway would remove it: the file does not have it"
    preview = ask("env", "apply", "lab", "--dry-run")
    assert "would: gateway client/other taken away" in preview.err
    assert len(gateway.policy().clients) == 2
    done = ask("env", "apply", "lab", "--no-commit")
    assert "gateway client/bot changed: nothing -> kraken: BTC* (trade)" in done.out
    assert [client.client_id for client in gateway.policy().clients] == ["bot"]
    assert "gateway: every client is as in the file already" in ask("env", "apply", "lab", "--no-commit").out


@pytest.mark.parametrize(
    "words",
    [
        "client add bot2 --type display",
        "client entitle bot --feed kraken --symbols *",
        "client revoke bot --feed kraken --yes",
        "client remove bot --yes",
        "client kick s-1 --yes",
        "env apply lab --no-commit",
    ],
)
def test_a_dry_run_changes_neither(ask, lab, project, gateway, words):
    added(ask)
    policy, tree = gateway.policy(), _files(project)
    done = ask(*words.split(), *(() if "apply" in words or "kick" in words else LAB), "--dry-run")
    assert done.code in {0, 2}, done.err
    assert (gateway.policy(), _files(project)) == (policy, tree)


def _files(project):
    return {name: content for name, content in project.tree().items() if not name.startswith("ssmd-data/")}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("client add bot --type display", 2, "exists already"),
        ("client entitle bot --feed nosuch --symbols *", 1, "feed 'nosuch', which is not defined"),
        ("client entitle nobody --feed kraken --symbols *", 2, "there is no client 'nobody'"),
        ("client entitle nobody --feed kraken --symbols * --no-file", 2, "the gateway says: there is no client nobody"),
        ("client add bot --type display --no-file", 1, "the gateway says: client bot exists already"),
        ("client entitle bot --feed kraken --symbols * --no-file --no-live", 2, "change nothing"),
        ("client entitle bot --feed kraken --symbols [a] --no-file", 2, "symbols"),
        ("client revoke ../x --feed kraken --no-file --yes", 2, "allowed are letters"),
    ],
)
def test_what_one_place_refuses_is_done_in_neither(ask, lab, project, gateway, words, code, said):
    added(ask)
    policy, tree = gateway.policy(), _files(project)
    done = ask(*words.split(), *LAB)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert (gateway.policy(), _files(project)) == (policy, tree)


def test_a_gateway_that_is_away_changes_nothing_and_is_five(ask, lab, project, gateway):
    added(ask)
    gateway.is_away, tree = True, _files(project)
    for words in ("entitle bot --feed kraken --symbols *", "revoke bot --feed kraken --yes", "list", "sessions"):
        done = ask("client", *words.split(), *(() if words == "sessions" else LAB))
        assert done.code == 5
        assert "cannot be reached: connection refused" in done.err
    assert _files(project) == tree
    assert "cannot be reached" in ask("env", "status", "lab").out


def test_without_the_administrators_key_nothing_is_done_and_it_is_four(ask, lab, project, gateway):
    key = added(ask)
    own = project.folder / "own.key"
    own.write_text(key)
    done = ask("client", "sessions", "--api-key-file", str(own))
    assert (done.code, done.out) == (4, "")
    assert "this needs the administrator's key" in done.err
    own.write_text("ssmd_aaaaaaaa_wrong")
    assert ask("client", "sessions", "--api-key-file", str(own)).code == 4
    assert ask("client", "sessions", "--api-key-file", "nosuch").code == 4
    assert key not in done.err


def test_the_key_of_this_machines_gateway_is_never_sent_to_another(ask, lab, gateway):
    done = ask("client", "sessions", "--gateway", "http://elsewhere.test:8080")
    assert (done.code, done.out) == (2, "")
    assert "needs its key: --api-key-file FILE" in done.err


def test_a_key_goes_into_a_file_of_its_owner_if_wanted(ask, lab, project, gateway):
    path = project.folder / "bot.key"
    done = ask("client", "add", "bot", "--type", "display", *LAB, "--key-file", str(path))
    assert done.out == "client/bot added as display\n"
    assert path.stat().st_mode & 0o777 == 0o600
    first = path.read_text().strip()
    assert gateway.who(first).client_id == "bot"
    assert first not in done.err
    refused = ask("client", "rotate", "bot", "--key-file", str(path))
    assert (refused.code, len(gateway.policy().keys)) == (2, 1)
    new = json.loads(ask("client", "rotate", "bot", "--grace", "1h", "-o", "json").out)["key"]
    assert [gateway.who(key).client_id for key in (first, new)] == ["bot", "bot"]
    gateway.clock.forward(3601)
    assert gateway.who(first) == "invalid_key"
    keys = json.loads(ask("client", "show", "bot", "-o", "json").out)["keys"]
    assert [each["is_live"] for each in keys] == [False, True]


def test_sessions_are_listed_and_kicked_and_usage_is_shown(ask, lab, gateway):
    key = added(ask)
    gateway.connected.append(key)
    rows = json.loads(ask("client", "sessions", "-o", "json").out)
    assert [row["client_id"] for row in rows] == ["bot"]
    gateway.deliver(key, Series("kraken", "trade", "BTCUSD"), 41)
    out = ask("client", "usage", "bot", "--month", "2025-12", "-o", "csv").out
    assert out.splitlines()[1] == "bot,kraken,BTCUSD,trade,display,41"
    assert "bot got nothing in 2025-11" in ask("client", "usage", "bot", "--month", "2025-11").err
    assert ask("client", "kick", "s-nosuch", "--yes").code == 2
    assert ask("client", "kick", "s-nosuch").code == 2


def test_list_shows_the_gateways_clients_or_the_files(ask, lab, gateway):
    added(ask)
    ask("client", "entitle", "bot", "--feed", "kraken", "--symbols", "BTC*", *LAB, "--no-file")
    assert "bot,display,kraken,BTC*" in ask("client", "list", *LAB, "-o", "csv").out
    assert "BTC" not in ask("client", "list", *LAB, "-o", "csv", "--no-live").out


def test_a_file_anywhere_is_of_the_environment_that_it_names(ask, lab, gateway, tmp_path):
    file = tmp_path / "another-name.yaml"
    file.write_bytes(lab.read_bytes())
    assert ask("client", "add", "bot", "--type", "display", "--env", str(file), "--no-file").code == 0
    assert gateway.policy().client("bot") is not None
    assert "bot" in ask("client", "list", "--env", str(file)).out
