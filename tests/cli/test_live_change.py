"""A change reaches what runs, never over somebody else's, and never by half: against a bus in memory, once a real one."""

from functools import partial

import pytest
import trio
from msgspec.structs import replace

from ssmd.actors.report import encode_config
from ssmd.actors.symbol_watcher import BUCKET
from ssmd.errors import BusDown
from ssmd.records import FeedConfig
from ssmd.trees import LiveLink, live_link
from tests.cli.project import refusal, refused, report
from tests.cli.test_run import surroundings

ADD = ("feed", "add", "kraken", "SOL/USD", "--env", "lab")


@pytest.fixture
def seeded(lab, live):
    live.seed("lab")
    return live


def symbols(config: FeedConfig) -> list[str]:
    return [spec.symbol for spec in config.symbols]


def test_an_edit_changes_the_file_and_the_live_copy(ask, lab, seeded):
    done = ask(*ADD, "--depth", "l2")
    assert (done.code, done.out) == (0, "feed/kraken symbol SOLUSD added\n")
    assert done.err == "live: feed kraken is at revision 2\n"
    assert symbols(seeded.live("lab")) == ["BTCUSD", "ETHUSD", "SOLUSD"]
    assert "SOLUSD" in lab.read_text()


def test_a_repeat_changes_nothing_and_is_no_error(ask, lab, seeded):
    ask(*ADD)
    before = lab.read_bytes()
    done = ask(*ADD)
    assert (done.code, done.out, done.err) == (0, "feed/kraken symbol SOLUSD unchanged\n", "")
    assert (lab.read_bytes(), seeded.revision("lab")) == (before, 2)


def test_no_live_and_a_dry_run_leave_what_runs_alone(ask, lab, seeded):
    assert ask(*ADD, "--dry-run").code == 0
    assert ask(*ADD, "--no-live").code == 0
    assert seeded.revision("lab") == 1


def test_what_was_changed_in_the_file_only_is_not_taken_for_live(ask, lab, seeded):
    seeded.answer = report
    ask(*ADD, "--no-live")
    done = ask(*ADD, "--wait")
    assert done.code == 1
    assert "symbol SOL/USD is not there live, SOLUSD l1 here" in done.err
    assert ask("env", "apply", "lab", "--no-commit", "--overwrite", "--wait").code == 0
    assert ask(*ADD, "--wait").code == 0


@pytest.mark.parametrize("value", [None, b"", b"not json", b'{"symbols":[]' + b" " * 300_000 + b"}", b'{"symbols":7}'])
def test_a_live_copy_that_is_missing_or_unusable_is_put_anew(ask, lab, seeded, value):
    seeded.put("lab", "kraken", value)
    assert ask(*ADD).code == 0
    assert symbols(seeded.live("lab")) == ["BTCUSD", "ETHUSD", "SOLUSD"]
    seeded.put("lab", "kraken", value)
    assert ask(*ADD).out == "feed/kraken symbol SOLUSD unchanged\n"
    assert symbols(seeded.live("lab")) == ["BTCUSD", "ETHUSD", "SOLUSD"]


@pytest.mark.parametrize(
    ("words", "theirs"),
    [
        (ADD, "symbol DOT/USD is DOTUSD l1 live, not there here"),
        (("feed", "enable", "kraken", "--env", "lab"), "symbol DOT/USD is DOTUSD l1 live, not there here"),
        (("symbol", "unmap", "ETHUSD", "--yes", "--env", "lab"), "symbol DOT/USD is DOTUSD l1 live, not there here"),
    ],
)
def test_an_operator_with_an_old_file_is_told_what_would_be_undone(ask, lab, seeded, words, theirs):
    old = lab.read_text()
    assert ask("feed", "add", "kraken", "DOT/USD", "--env", "lab").code == 0
    lab.write_text(old)
    done = ask(*words)
    assert (done.code, done.out) == (1, "")
    assert f"somebody else has changed feed kraken live (revision 2): {theirs}; nothing was changed" in done.err
    assert (lab.read_text(), seeded.revision("lab")) == (old, 2)


def test_somebody_else_s_setting_and_removal_count_as_well(ask, lab, seeded):
    theirs = replace(seeded.live("lab"), book_depth=25, symbols=seeded.live("lab").symbols[:1])
    seeded.put("lab", "kraken", encode_config(theirs))
    done = ask(*ADD)
    assert done.code == 1
    assert "book_depth is 25 live, 10 here" in done.err
    assert "symbol ETH/USD is not there live, ETHUSD l1 here" in done.err


