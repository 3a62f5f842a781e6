"""What only a bucket can do wrong: refuse a key, answer 500 after the effect, hang, ignore the condition."""

import traceback
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace
from obstore.exceptions import GenericError
from structlog.testing import capture_logs

from ssmd.actors.sweeper import DAY_NS, Retention, Sweeper
from ssmd.errors import AlreadyStored, ConfigError, Outage, StoreDown, StoreRefused
from ssmd.settings import Settings, StorageSettings
from ssmd.store.keys import RawKey
from ssmd.store.objects import SLOWEST_BYTES_PER_S, SMALL_BYTES, ObjectStore
from ssmd.store.s3 import S3Bucket, s3_store
from ssmd.store.s3_access import s3_access
from ssmd.store.s3_answers import answer_of
from ssmd.trees.storage import bucket_stores, open_store
from tests.actors.fakes import START_NS
from tests.integration.rig import environment
from tests.store.fake_s3 import FakeS3, fake_s3

BUCKET = "ssmd-test-raw"
CANARIES = ("AKIACANARY", "s3cr3t-canary")


@pytest.fixture
def fake():
    with fake_s3() as server:
        yield server


def store_of(settings: StorageSettings, bucket: str = BUCKET) -> ObjectStore:
    return s3_store(s3_access(settings), bucket)


def puts(fake: FakeS3, key: str) -> int:
    return fake.requests.count(f"PUT /{BUCKET}/{key}")


# what the server answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 507])
async def test_a_server_that_fails_is_tried_a_few_times_and_then_away(fake, status):
    fake.status, fake.code = status, "SlowDown"
    with pytest.raises(
        StoreDown, match=f"create a: bucket {BUCKET} at http://127.0.0.1:[0-9]+: HTTP {status}"
    ) as caught:
        await store_of(fake.settings).create("a", b"x")
    assert not isinstance(caught.value, StoreRefused)
    assert 2 <= puts(fake, "a") <= 4
    fake.status = 0
    assert await store_of(fake.settings).create("a", b"x") is True


async def test_a_create_whose_answer_was_lost_is_found_done_by_its_content(fake):
    fake.fails_after_store = 1
    assert await store_of(fake.settings).create("a", b"x") is False  # tried again inside the driver: 412
    assert puts(fake, "a") == 2
    with pytest.raises(AlreadyStored):
        await store_of(fake.settings).create("a", b"y")
    assert fake.objects == {"a": b"x"}


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "InvalidAccessKeyId", "does not know the key in storage.access_key_id"),
        (403, "SignatureDoesNotMatch", "the secret does not belong"),
        (403, "AccessDenied", "allow reading, writing, listing and deleting"),
        (403, "RequestTimeTooSkewed", "clock is wrong"),
        (401, "", "allow reading, writing"),
        (400, "AuthorizationHeaderMalformed", "storage.region"),
        (400, "", "right scheme"),
        (501, "NotImplemented", "lacks an operation"),
    ],
)
async def test_a_refusal_says_what_to_do_and_shows_no_key(fake, status, code, told):
    fake.status, fake.code = status, code
    with pytest.raises(StoreRefused, match="refuses") as caught:
        await store_of(fake.settings).create("a", b"x")
    assert told in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not [canary for canary in CANARIES if canary in shown]


async def test_every_operation_can_be_refused(fake):
    fake.status = 403
    store = store_of(fake.settings)
    for call in (lambda: store.read("a"), lambda: store.head("a"), lambda: store.delete("a")):
        with pytest.raises(StoreRefused, match="refuses"):
            await call()


def test_a_refusal_is_paced_like_an_outage_and_ends_a_command_like_a_wrong_setting():
    assert issubclass(StoreRefused, Outage)
    assert issubclass(StoreRefused, ConfigError)


async def test_a_server_that_hangs_is_away_and_may_have_stored_it_all_the_same(fake):
    fake.go_on.clear()
    store = ObjectStore(S3Bucket(s3_access(fake.settings), BUCKET), deadline_s=0.2)
    with pytest.raises(StoreDown, match="no answer within"):
        await store.create("a", b"x")
    fake.go_on.set()
    assert await store_of(fake.settings).create("a", b"x") in {True, False}
    assert fake.objects["a"] == b"x"


