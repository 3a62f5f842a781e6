"""Whatever is changed in an archive, `verify` finds it and says where; what is as it was gets no complaint."""

from collections.abc import Iterable
from hashlib import sha256

import msgspec
import pytest
from msgspec.structs import replace

from ssmd.archive.digest import bind_day, unbind
from ssmd.archive.records import NS_PER_DAY
from ssmd.clock import NS_PER_S
from ssmd.codec import blocks
from ssmd.errors import ConfigError
from ssmd.protocols import quality
from ssmd.protocols.coverage import Gap
from ssmd.reprocess.verify import Report, VerifySpec, sampled, verify
from ssmd.store.keys import DigestKey, NormalizedKey, QualityKey, RawKey
from tests.reprocess.captured import FEED, Captured, at, faulty_run

LAST = RawKey(FEED, at(4))
TRADES = NormalizedKey("v1", FEED, "trade", "BTCUSD", at(4))


@pytest.fixture
async def world(tmp_path, autojump_clock) -> Captured:
    made = Captured(tmp_path)
    await faulty_run(made, restarts=True)
    return made


async def report_of(world: Captured, start: int = 0, end: int = 5, sample: int | None = None) -> Report:
    return await verify(world.store, VerifySpec(FEED, "v1", at(start), at(end), sample))


def checks(report: Report) -> set[str]:
    return {finding.check for finding in report.findings}


def objects(report: Report, check: str) -> set[str]:
    return {finding.object for finding in report.findings if finding.check == check}


async def test_an_archive_as_it_was_made_is_proved(world, autojump_clock):
    seen = []
    spec = VerifySpec(FEED, "v1", at(0), at(5))
    report = await verify(world.store, spec, lambda result, total: seen.append((result.minute, total)))
    assert report.findings == []
    assert (report.ok, report.minutes, report.minutes_compared, report.ledger_records) == (True, 4, 4, 4)
    assert report.frames == sum(world.manifest(key).frames for key in world.raw_keys())
    assert report.events_compared == len(world.messages)
    assert seen == [(at(0), 4), (at(1), 4), (at(3), 4), (at(4), 4)]
    assert list(report.writers.values()) == [4]


@pytest.mark.parametrize(("start", "end"), [(1, 5), (3, 5), (4, 5), (0, 1), (1, 2)])
async def test_a_part_of_an_archive_is_proved_with_what_lies_before_it(world, start, end, autojump_clock):
    report = await report_of(world, start, end)
    assert report.findings == []
    assert report.minutes == report.minutes_compared >= 1


@pytest.mark.parametrize("sample", [0, 1, 2, 3])
async def test_a_sample_compares_the_events_of_so_many_minutes_and_reads_all(world, sample, autojump_clock):
    report = await report_of(world, sample=sample)
    assert report.findings == []
    assert (report.minutes, report.minutes_compared) == (4, sample)


async def test_a_writer_that_began_with_nothing_behind_another_one_is_proved_too(world, tmp_path, autojump_clock):
    """A restored system: trades between the two were missed, which the second one cannot know and this one sees."""
    other = Captured(tmp_path / "restored", world.store, boot="d")
    other.until(6)
    other.trade_id = world.trade_id + 100
    other.traffic(other.connect())
    await other.end()
    other.archive()
    report = await report_of(world, end=7)
    assert report.findings == []
    assert sorted(report.writers.values()) == [1, 4]


def test_samples_are_spread_evenly():
    assert sampled(range(100), 3) == {0, 50, 99} or sampled(range(100), 3) == {0, 49, 99}
    assert sampled(range(3), None) == {0, 1, 2}
    assert len(sampled(range(1440), 10)) == 10


async def test_the_late_part_of_a_minute_belongs_to_it(world, autojump_clock):
    body = world.store.objects[TRADES.key]
    world.edit_events(TRADES, lambda events: events[:-2])
    late = replace(TRADES, part=1)
    world.store.objects[late.key] = body
    world.edit_events(late, lambda events: events[-2:])
    assert (await report_of(world)).findings == []


# damage: raw -------------------------------------------------------------------------------------------------