def test_two_who_make_the_same_change_do_not_disturb_each_other(ask, lab, seeded):
    old = lab.read_text()
    ask(*ADD)
    lab.write_text(old)
    assert ask(*ADD).out == "feed/kraken symbol SOLUSD added\n"
    assert seeded.revision("lab") == 2


# the world breaks in between ---------------------------------------------------------------------------------


def test_a_race_that_is_lost_leaves_the_file_as_it_was(ask, lab, seeded, monkeypatch):
    before = lab.read_bytes()
    real = LiveLink.put

    async def be_second(link, environment, feed, config, revision):
        await real(link, environment, feed, replace(config, book_depth=25), revision)
        return await real(link, environment, feed, config, revision)

    monkeypatch.setattr(LiveLink, "put", be_second)
    done = ask(*ADD)
    assert (done.code, done.out) == (1, "")
    assert "is no longer at revision 1; environments/lab.yaml was not changed, try again" in done.err
    assert lab.read_bytes() == before


@pytest.mark.parametrize(
    ("error", "code"),
    [(BusDown("away"), 5), (KeyboardInterrupt(), 130), (BaseExceptionGroup("", [KeyboardInterrupt()]), 130)],
)
@pytest.mark.parametrize("is_stored", [True, False])
def test_whatever_prevents_the_put_the_same_command_can_be_repeated(ask, lab, seeded, error, code, is_stored):
    before = lab.read_bytes()

    def fail(feed, revision, config):
        if not is_stored:
            seeded.bucket(BUCKET)._entries.pop()
            seeded.bucket(BUCKET)._revision -= 1
        raise error

    seeded.answer = fail
    done = ask(*ADD)
    assert (done.code, done.out) == (code, "")
    assert lab.read_bytes() == before
    seeded.answer = None
    assert ask(*ADD).code == 0
    assert symbols(seeded.live("lab")) == ["BTCUSD", "ETHUSD", "SOLUSD"]
    assert seeded.revision("lab") == 2


def test_without_a_bus_the_file_is_changed_and_that_is_said(ask, lab, live):
    live.down()
    done = ask(*ADD)
    assert (done.code, done.out) == (0, "feed/kraken symbol SOLUSD added\n")
    assert "! NATS at nats://memory:4222 ([nats] url) cannot be reached, only the file is changed" in done.err


def test_to_wait_without_a_bus_is_five_and_the_file_is_as_before(ask, lab, live):
    live.down()
    before = lab.read_bytes()
    done = ask(*ADD, "--wait")
    assert (done.code, done.out) == (5, "")
    assert lab.read_bytes() == before


def test_a_password_in_the_address_is_never_shown(ask, lab, live, monkeypatch):
    monkeypatch.setenv("SSMD_NATS_URL", "nats://someone:canary@memory:4222")
    live.down()
    done = ask(*ADD)
    assert "nats://***@memory:4222" in done.err
    assert "canary" not in done.err


# waiting -----------------------------------------------------------------------------------------------------


def test_wait_returns_when_every_connector_runs_it(ask, lab, seeded):
    seeded.answer = report
    done = ask(*ADD, "--wait")
    assert done.code == 0
    assert "✓ connector kraken@pod-1 runs revision 2 after 0." in done.err


def test_to_wait_with_no_connector_is_one(ask, lab, seeded, monkeypatch):
    monkeypatch.setattr("ssmd.trees.live.APPEAR_WITHIN_S", 0.1)
    done = ask(*ADD, "--wait")
    assert (done.code, done.out) == (1, "feed/kraken symbol SOLUSD added\n")
    assert "✗ no connector of feed kraken reports; the live copy waits for one at revision 2" in done.err


def test_a_connector_that_refuses_or_stays_behind_is_named(ask, lab, seeded):
    old = seeded.live("lab")
    said = report("kraken", 1, old, live=("BTCUSD", "ETHUSD"))
    seeded.tell("lab", said)
    done = ask(*ADD, "--wait", "--timeout", "50ms")
    assert done.code == 1
    assert "✗ connector kraken@pod-1 is behind: runs revision 1" in done.err
    now = encode_config(seeded.live("lab"))
    seeded.tell("lab", replace(said, refused_config=refusal(2, now, "not now")))
    done = ask(*ADD, "--wait", "--timeout", "10s")
    assert done.code == 1
    assert "✗ connector kraken@pod-1 is refused: not now" in done.err


