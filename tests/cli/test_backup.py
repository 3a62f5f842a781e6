"""`ssmd backup`, `ssmd restore` and `ssmd verify` as they are typed, on an archive that the real actors made."""

import json
import random
import signal

import msgspec
import pytest
import trio

from ssmd.actors.report import encode_config
from ssmd.codec import blocks
from ssmd.errors import StoreDown
from ssmd.gateway.clients import Client
from ssmd.gateway.entitlements import Place, open_entitlements
from ssmd.records import SymbolSpec
from ssmd.store.keys import KEPT_PREFIXES
from tests.cli.commands import ended, ssmd, started, until
from tests.cli.test_ledger import archive
from tests.reprocess.captured import FEED

__all__ = ["archive"]

RAW = "raw/kraken/2025/12/06/14/00-01.jsonl.zst"


@pytest.fixture
def to(tmp_path):
    return tmp_path / "backup"


@pytest.fixture
def data(archive):
    (archive / "source").write_text("simulator\n")
    return archive


def kept(folder):
    """Return what a system is rebuilt from, byte for byte."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        key: path.read_bytes()
        for path in found
        if (key := path.relative_to(folder).as_posix()).startswith(KEPT_PREFIXES)
    }


def words(to, data, *more):
    return ("backup", "--to", str(to), "--env", "lab", "--data-dir", str(data), *more)


def test_three_commands_bring_a_system_back_equal_and_proved(ask, data, to, lab, tmp_path):
    environment = lab.read_bytes()
    done = ask(*words(to, data))
    assert done.code == 0, done.err
    assert "complete through 2025-12-06T14:04Z" in done.out
    again = tmp_path / "again"
    lab.unlink()
    done = ask("restore", "--from", f"file://{to}", "--data-dir", str(again))
    assert done.code == 0, done.err
    (command,) = [line.removeprefix("next").split() for line in done.out.splitlines() if line.startswith("next")]
    done = ask(*command[1:])
    assert (command[0], done.code) == ("ssmd", 0), done.err
    assert "✓ verified" in done.out
    assert kept(again) == kept(data)
    assert (again / "source").read_text() == "simulator\n"
    assert lab.read_bytes() == environment


def test_the_gateways_clients_and_their_keys_come_along_and_never_over_others(ask, data, to, lab, tmp_path):
    key, again = trio.run(_make_clients, data), tmp_path / "again"
    done = ask(*words(to, data))
    assert "gateway   gateway.db with its clients" in done.out
    assert ask("restore", "--from", str(to), "--data-dir", str(again)).code == 0
    assert trio.run(_client_of, again, key) == "notebook"
    assert {(again / name).stat().st_mode & 0o777 for name in ("gateway.db", "gateway.db.pepper")} == {0o600}
    before = (again / "gateway.db").read_bytes()
    done = ask("restore", "--from", str(to), "--data-dir", str(again))
    assert "gateway.db is there already and was left as it is" in done.out
    assert (again / "gateway.db").read_bytes() == before


async def _make_clients(data) -> str:
    service = await open_entitlements(Place(data / "gateway.db", "lab"))
    added = await service.administration.add("test", Client("notebook", "display"))
    await service.close()
    return added.text


async def _client_of(data, key: str) -> str:
    service = await open_entitlements(Place(data / "gateway.db", "lab"))
    try:
        return (await service.doorkeeper.authenticate(key, "127.0.0.1")).client_id
    finally:
        await service.close()


def test_the_result_is_json_on_stdout_and_progress_is_on_stderr(ask, data, to):
    done = ask(*words(to, data, "-o", "json"))
    result = json.loads(done.out)
    assert (result["done"], result["problems"], result["copied"]) == (True, [], result["objects"])
    assert result["feeds"] == [
        {
            "feed": FEED,
            "first": "2025-12-06T14:00Z",
            "raw_through": "2025-12-06T14:04Z",
            "complete_through": "2025-12-06T14:04Z",
        }
    ]
    assert result["live"].startswith("not read, the file is backed up: nothing runs in")
    lines = [json.loads(line) for line in done.err.splitlines() if '"what"' in line]  # not what the fixture logged
    assert [lines[0]["state"], lines[-1]["state"]] == ["start", "end"]
    assert lines[-1]["objects"] == lines[-1]["of_objects"] == result["to_copy"] == len(kept(data))
    assert json.loads(ask(*words(to, data, "-o", "json")).out)["copied"] == 0


def test_a_dry_run_writes_nothing_on_either_way(ask, data, to, lab, tmp_path):
    done = ask(*words(to, data, "--dry-run"))
    assert done.code == 0
    assert f"{len(kept(data))} objects" in done.out
    assert not to.exists()
    ask(*words(to, data))
    lab.unlink()
    done = ask("restore", "--from", str(to), "--data-dir", str(tmp_path / "again"), "--dry-run")
    assert (done.code, "environments/lab.yaml would be written" in done.out) == (0, True)
    assert not (tmp_path / "again").exists()
    assert not lab.exists()


def test_backups_are_listed_and_each_can_be_restored(ask, data, to, tmp_path):
    ask(*words(to, data))
    first = kept(data)
    (data / RAW).unlink()
    done = ask(*words(to, data))
    assert "the source no longer has 1 objects of the backup before" in done.err
    rows = json.loads(ask("backup", "list", "--from", str(to), "-o", "json").out)
    assert [(row["environment"], row["objects"], row["problems"]) for row in rows] == [
        ("lab", len(first) + 1, 0),
        ("lab", len(first), 0),
    ]
    done = ask("restore", "--from", str(to), "--data-dir", str(tmp_path / "new"))
    assert f"--at {rows[0]['id']} restores those" in done.err
    assert kept(tmp_path / "new") == kept(data)
    done = ask("restore", "--from", str(to), "--at", rows[0]["id"], "--to-data-dir", str(tmp_path / "new"))
    assert done.code == 0, done.err
    assert kept(tmp_path / "new") == first
    done = ask("restore", "--from", str(to), "--at", "yesterday", "--data-dir", str(tmp_path / "new"))
    assert (done.code, rows[1]["id"] in done.err) == (2, True)


def test_raw_data_that_was_not_archived_yet_is_restored_and_its_archive_made_anew(ask, data, to, tmp_path):
    whole = kept(data)
    for key in [key for key in whole if "14-04." in key]:
        (data / key).unlink()
    done = ask(*words(to, data))
    assert "2025-12-06T14:00Z to 2025-12-06T14:04Z, complete through 2025-12-06T14:03Z" in done.out
    done = ask("restore", "--from", str(to), "--data-dir", str(tmp_path / "again"), "-o", "json")
    result = json.loads(done.out)
    assert (done.code, result["problems"]) == (0, [])
    assert result["rebuilt"][0].startswith("kraken 2025-12-06T14:04:00Z to 2025-12-06T14:05:00Z: 1 minutes")
    assert ask(*result["next"][0].split()[1:]).code == 0
    events = {key: body for key, body in whole.items() if key.endswith(".capnp.zst")}
    assert {key: body for key, body in kept(tmp_path / "again").items() if key.endswith(".capnp.zst")} == events


# what is wrong -------------------------------------------------------------------------------------------------


def test_damage_and_what_is_in_the_way_are_one_and_named(ask, data, to, tmp_path):
    ask(*words(to, data))
    (data / RAW).write_bytes(b"damaged")
    done = ask(*words(to, data))
    assert (done.code, f"✗ damaged_source  {RAW}" in done.err) == (1, True)
    (to / RAW).write_bytes(b"x" + (to / RAW).read_bytes()[1:])
    done = ask("restore", "--from", str(to), "--data-dir", str(tmp_path / "again"))
    assert (done.code, f"✗ damaged_in_backup  {RAW}" in done.err, "not done" in done.out) == (1, True, True)
    (tmp_path / "again" / RAW).write_bytes(b"mine")
    done = ask("restore", "--from", str(to), "--data-dir", str(tmp_path / "again"))
    assert (done.code, f"✗ different  {RAW}" in done.err) == (1, True)
    assert (tmp_path / "again" / RAW).read_bytes() == b"mine"


def test_an_environment_file_that_differs_is_left_alone_and_nothing_is_restored(ask, data, to, lab, tmp_path):
    ask(*words(to, data))
    lab.write_text(lab.read_text() + "# mine\n")
    mine = lab.read_bytes()
    again = ("restore", "--from", str(to), "--data-dir", str(tmp_path / "again"))
    done = ask(*again)
    assert (done.code, "environments/lab.yaml is there already and differs" in done.err) == (1, True)
    assert not (tmp_path / "again").exists()
    assert ask(*again, "--env", "lab").code == 0
    assert lab.read_bytes() == mine


def test_an_environment_comes_back_with_what_it_extends(ask, data, to, lab, project, tmp_path):
    child = project.file("child")
    child.write_text(
        "apiVersion: ssmd/v1\nkind: Environment\nextends: lab\nmetadata: {name: child}\n"
        "spec: {storage: {raw: {bucket: ssmd-child-raw}, normalized: {bucket: ssmd-child-normalized}}}\n"
    )
    before = {path.name: path.read_bytes() for path in (lab, child)}
    assert ask("backup", "--to", str(to), "--env", "child", "--data-dir", str(data)).code == 0
    lab.unlink()
    child.unlink()
    done = ask("restore", "--from", str(to), "--data-dir", str(tmp_path / "again"))
    assert done.code == 0, done.err
    assert {path.name: path.read_bytes() for path in (lab, child)} == before


def test_simulated_and_real_data_are_kept_apart(ask, data, to, tmp_path):
    ask(*words(to, data))
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "source").write_text("exchange\n")
    done = ask("restore", "--from", str(to), "--data-dir", str(tmp_path / "real"))
    assert (done.code, "holds data of the exchange" in done.err) == (2, True)
    assert kept(tmp_path / "real") == {}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("backup", "--to", "s3://key:canary@bucket/x"), "more than bucket and prefix"),
        (("backup", "--to", "s3://bucket"), "neither [backup] endpoint nor [storage] endpoint is set"),
        (("backup", "--to", "x", "--data-dir", "nosuch"), "there is no data directory nosuch"),
        (("backup", "--to", "x", "--feed", "krakn"), "there is nothing of feed 'krakn'; lab has kraken"),
        (("restore", "--from", "nosuch"), "no such directory"),
        (("restore", "--from", "."), "there is no backup in ."),
        (("backup", "list", "--from", "."), "there is no backup in ."),
    ],
)
def test_wrong_usage_is_two_with_a_way_out_and_makes_nothing(ask, data, project, more, said):
    place = () if more[0] != "backup" or more[1] == "list" else ("--env", "lab")
    where = () if "--data-dir" in more or not place else ("--data-dir", str(data))
    before = project.tree()
    done = ask(*more, *place, *where)
    assert (done.code, done.out, said in done.err) == (2, "", True), done.err
    assert "canary" not in done.err
    assert project.tree() == before


def test_a_store_that_is_away_is_five(ask, data, to, monkeypatch):
    async def away(*_):
        raise StoreDown("list: away")

    monkeypatch.setattr("ssmd.backup.patient.RETRY_AFTER_S", ())
    monkeypatch.setattr("ssmd.store.objects.ObjectStore.list", away)
    done = ask(*words(to, data))
    assert (done.code, "\nerror: list: away\n" in f"\n{done.err}") == (5, True)


def test_minutes_that_wait_in_a_journal_are_told(ask, data, to):
    journal = data / "journal" / FEED
    journal.mkdir(parents=True)
    (journal / "20251206T1409-0000.jsonl").write_bytes(b"{}\n")
    done = ask(*words(to, data))
    assert (done.code, "kraken: minutes in the journal that are not sealed: 1" in done.err) == (0, True)


# the live configuration ----------------------------------------------------------------------------------------


@pytest.fixture
def live_here(live, monkeypatch):
    monkeypatch.setattr("ssmd.cli.backing_up.live_link", live.link)
    return live


def test_the_live_configuration_is_kept_and_compared_with_the_file(ask, data, to, live_here, tmp_path):
    config = live_here.seed("lab")
    assert "live      read: kraken" in ask(*words(to, data)).out
    restore = ("restore", "--from", str(to), "--data-dir")
    assert "what ran is what the file says" in ask(*restore, str(tmp_path / "one")).out
    more = msgspec.structs.replace(config, symbols=(*config.symbols, SymbolSpec("DOT/USD", "DOTUSD", "l1")))
    live_here.put("lab", FEED, encode_config(more))
    ask(*words(to, data))
    said = ask(*restore, str(tmp_path / "two")).out
    assert "what ran was not what the file says: symbol DOT/USD is DOTUSD l1 live, not there in the file" in said


def test_a_bus_that_cannot_be_reached_is_told_and_no_failure(ask, data, to, monkeypatch):
    monkeypatch.setenv("SSMD_NATS_URL", "nats://canary:canary@127.0.0.1:1")
    done = ask(*words(to, data))
    assert (done.code, "NATS at nats://***@127.0.0.1:1 cannot be reached" in done.out) == (0, True)
    assert "canary" not in done.out + done.err


# ended in the middle -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_killed_or_stopped_and_run_again_it_ends_with_the_same_bytes(tmp_path, number):
    data, to = tmp_path / "data", tmp_path / "backup"
    for place in range(700):
        path = (
            data
            / f"normalized/v1/kraken/trade/BTCUSD/2025/12/{1 + place % 5:02}/{place // 60 % 24:02}-{place % 60:02}.capnp.zst"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blocks.compress(random.Random(place).randbytes(4000)))
    command = ("backup", "--to", str(to), "--env", "demo", "--data-dir", str(data))
    copies = to / "normalized"
    with started(tmp_path, *command) as process:
        await until(lambda: len(list(copies.rglob("*.zst"))) >= 60, "sixty copies")
        process.send_signal(number)
        code = await ended(process)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 128 + signal.SIGINT)
    assert not list(to.rglob("runs/*"))
    half = len(list(copies.rglob("*.zst")))
    done = await trio.to_thread.run_sync(lambda: ssmd(*command, "-o", "json"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["copied"] == len(kept(data)) + 1 - half
    assert kept(to) == kept(data)
    print(f"ended after {half} of {len(kept(data))}")  # noqa: T201  shown by -s