async def test_nobody_there_is_an_outage(fake):
    with pytest.raises(StoreDown, match="cannot connect"):
        await store_of(replace(fake.settings, endpoint="http://127.0.0.1:1")).read("a")


async def test_https_to_a_server_without_it_is_a_refusal(fake):
    with pytest.raises(StoreRefused, match="does not speak TLS"):
        await store_of(replace(fake.settings, endpoint=fake.settings.endpoint.replace("http", "https"))).read("a")


@pytest.mark.parametrize(("size_bytes", "requests"), [(0, 1), (SMALL_BYTES, 1), (SMALL_BYTES + 1, 2)])
async def test_a_small_object_takes_one_request_though_nobody_knows_its_size(fake, size_bytes, requests):
    fake.objects["a"] = body = bytes(size_bytes)
    assert await store_of(fake.settings).read("a") == body
    assert fake.requests == [f"GET /{BUCKET}/a"] * requests
    assert await store_of(fake.settings).read("a", size_bytes) == body
    assert fake.requests[requests:] == [f"GET /{BUCKET}/a"]


async def test_a_probe_uses_every_operation_and_leaves_nothing(fake):
    assert await store_of(fake.settings).probe() is True
    fake.ignores_conditions = True
    assert await store_of(fake.settings).probe() is False
    assert fake.objects == {}


async def test_the_loop_goes_on_while_a_server_hangs(fake):
    fake.go_on.clear()
    ticks = 0
    async with trio.open_nursery() as nursery:
        store = ObjectStore(S3Bucket(s3_access(fake.settings), BUCKET), deadline_s=0.2)

        async def hang() -> None:
            with pytest.raises(StoreDown):
                await store.create("a", b"x")
            nursery.cancel_scope.cancel()

        nursery.start_soon(hang)
        while True:
            await trio.sleep(0.01)
            ticks += 1
    assert ticks >= 5


# a server that ignores If-None-Match -------------------------------------------------------------------------


async def test_on_a_server_that_overwrites_the_store_looks_first_and_says_so(fake):
    fake.ignores_conditions = True
    store = store_of(fake.settings)
    with capture_logs() as logs:
        assert await store.create("a", b"x") is True
        assert await store.create("a", b"x") is False
        with pytest.raises(AlreadyStored):
            await store.create("a", b"y")
    assert fake.objects == {"a": b"x"}  # and nothing is left of the probe
    assert [log["event"] for log in logs] == ["store_overwrites"]


async def test_what_a_server_does_is_probed_once(fake):
    store = store_of(fake.settings)
    for number in range(3):
        await store.create(f"a{number}", b"x")
    assert sum("PUT" in request and "/probe/" in request for request in fake.requests) == 2


# settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"endpoint": "localhost:3900"}, "without a scheme"),
        ({"endpoint": "s3://bucket"}, "with the scheme 's3'"),
        ({"endpoint": "http://"}, "http://host:port"),
        ({"endpoint": "http://host:99999999"}, "no URL"),
        ({"endpoint": "http://AKIACANARY:s3cr3t-canary@host"}, "more than scheme, host and port"),
        ({"endpoint": "http://host/bucket"}, "more than scheme, host and port"),
        ({"region": " "}, "storage.region is empty"),
        ({"access_key_id": ""}, "storage.access_key_id is empty"),
        ({"secret_access_key": ""}, "storage.secret_access_key_file is not set"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_asked(changed, told):
    good = StorageSettings("http://host:3900", "garage", "id", "secret")
    assert s3_access(good).endpoint == "http://host:3900"
    with pytest.raises(ConfigError, match=told) as caught:
        s3_access(replace(good, **changed))
    assert not [canary for canary in CANARIES if canary in str(caught.value)]


@pytest.mark.parametrize("name", ["", "ab", "UPPER", "a/b", "-a-", "a" * 64])
def test_a_name_that_no_bucket_has_is_refused(name):
    with pytest.raises(ConfigError, match="bucket is"):
        store_of(StorageSettings("http://host", "garage", "id", "secret"), name)


def test_no_repr_shows_the_key():
    settings = Settings(storage=StorageSettings("http://u:s3cr3t-canary@host", "garage", *CANARIES))
    shown = [repr(settings), repr(settings.storage)]
    shown.append(repr(s3_access(replace(settings.storage, endpoint="http://host"))))
    shown.append(repr(S3Bucket(s3_access(replace(settings.storage, endpoint="http://host")), BUCKET).driver(0)))
    assert not [canary for canary in CANARIES for text in shown if canary in text]


def test_a_large_object_has_more_time_for_a_try_and_drivers_are_few():
    bucket = S3Bucket(s3_access(StorageSettings("http://host", "garage", "id", "secret")), BUCKET)
    drivers = {id(bucket.driver(size)) for size in range(0, 64 << 20, 100_000)}
    assert len(drivers) < 12
    assert bucket.driver(0) is bucket.driver(0)
    assert bucket.driver(0) is not bucket.driver(10 * SLOWEST_BYTES_PER_S)


def test_an_answer_without_a_status_is_told_by_its_cause():
    assert answer_of(GenericError("… kind: Connect …")).text == "cannot connect"
    assert answer_of(GenericError("something AKIACANARY")).text == "GenericError"


# SeaweedFS ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_missing_bucket_is_empty_and_the_first_create_makes_it(s3_server):
    store = store_of(s3_server.settings, "ssmd-made-raw")
    assert await store.read("a") is None
    assert await store.list("") == []
    assert await store.folders("") == []
    await store.delete("a")
    with capture_logs() as logs:
        assert await store.create("a", b"x") is True
    assert [(log["event"], log["bucket"]) for log in logs] == [("bucket_created", "ssmd-made-raw")]
    again = store_of(s3_server.settings, "ssmd-made-raw")
    with capture_logs() as logs:
        assert await again.create("a", b"x") is False
    assert logs == []


@pytest.mark.slow
async def test_a_key_that_may_only_read_is_told_which_bucket_is_missing_and_what_it_may_not(s3_server):
    await store_of(s3_server.settings, "ssmd-there-raw").create("a", b"x")
    reader = replace(s3_server.settings, access_key_id="readerkey", secret_access_key="readersecret")  # noqa: S106  of IDENTITIES
    assert await store_of(reader, "ssmd-there-raw").read("a") == b"x"
    with pytest.raises(StoreRefused, match=r"bucket ssmd-there-raw .*may not do this"):
        await store_of(reader, "ssmd-there-raw").create("b", b"x")
    with pytest.raises(StoreRefused, match=r"bucket ssmd-absent-raw does not exist .*may not create it"):
        await store_of(reader, "ssmd-absent-raw").create("a", b"x")
    for wrong, told in (
        ({"access_key_id": "nobody"}, "does not know"),
        ({"secret_access_key": "no"}, "does not belong"),
    ):
        with pytest.raises(StoreRefused, match=told):
            await store_of(replace(s3_server.settings, **wrong), "ssmd-there-raw").create("b", b"x")


@pytest.mark.slow
async def test_retention_walks_through_a_bucket_and_deletes_what_is_old(s3_server):
    store = store_of(s3_server.settings, "ssmd-swept-raw")
    old, young = (RawKey("kraken", START_NS - days * DAY_NS) for days in (8, 6))
    for key in (old, young):
        await store.create(key.key, b"x")
        await store.create(key.manifest, b"y")
    retention = Retention(7, 7)
    swept = await Sweeper(retention, store, lambda: START_NS).sweep(retention.expiry(START_NS))
    assert (swept.deleted, swept.deleted_bytes) == (2, 2)
    assert [meta.key for meta in await store.list("raw/")] == [young.key, young.manifest]
    assert (await Sweeper(retention, store, lambda: START_NS).sweep(retention.expiry(START_NS))).deleted == 0


@pytest.mark.slow
async def test_two_buckets_are_one_store_with_whole_keys(s3_server):
    settings = Settings(storage=s3_server.settings)
    described = environment(["BTC/USD"])
    store, buckets = open_store(described, settings, Path("/nowhere")), bucket_stores(described, settings)
    assert list(buckets) == ["ssmd-test-raw", "ssmd-test-normalized"]
    for key in ("raw/a/1", "normalized/a/1", "holds/a"):
        await store.create(key, b"x")
    assert [meta.key for meta in await store.list("")] == ["holds/a", "normalized/a/1", "raw/a/1"]
    assert [meta.key for meta in await buckets["ssmd-test-raw"].list("")] == ["raw/a/1"]
    assert {"holds/", "normalized/", "raw/"} <= set(await store.folders(""))
    await store.delete("raw/a/1")
    assert await buckets["ssmd-test-raw"].list("") == []