def test_a_symbol_that_the_exchange_refuses_or_leaves_pending_is_named(ask, lab, seeded):
    def refuse(feed, revision, config):
        return report(feed, revision, config, live=("BTCUSD",), refused=(refused("SOLUSD", "delisted"),))

    def hesitate(feed, revision, config):
        return report(feed, revision, config, live=("BTCUSD",), pending=("DOTUSD",))

    seeded.answer = refuse
    done = ask(*ADD, "--wait")
    assert (done.code, "but the exchange refuses SOLUSD (delisted)" in done.err) == (1, True)
    seeded.answer = hesitate
    done = ask("feed", "add", "kraken", "DOT/USD", "--env", "lab", "--wait", "--timeout", "20ms")
    assert (done.code, "is behind: waits for the exchange to confirm DOTUSD" in done.err) == (1, True)


# apply -------------------------------------------------------------------------------------------------------


def test_a_repeat_and_apply_do_not_hide_that_the_exchange_refuses(ask, repository, lab, seeded):
    def refuse(feed, revision, config):
        return report(feed, revision, config, live=("BTCUSD",), refused=(refused("SOLUSD", "delisted"),))

    seeded.answer = refuse
    for words in (ADD, ADD, ("env", "apply", "lab")):
        done = ask(*words, "--wait")
        assert done.code == 1
        assert "✗ connector kraken@pod-1 runs revision 2" in done.err
        assert "✓ connector" not in done.err


def test_a_removal_is_done_when_the_exchange_has_confirmed_it(ask, lab, seeded):
    seeded.answer = lambda *said: report(*said, leaving=("ETHUSD",))
    done = ask("feed", "remove", "kraken", "ETH/USD", "--env", "lab", "--yes", "--wait", "--timeout", "0.2s")
    assert done.code == 1
    assert "✗ connector kraken@pod-1 is behind: waits for the exchange to end ETHUSD" in done.err


def test_apply_puts_the_file_live_where_nobody_else_changed_it(ask, repository, lab, seeded):
    assert ask("env", "apply", "lab").out.endswith("live: every feed is as in the file already\n")
    ask(*ADD, "--no-live")
    done = ask("env", "apply", "lab")
    assert (done.code, done.out.splitlines()[-1]) == (0, "live feed/kraken put at revision 2")
    assert symbols(seeded.live("lab")) == ["BTCUSD", "ETHUSD", "SOLUSD"]


def test_apply_over_somebody_else_s_change_needs_overwrite(ask, repository, lab, seeded):
    ask("env", "apply", "lab")
    seeded.put("lab", "kraken", encode_config(replace(seeded.live("lab"), book_depth=25)))
    before = repository.tree()
    for option in ((), ("--dry-run",)):
        done = ask("env", "apply", "lab", *option)
        assert done.code == 1
        assert "book_depth is 25 live, 10 here" in done.err
        assert "`ssmd env apply lab --overwrite` puts the file live as it is" in done.err
    assert repository.tree() == before
    assert ask("env", "apply", "lab", "--overwrite", "--dry-run").err.startswith("would put feed kraken live over rev")
    assert seeded.revision("lab") == 2
    assert ask("env", "apply", "lab", "--overwrite").code == 0
    assert seeded.live("lab").book_depth == 10


def test_what_somebody_else_took_back_is_not_brought_again(ask, repository, lab, seeded):
    """Live is as an older commit has it: not because nobody applied, but because somebody changed it."""
    before = seeded.live("lab")
    ask(*ADD)
    ask("env", "apply", "lab")
    seeded.put("lab", "kraken", encode_config(before))
    ask("client", "add", "bot", "--type", "trading", "--env", "lab")
    done = ask("env", "apply", "lab")
    assert done.code == 1
    assert "symbol SOL/USD is not there live, SOLUSD l1 here" in done.err
    assert seeded.live("lab") == before


