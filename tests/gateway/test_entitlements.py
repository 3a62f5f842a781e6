"""The files of the service on a volume that is full or read-only, and a first start that did not come to its end."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
import structlog
import trio

from ssmd.blocking import inline
from ssmd.errors import ConfigError, DatabaseDown
from ssmd.gateway.access import Grant, Series
from ssmd.gateway.audit import AuditWriter
from ssmd.gateway.database import fresh
from ssmd.gateway.entitlements import Place, open_entitlements
from ssmd.gateway.keys import make_pepper, write_whole
from ssmd.gateway.problems import Problem
from tests.gateway.opened import Clock, opened, visitor
from tests.gateway.volume import Volume, small_volume

SERIES = Series("kraken", "trade", "BTCUSD")


@pytest.fixture
def volume(tmp_path) -> Iterator[Volume]:
    with small_volume(tmp_path / "volume") as mounted:
        yield mounted


# The first start ------------------------------------------------------------------------------------------------


async def test_a_first_start_without_room_leaves_nothing_behind_and_works_when_there_is_some(volume):
    volume.fill()
    with pytest.raises(ConfigError, match="No space left on device"):
        await open_entitlements(Place(volume.folder / "gateway.db", "lab"), Clock(), inline)
    assert [path.name for path in volume.folder.iterdir()] == ["fill"]
    volume.free()
    async with opened(volume.folder, Clock()) as service:
        await visitor(service, "bot")


async def test_a_first_start_on_a_read_only_volume_says_so(volume):
    volume.remount("ro")
    with pytest.raises(ConfigError, match="Read-only file system"):
        await open_entitlements(Place(volume.folder / "gateway.db", "lab"), Clock(), inline)
    volume.remount("rw")
    async with opened(volume.folder, Clock()) as service:
        await visitor(service, "bot")


@pytest.mark.parametrize("came_to", ["half of the database", "the database", "the pepper"])
async def test_a_first_start_that_was_killed_is_gone_on_with(tmp_path, came_to):
    place = Place(tmp_path / "gateway.db", "lab")
    write_whole(place.staged, fresh()[: 5000 if came_to.startswith("half") else None])
    if came_to == "the pepper":
        make_pepper(place.pepper)
    async with opened(tmp_path, Clock()) as service:
        key = (await visitor(service, "bot")).key
    assert not place.staged.exists()
    async with opened(tmp_path, Clock()) as service:
        assert (await service.doorkeeper.authenticate(key, "192.0.2.1")).client_id == "bot"


async def test_a_new_database_is_never_put_in_the_place_of_one_that_is_there(tmp_path):
    place = Place(tmp_path / "gateway.db", "lab")
    async with opened(tmp_path, Clock()) as service:
        await visitor(service, "bot")
    write_whole(place.staged, fresh())
    async with opened(tmp_path, Clock()) as service:
        assert (await service.administration.policy()).client("bot") is not None


@pytest.mark.parametrize("left", [b"", None])
async def test_an_emptied_database_is_not_filled_with_tables(tmp_path, left):
    place = Place(tmp_path / "gateway.db", "lab")
    async with opened(tmp_path, Clock()) as service:
        await visitor(service, "bot")
    place.database.write_bytes(b"")
    if left is None:  # what sqlite3 makes of it when somebody looks into it
        with closing(sqlite3.connect(place.database)) as connection:
            connection.execute("VACUUM")
    with pytest.raises(ConfigError, match="is empty: copy your last backup"):
        await open_entitlements(place, Clock(), inline)


# A start on what is there ---------------------------------------------------------------------------------------


async def test_a_start_on_a_full_or_read_only_volume_names_it_and_works_afterwards(volume):
    place = Place(volume.folder / "gateway.db", "lab")
    async with opened(volume.folder, Clock()) as service:
        key = (await visitor(service, "bot")).key
    volume.remount("ro")
    with pytest.raises(
        DatabaseDown, match=f"{volume.folder} cannot be written: Read-only file system, mount it writable"
    ):
        await open_entitlements(place, Clock(), inline)
    volume.remount("rw")
    volume.fill()
    with pytest.raises(
        DatabaseDown, match=f"{volume.folder} cannot be written: No space left on device, free some space"
    ):
        await open_entitlements(place, Clock(), inline)
    volume.free()
    async with opened(volume.folder, Clock()) as service:
        assert (await service.doorkeeper.authenticate(key, "192.0.2.1")).client_id == "bot"


# While it runs --------------------------------------------------------------------------------------------------


async def test_on_a_full_disk_known_clients_are_served_nobody_is_added_and_no_count_is_lost(volume):
    async with opened(volume.folder, Clock()) as service:
        bot = await visitor(service, "bot", Grant("kraken", ("*",)))
        service.audit.count(await bot.principal(), SERIES, 5)
        await service.audit.flush()
        assert service.trouble() == ""
        volume.fill()
        for messages in (1, 2, 3):
            service.audit.count(await bot.principal(), SERIES, messages)
            with pytest.raises(DatabaseDown, match="No space left on device, free some space"):
                await service.audit.flush()
        assert service.trouble() == "cannot be written"
        with pytest.raises(Problem, match="not valid"):
            await service.doorkeeper.authenticate("ssmd_aaaaaaaa_x", "192.0.2.1")
        with pytest.raises(DatabaseDown, match="No space left"):
            await visitor(service, "newcomer")
        volume.free()
        await service.audit.flush()
        assert service.trouble() == ""
        (row,) = (await service.reports.usage(service.reports.this_month())).rows
        assert row.message_count == 11
        assert [client.client_id for client in (await service.administration.policy()).clients] == ["bot"]


async def test_what_a_stop_on_a_full_disk_loses_is_told(volume, autojump_clock):
    async with opened(volume.folder, Clock()) as service:
        bot = await visitor(service, "bot")
        principal = await bot.principal()
        writer = AuditWriter(service.audit)
        volume.fill()
        with structlog.testing.capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                await nursery.start(writer.run)
                service.audit.count(principal, SERIES, 5)
                writer.drain()
        assert [(line["event"], line["rows"]) for line in logs] == [("usage_not_written", 1), ("usage_lost", 1)]
