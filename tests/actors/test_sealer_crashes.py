"""The chain of manifests and the ledger survive a crash at every step of the sealer, and a store in doubt."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from ssmd.actors import sealer
from ssmd.errors import AlreadyStored, StoreDown
from ssmd.journal import Tallies
from ssmd.reprocess.verify import Report, VerifySpec, verify
from ssmd.store.memory import MemoryStore
from tests.reprocess.captured import FEED, Captured, at

MOST_STEPS = 100
SHARES = 6  # so many tests share them out: each must end within a second


class Crash(BaseException):
    """A SIGKILL, as far as one process can play it."""


class CrashPoint:
    """Lets so many steps go by; each effect is two: the moment before it and the moment behind it."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.was_reached = False

    def step(self) -> None:
        if self.left == 0 and not self.was_reached:
            self.was_reached = True
            raise Crash
        self.left -= 1

    @contextmanager
    def around(self) -> Iterator[None]:
        self.step()
        yield
        self.step()


class CrashingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.point = CrashPoint(-1)

    async def create(self, key: str, body: bytes) -> bool:
        with self.point.around():
            return await super().create(key, body)


def crashes(monkeypatch, point: CrashPoint) -> None:
    """Let the state on disk and the tallies be crash points too."""
    save, remove, hand_over = sealer._save_durably, Tallies.remove, Tallies.save

    def saving(path: Path, content: bytes) -> None:
        with point.around():
            save(path, content)

    def removing(self: Tallies, name: object) -> None:
        with point.around():
            remove(self, name)

    def handing_over(self: Tallies, name: object, content: bytes) -> None:
        with point.around():
            hand_over(self, name, content)

    monkeypatch.setattr(sealer, "_save_durably", saving)
    monkeypatch.setattr(Tallies, "remove", removing)
    monkeypatch.setattr(Tallies, "save", handing_over)


async def run_with_crash(world: Captured) -> bool:
    """Capture three minutes; when the crash comes, begin anew on what is left. Tell whether it came."""
    conn = world.connect()
    world.traffic(conn)
    world.until(1)
    world.traffic(conn)
    after = world.disconnect(conn)
    world.until(2)
    world.traffic(world.connect(after))
    has_crashed = False
    try:
        await world.end()
    except* Crash:
        has_crashed = True
    if has_crashed:
        world.begin()
        await world.end()
    return has_crashed


async def report_of(world: Captured) -> Report:
    return await verify(world.store, VerifySpec(FEED, "v1", at(0), at(10)))


@pytest.mark.parametrize("first", range(SHARES))
async def test_whatever_step_is_the_last_one_the_chain_and_the_ledger_are_whole(
    tmp_path, monkeypatch, first, autojump_clock
):
    for steps in range(first, MOST_STEPS, SHARES):
        store = CrashingStore()
        store.point = CrashPoint(steps)
        with monkeypatch.context() as patched:
            crashes(patched, store.point)
            has_crashed = await run_with_crash(world := Captured(tmp_path / str(steps), store))
        world.archive()
        report = await report_of(world)
        assert report.findings == [], f"crash at step {steps}"
        assert report.ledger_records == report.objects == len(world.raw_keys())
        assert list(report.writers.values()) == [report.objects]
        assert not Tallies(world.directory).names()
        if not has_crashed:
            break
    assert 25 < steps < MOST_STEPS - SHARES


async def test_two_writers_of_one_feed_have_a_chain_each(tmp_path, autojump_clock):
    one = Captured(tmp_path / "one")
    two = Captured(tmp_path / "two", one.store, boot="d")
    for world in (one, two):
        conn = world.connect()
        for minute in range(3):
            world.until(minute)
            world.traffic(conn, 2)
    for world in (two, one):
        await world.end()
    report = await report_of(one)
    assert len(one.raw_keys()) == 6
    assert sorted(report.writers.values()) == [3, 3]
    assert not [finding for finding in report.findings if finding.check in {"chain", "gaps", "order"}]


async def test_a_writer_keeps_its_name_over_restarts_and_a_new_directory_gets_another(tmp_path, autojump_clock):
    names = []
    for folder in ("one", "one", "two"):
        world = Captured(tmp_path / folder)
        world.traffic(world.connect())
        await world.end()
        names.append(world.manifest(world.raw_keys()[-1]).writer)
    assert names[0] == names[1] != names[2]
    assert all(len(name) <= 32 for name in names)


async def test_a_chain_that_an_earlier_release_began_goes_on_under_its_name(tmp_path, autojump_clock):
    world = Captured(tmp_path)
    world.traffic(world.connect())
    await world.end()
    path = world.directory / sealer.STATE_FILE
    old = {
        name: value
        for name, value in msgspec.json.decode(path.read_bytes()).items()
        if name not in {"writer", "stored"}
    }
    path.write_bytes(msgspec.json.encode(old))
    world.begin()
    world.until(1)
    world.traffic(world.connect())
    await world.end()
    assert world.manifest(world.raw_keys()[-1]).writer == FEED


class DoubtfulStore(MemoryStore):
    """Refuses a manifest as existing and then does not have it: a store whose parts disagree for a while."""

    is_in_doubt = True

    async def create(self, key: str, body: bytes) -> bool:
        if self.is_in_doubt and key.endswith(".manifest.json"):
            await trio.lowlevel.checkpoint()
            raise AlreadyStored(f"object {key} exists with other content")
        return await super().create(key, body)


async def test_no_chain_is_linked_to_a_manifest_that_is_not_there(tmp_path, autojump_clock):
    """Mutant: take our own bytes for the stored ones; the next manifest named one that nobody has."""
    store = DoubtfulStore()
    world = Captured(tmp_path, store)
    conn = world.connect()
    world.traffic(conn)
    world.until(1)
    world.traffic(conn)
    with pytest.raises(StoreDown, match="cannot be read"):
        await world.end()
    store.is_in_doubt = False
    await world.seal()
    world.archive()
    assert (await report_of(world)).findings == []


async def test_the_chain_goes_on_from_what_is_stored_also_if_another_release_worded_it(tmp_path, autojump_clock):
    """Mutant: go on from our own wording; the next manifest named one that nobody has."""
    world = Captured(tmp_path)
    conn = world.connect()
    world.traffic(conn)
    await world.normalize()
    world.journal.close()
    await world.seal()
    (key,) = world.raw_keys()
    world.store.objects[key.manifest] = world.store.objects[key.manifest].replace(b"{", b'{"more":1,', 1)
    state = world.directory / sealer.STATE_FILE
    sealed = msgspec.json.decode(state.read_bytes())
    state.write_bytes(msgspec.json.encode({"writer": sealed["writer"]}))  # as before that segment was stored
    world.begin()
    world.until(1)
    world.traffic(conn)
    await world.end()
    world.archive()
    report = await report_of(world)
    assert not [finding for finding in report.findings if finding.check == "chain"]
    assert report.objects == len(world.raw_keys()) >= 2
