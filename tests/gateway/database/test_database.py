import re
import sqlite3

import pytest

from ssmd.blocking import inline
from ssmd.errors import ConfigError, DatabaseDown
from ssmd.gateway.database import fresh, open_database, policy
from ssmd.gateway.database.changes import Action, first_broken, record
from ssmd.gateway.database.migrations import MIGRATIONS
from ssmd.gateway.entitlements import Place, open_entitlements
from ssmd.gateway.keys import write_whole
from tests.gateway.opened import ME, Clock, opened, visitor
from tests.test_layers import ROOT


async def new_database(path):
    write_whole(path, fresh())
    return await open_database(path, blocking=inline)


async def pragma(database, name: str) -> object:
    return await database.read(lambda c: c.execute(f"PRAGMA {name}").fetchone()[0])


async def test_s10_what_was_chosen_is_in_force(tmp_path):
    database = await new_database(tmp_path / "db")
    wanted = {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0, "cell_size_check": 1,
        "busy_timeout": 300, "user_version": len(MIGRATIONS),
    }  # fmt: skip
    assert {name: await pragma(database, name) for name in wanted} == wanted
    tables = await database.read(
        lambda c: c.execute(
            "SELECT name, strict FROM pragma_table_list WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
    )
    assert len(tables) > 8
    assert [name for name, strict in tables if not strict] == []
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    await database.close()


def test_s10_no_statement_is_put_together_of_values():
    for path in (ROOT / "ssmd/gateway/database").glob("*.py"):
        for call in re.findall(r"execute(?:many)?\(\s*(f?\"[^\"]*\"|f?'''|f?\"\"\")", path.read_text()):
            placed = re.findall(r"\{([^}]*)\}", call) if call.startswith("f") else []
            assert set(placed) <= {"_CLIENT", "_KEY", "table", "len(migrations)"}, f"{path.name}: {call}"


@pytest.mark.parametrize("text", ["x'; DROP TABLE client; --", "%", "_", 'a"b', "\0", "ü", "' OR '1'='1"])
async def test_s10_text_of_users_is_a_value_everywhere(tmp_path, text):
    async with opened(tmp_path, Clock()) as service:
        await visitor(service, "bot", name=text)
        assert (await service.administration.show("bot")).client.name == text
        month = service.reports.this_month()
        assert (await service.reports.usage(month, feed=text, client_id=text)).rows == ()
        assert len((await service.administration.policy()).clients) == 1


async def test_a_newer_database_is_refused_and_an_older_one_is_copied_and_brought_up(tmp_path):
    path, clock = tmp_path / "gateway.db", Clock()
    async with opened(tmp_path, clock) as service:
        await visitor(service, "bot")
    more = (*MIGRATIONS, ("ALTER TABLE client ADD COLUMN colour TEXT",))
    database = await open_database(path, blocking=inline, migrations=more)
    assert await pragma(database, "user_version") == len(more)
    assert (await database.read(policy.load)).client("bot") is not None
    await database.close()
    with pytest.raises(ConfigError, match=f"put back the copy that it made .gateway.db.v{len(MIGRATIONS)}"):
        await open_database(path, blocking=inline)
    copy = tmp_path / f"gateway.db.v{len(MIGRATIONS)}"
    assert copy.stat().st_mode & 0o777 == 0o600
    old = await open_database(copy, blocking=inline)
    assert (await old.read(policy.load)).client("bot") is not None
    await old.close()


async def test_a_migration_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "gateway.db"
    await (await new_database(path)).close()
    broken = (*MIGRATIONS, ("CREATE TABLE fine (a INTEGER) STRICT", "CREATE TABLE fine (a INTEGER) STRICT"))
    with pytest.raises(DatabaseDown, match="already exists"):
        await open_database(path, blocking=inline, migrations=broken)
    database = await open_database(path, blocking=inline)
    assert await database.read(lambda c: c.execute("SELECT * FROM sqlite_schema WHERE name = 'fine'").fetchall()) == []
    await database.close()


async def test_work_that_fails_leaves_nothing_half_done(tmp_path):
    database = await new_database(tmp_path / "db")

    def work(connection):
        connection.execute("UPDATE policy_version SET version = 99")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        await database.write(work)
    assert await database.read(policy.version) < 99
    await database.close()


@pytest.mark.parametrize("missing", ["gateway.db", "gateway.db.pepper"])
async def test_a_lost_file_is_never_made_up_for(tmp_path, missing):
    async with opened(tmp_path, Clock()) as service:
        await visitor(service, "bot")
    (tmp_path / missing).unlink()
    with pytest.raises(ConfigError, match=re.escape(missing)):
        await open_entitlements(Place(tmp_path / "gateway.db", "lab"), Clock(), inline)
    assert not (tmp_path / missing).exists()


@pytest.mark.parametrize("at", [0, 30, 4096, 20_000])
async def test_a_damaged_database_is_noticed_when_it_is_opened(tmp_path, at):
    async with opened(tmp_path, Clock()) as service:
        await visitor(service, "bot")
    path = tmp_path / "gateway.db"
    content = bytearray(path.read_bytes())
    content[at : at + 4096] = b"\x55" * len(content[at : at + 4096])
    path.write_bytes(content)
    with pytest.raises(DatabaseDown):
        await open_entitlements(Place(path, "lab"), Clock(), inline)


async def test_s20_a_record_that_was_changed_is_found(tmp_path):
    async with opened(tmp_path, Clock()) as service:
        await visitor(service, "bot")
        for n in range(5):
            await service.database.write(lambda c, n=n: record(c, Action(ME, "x", n), "bot", (n, n + 1)))
        whole = await service.administration.record(100)
        assert (len(whole.changes), whole.broken_at) == (6, None)
    for damage, broken in (
        ("UPDATE audit SET actor = 'somebody else' WHERE n = 3", 3),
        ("DELETE FROM audit WHERE n = 2", 2),
        ("UPDATE audit SET n = 60 WHERE n = 6", 6),
        ("UPDATE audit SET after = before WHERE n = 4", 4),
    ):
        connection = sqlite3.connect(tmp_path / "gateway.db")
        connection.execute(damage)
        assert first_broken(connection) == broken
        connection.rollback()
        connection.close()