async def test_a_flipped_byte_is_found(world, autojump_clock):
    body = bytearray(world.store.objects[LAST.key])
    body[len(body) // 2] ^= 1
    world.store.objects[LAST.key] = bytes(body)
    report = await report_of(world)
    assert objects(report, "hash") == {LAST.key}
    assert not report.ok


async def test_a_torn_object_is_found(world, autojump_clock):
    world.store.objects[LAST.key] = world.store.objects[LAST.key][:-40]
    report = await report_of(world)
    assert {"hash", "size", "torn", "archive", "ledger"} <= checks(report)
    assert objects(report, "torn") == {LAST.key}


async def test_a_missing_minute_is_found(world, autojump_clock):
    key = world.raw_keys()[1]
    del world.store.objects[key.key], world.store.objects[key.manifest]
    report = await report_of(world)
    assert {"chain", "archive", "ledger"} <= checks(report)
    assert any("no raw data of this minute" in finding.detail for finding in report.findings)


async def test_a_minute_missing_within_a_connection_is_a_hole_in_its_order(world, autojump_clock):
    key = world.raw_keys()[2]
    del world.store.objects[key.key], world.store.objects[key.manifest]
    (finding, *_) = [one for one in (await report_of(world)).findings if one.check == "order"]
    assert "c-0-2 begins with seq" in finding.detail


async def test_a_removed_manifest_is_found(world, autojump_clock):
    del world.store.objects[world.raw_keys()[1].manifest]
    report = await report_of(world)
    assert {"no_manifest", "chain"} <= checks(report)


async def test_a_manifest_without_object_is_found(world, autojump_clock):
    del world.store.objects[LAST.key]
    assert objects(await report_of(world), "missing_object") == {LAST.key}


async def test_swapped_objects_are_found(world, autojump_clock):
    one, two = world.raw_keys()[:2]
    stored = world.store.objects
    stored[one.key], stored[two.key] = stored[two.key], stored[one.key]
    assert objects(await report_of(world), "hash") == {one.key, two.key}


async def test_swapped_objects_with_their_manifests_are_found(world, autojump_clock):
    one, two = world.raw_keys()[:2]
    stored = world.store.objects
    stored[one.key], stored[two.key] = stored[two.key], stored[one.key]
    stored[one.manifest], stored[two.manifest] = stored[two.manifest], stored[one.manifest]
    report = await report_of(world)
    assert {"manifest", "minute", "chain"} <= checks(report)
    assert any("wrong order" in finding.detail for finding in report.findings)


async def test_a_second_chain_of_the_same_writer_is_a_fork(world, autojump_clock):
    text = world.store.objects[LAST.manifest]
    before = world.manifest(LAST).previous_sha256
    earlier = world.manifest(world.raw_keys()[2]).previous_sha256
    world.store.objects[LAST.manifest] = text.replace(before.encode(), earlier.encode())
    (finding,) = [one for one in (await report_of(world)).findings if one.check == "chain"]
    assert "fork" in finding.detail
    world.store.objects[LAST.manifest] = text.replace(f'"{before}"'.encode(), b"null")
    (finding,) = [one for one in (await report_of(world)).findings if one.check == "chain"]
    assert "second chain" in finding.detail


# a beginning that retention took -----------------------------------------------------------------------------


def forget(world: Captured, count: int, *, archive: bool = True) -> None:
    """Take the first raw minutes out of the store as retention does, with what was made of them."""
    for key in world.raw_keys()[:count]:
        gone = {key.key, key.manifest}
        if archive:
            gone |= {QualityKey.of("v1", key).key}
            ending = f"/14-{key.minute_ns // NS_PER_S // 60 % 60:02}.capnp.zst"
            gone |= {name for name in world.store.objects if name.endswith(ending)}
        for name in gone & world.store.objects.keys():
            del world.store.objects[name]


def forget_one(world: Captured, place: int) -> None:
    key = world.raw_keys()[place]
    del world.store.objects[key.key], world.store.objects[key.manifest]


def begin_again(world: Captured) -> None:
    text = world.store.objects[LAST.manifest]
    world.store.objects[LAST.manifest] = text.replace(f'"{world.manifest(LAST).previous_sha256}"'.encode(), b"null")


@pytest.mark.parametrize(("count", "unprovable"), [(1, ["c-0-1"]), (2, []), (3, ["c-0-2"])])
@pytest.mark.parametrize("start", [0, 4])
async def test_what_retention_left_is_proved_but_for_connections_that_began_before(
    world, autojump_clock, count, unprovable, start
):
    forget(world, count)
    report = await report_of(world, start)
    assert report.findings == []
    assert report.minutes == report.minutes_compared >= 1
    assert report.unprovable == (unprovable if start == 0 or count == 3 else [])


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda world: world.edit_events(TRADES, lambda events: events[1:]), "archive"),
        (lambda world: world.store.objects.pop(QualityKey.of("v1", world.raw_keys()[0]).key), "ledger"),
        (lambda world: world.store.objects.pop(world.raw_keys()[1].key), "missing_object"),
        (lambda world: forget_one(world, 1), "chain"),
        (begin_again, "chain"),
    ],
)
async def test_damage_behind_a_beginning_that_was_taken_is_found(world, autojump_clock, damage, found):
    forget(world, 1)
    damage(world)
    assert found in checks(await report_of(world))