def test_without_the_knowledge_of_this_checkout_the_last_commit_counts(ask, repository, lab, seeded, project):
    ask(*ADD)
    ask("env", "apply", "lab")
    for path in (project.folder / ".ssmd").rglob("*.json"):
        path.write_text("{")
    lab.write_text(lab.read_text().replace("depth: l1", "depth: l2"))
    assert ask("env", "apply", "lab").code == 0
    assert (project.folder / ".ssmd/.gitignore").read_text() == "*\n"
    assert repository.git("status", "--porcelain") == ""


def test_what_was_committed_while_nothing_was_reachable_goes_live_later(ask, repository, lab, seeded):
    ask("env", "apply", "lab")
    for name in ("SOL/USD", "DOT/USD"):
        ask("feed", "add", "kraken", name, "--env", "lab", "--no-live")
        assert ask("env", "apply", "lab", "--no-live").code == 0
    done = ask("env", "apply", "lab")
    assert (done.code, done.out.splitlines()[-1]) == (0, "live feed/kraken put at revision 2")
    assert symbols(seeded.live("lab")) == ["BTCUSD", "ETHUSD", "SOLUSD", "DOTUSD"]


def test_a_feed_that_left_the_file_leaves_the_bus(ask, repository, lab, seeded):
    text = lab.read_text()
    lab.write_text(text.replace("    kraken:", "    other:\n      enabled: false\n      symbols: []\n    kraken:"))
    repository.git("add", ".")
    repository.git("commit", "--quiet", "--message", "with other")
    seeded.seed("lab", "other")
    lab.write_text(text)
    done = ask("env", "apply", "lab")
    assert done.code == 0, done.err
    assert seeded.live("lab", "other") is None
    assert seeded.live("lab", "kraken") is not None


def test_a_feed_that_left_the_file_stays_disabled_live_while_a_connector_does_not_follow(
    ask, repository, lab, seeded, monkeypatch
):
    text = lab.read_text()
    lab.write_text(text.replace("    kraken:", "    other:\n      enabled: true\n      symbols: []\n    kraken:"))
    repository.git("add", ".")
    repository.git("commit", "--quiet", "--message", "with other")
    seeded.tell("lab", report("other", 1, seeded.seed("lab", "other")))
    lab.write_text(text)
    monkeypatch.setattr("ssmd.cli.live_change.LEAVE_WITHIN_S", 0.1)
    done = ask("env", "apply", "lab")
    assert "! feed other is disabled live, but not yet on pod-1" in done.err
    assert seeded.live("lab", "other").enabled is False
    assert "runs a feed that the file does not define" in ask("env", "status", "lab").out


def test_a_feed_that_nobody_knows_is_left_alone_unless_overwritten(ask, repository, lab, seeded):
    seeded.put("lab", "foreign", encode_config(seeded.live("lab")))
    assert ask("env", "apply", "lab").code == 0
    assert seeded.live("lab", "foreign") is not None
    assert "a feed that the file does not define" in ask("env", "status", "lab").out
    assert ask("env", "apply", "lab", "--overwrite").code == 0
    assert seeded.live("lab", "foreign") is None


def test_apply_without_a_bus_says_so_and_does_the_rest(ask, repository, lab, live):
    live.down()
    done = ask("env", "apply", "lab")
    assert done.code == 0
    assert "cannot be reached, nothing is put live" in done.err
    assert ask("env", "apply", "lab", "--wait").code == 5


# a real server -----------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_two_operators_on_one_real_server(tmp_path, lab, ask, monkeypatch):
    old = lab.read_text()
    run = partial(trio.to_thread.run_sync, ask)
    async with surroundings(tmp_path) as variables:
        monkeypatch.setenv("SSMD_NATS_URL", variables["SSMD_NATS_URL"])
        assert (await run(*ADD)).code == 0
        lab.write_text(old)
        done = await run("feed", "add", "kraken", "DOT/USD", "--env", "lab")
        assert (done.code, lab.read_text()) == (1, old)
        assert "symbol SOL/USD is SOLUSD l1 live, not there here" in done.err
        assert (await run(*ADD)).code == 0
        assert (await run("feed", "add", "kraken", "DOT/USD", "--env", "lab")).code == 0
        async with live_link(variables["SSMD_NATS_URL"]) as link:
            assert symbols((await link.copy("lab", "kraken")).config) == ["BTCUSD", "ETHUSD", "SOLUSD", "DOTUSD"]