async def test_events_without_their_raw_data_are_found_whoever_took_that(world, autojump_clock):
    forget(world, 1, archive=False)
    assert {"archive", "ledger"} <= checks(await report_of(world))


async def test_a_beginning_that_is_missing_in_the_middle_was_not_taken_by_retention(world, autojump_clock):
    """Only the end of a chain is left by retention: here raw data of before the connection is there."""
    forget_one(world, 2)
    report = await report_of(world, 4)
    assert "begin_unknown" in checks(report)
    assert report.unprovable == []


def covered_up(world: Captured, key: RawKey, lines: Iterable[bytes]) -> None:
    """Store other lines under a key, and a manifest that fits them."""
    content = b"".join(lines)
    body = blocks.compress(content)
    manifest = replace(
        world.manifest(key),
        frames=content.count(b"\n") - world.manifest(key).events,
        raw_bytes=len(content),
        stored_bytes=len(body),
        sha256=sha256(body).hexdigest(),
    )
    world.store.objects[key.key], world.store.objects[key.manifest] = body, msgspec.json.encode(manifest) + b"\n"


async def test_a_deleted_line_is_found_also_behind_a_manifest_that_fits(world, autojump_clock):
    lines = world.lines(LAST)
    covered_up(world, LAST, lines[:5] + lines[6:])
    report = await report_of(world)
    assert {"order", "archive", "ledger"} <= checks(report)


async def test_a_line_that_cannot_be_read_is_found(world, autojump_clock):
    lines = world.lines(LAST)
    covered_up(world, LAST, [*lines[:5], b"{}\n", *lines[6:]])
    report = await report_of(world)
    assert [one.detail for one in report.findings if one.check == "line"] == [
        "1 lines cannot be read, the first is line 6"
    ]


async def test_a_gap_taken_out_of_a_manifest_is_found(world, autojump_clock):
    key = world.raw_keys()[1]
    world.store.objects[key.manifest] = msgspec.json.encode(replace(world.manifest(key), gaps=())) + b"\n"
    report = await report_of(world)
    assert objects(report, "gaps") == {key.manifest}


async def test_a_gap_made_up_is_found(world, autojump_clock):
    gap = Gap(at(4), at(4) + NS_PER_S, "silent", ("BTCUSD",))
    world.store.objects[LAST.manifest] = msgspec.json.encode(replace(world.manifest(LAST), gaps=(gap,))) + b"\n"
    assert objects(await report_of(world), "gaps") == {LAST.manifest}


# damage: what was made of it ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda events: [*events, events[-1]], "1 events are there more than once"),
        (lambda events: events[:-1], "1 events are missing, first c-0-2/"),
        (lambda events: [*events, replace(events[-1], seq=9999)], "1 events are too many, first c-0-2/9999/"),
        (lambda events: [replace(events[0], price="1.0"), *events[1:]], "price is 1.0, raw data gives"),
        (lambda events: events[::-1], "events are not in order"),
    ],
)
async def test_a_changed_event_is_found_and_named(world, edit, said, autojump_clock):
    world.edit_events(TRADES, edit)
    report = await report_of(world)
    assert checks(report) == {"archive"}
    assert any(said in finding.detail for finding in report.findings), report.findings
    assert (report.minutes_wrong, report.ok) == (1, False)


async def test_a_missing_object_and_one_too_many_are_found(world, autojump_clock):
    body = world.store.objects.pop(TRADES.key)
    other = replace(TRADES, symbol="ETHUSD")
    world.store.objects[other.key] = body
    assert objects(await report_of(world), "archive") == {"trade/BTCUSD", other.key}


async def test_an_object_that_cannot_be_read_is_found(world, autojump_clock):
    world.store.objects[TRADES.key] = world.store.objects[TRADES.key][:-9]
    assert any("cannot be read" in finding.detail for finding in (await report_of(world)).findings)


async def test_a_ledger_record_that_says_something_else_is_found(world, autojump_clock):
    record = world.record(LAST)
    name = QualityKey.of("v1", LAST).key
    figures = replace(record.figures, checksums_failed=3)
    world.store.objects[name] = quality.encode(replace(record, figures=figures))
    (finding,) = (await report_of(world)).findings
    assert (finding.object, finding.detail) == (name, "figures.checksums_failed is 3, raw data gives 0")


async def test_a_digest_that_says_something_else_than_its_records_is_found(world, autojump_clock):
    day_ns = at(0) // NS_PER_DAY * NS_PER_DAY
    await bind_day(world.store, "v1", FEED, day_ns)
    assert (await report_of(world)).findings == []
    name, digest = QualityKey.of("v1", LAST).key, DigestKey("v1", FEED, day_ns).key
    texts = unbind(world.store.objects[digest])
    texts[LAST] = texts[LAST].replace(b'"checksums_failed":0', b'"checksums_failed":7')
    world.store.objects[digest] = blocks.compress(b"".join(texts.values()))
    (finding,) = (await report_of(world)).findings
    assert (finding.object, finding.detail) == (name, "the digest of the day says something else")
    world.store.objects[digest] = b"?"
    (finding,) = (await report_of(world)).findings
    assert finding.object == digest


async def test_who_wrote_a_record_is_not_compared(world, autojump_clock):
    other = replace(world.record(LAST), source=quality.Source("9.9", "abc1234"))
    world.store.objects[QualityKey.of("v1", LAST).key] = quality.encode(other)
    assert (await report_of(world)).findings == []


async def test_a_missing_ledger_record_is_found_unless_the_version_has_no_ledger_at_all(world, autojump_clock):
    del world.store.objects[QualityKey.of("v1", LAST).key]
    assert checks(await report_of(world)) == {"ledger"}
    for key in [key for key in world.store.objects if key.startswith("quality/")]:
        del world.store.objects[key]
    report = await report_of(world)
    assert (report.ledger, report.findings) == (False, [])


async def test_what_the_damage_of_another_minute_hides_is_still_found(world, autojump_clock):
    world.store.objects[LAST.key] = b"nothing"
    world.edit_events(replace(TRADES, minute_ns=at(0)), lambda events: events[1:])
    assert {at(0), at(4)} <= {finding.minute for finding in (await report_of(world)).findings}


async def test_an_unknown_version_is_a_mistake_of_the_caller(world, autojump_clock):
    with pytest.raises(ConfigError, match="v9"):
        await verify(world.store, VerifySpec(FEED, "v9", at(0), at(5)))


async def test_a_range_that_begins_within_a_gap_gets_no_complaint_about_it(tmp_path, autojump_clock):
    """Mutant: gaps must be equal everywhere; two failed connections in one outage gave a gap that nobody recorded."""
    world = Captured(tmp_path / "outage")
    after = world.disconnect(world.connect())
    for minute in (30, 60):
        world.until(minute)
        after = world.disconnect(world.connect(after, live=False))
    world.until(61)
    world.traffic(world.connect(after))
    await world.end()
    world.archive()
    report = await report_of(world, 60, 70)
    assert report.findings == []
    assert report.objects == 2
    assert (await report_of(world, 0, 70)).findings == []
