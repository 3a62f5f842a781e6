import threading

import pytest
import trio
from obstore.exceptions import AlreadyExistsError, GenericError

from ssmd.errors import AlreadyStored, StoreDown
from ssmd.store.objects import MAX_CALLS, ObjectStore
from tests.store.bucket import Bucket


class Broken(Bucket):
    """A bucket whose creates fail as told: before the effect, after it, or never return until released."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Exception | None = None
        self.after: Exception | None = None
        self.cut_bytes = 0
        self.release = threading.Event()
        self.release.set()

    def put_new(self, key: str, body: bytes) -> None:
        self.release.wait()
        if self.before is not None:
            raise self.before
        super().put_new(key, body[: len(body) - self.cut_bytes])
        if self.after is not None:
            error, self.after = self.after, None
            raise error


async def test_an_ambiguous_create_is_done_when_it_is_tried_again():
    place = Broken()
    store = ObjectStore(place)
    place.after = GenericError("connection reset\n\nDebug source: a page of it")
    with pytest.raises(StoreDown, match=r"create a: GenericError: connection reset$"):
        await store.create("a", b"x")
    assert await store.create("a", b"x") is False
    with pytest.raises(AlreadyStored):
        await store.create("a", b"y")


async def test_a_refusal_of_our_own_earlier_success_is_a_success():
    place = Broken()
    place.after = AlreadyExistsError("retried inside the driver")
    assert await ObjectStore(place).create("a", b"x") is False


async def test_an_object_that_exists_but_cannot_be_read_is_an_outage():
    place = Broken()
    place.before = AlreadyExistsError("exists")
    with pytest.raises(StoreDown, match="cannot be read"):
        await ObjectStore(place).create("a", b"x")


async def test_an_object_stored_short_is_never_reported_as_stored():
    place = Broken()
    place.cut_bytes = 1
    with pytest.raises(StoreDown, match="3 bytes written, 2 bytes stored"):
        await ObjectStore(place).create("a", b"abc")


async def test_a_hanging_store_is_an_outage_at_the_deadline_and_may_still_succeed():
    place = Broken()
    store = ObjectStore(place, deadline_s=0.05)
    place.release.clear()
    try:
        with pytest.raises(StoreDown, match=r"no answer within 0\.05"):
            await store.create("a", b"x")
    finally:
        place.release.set()
    store = ObjectStore(place)
    assert await store.create("a", b"x") in {True, False}
    assert await store.read("a") == b"x"


async def test_calls_that_hang_use_up_the_store_s_threads_only():
    place = Broken()
    store = ObjectStore(place, deadline_s=0.05)
    place.release.clear()
    try:
        async with trio.open_nursery() as nursery:
            for number in range(2 * MAX_CALLS):
                nursery.start_soon(expect_outage, store, f"a{number}")
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        with pytest.raises(StoreDown, match="no answer"):
            await store.head("b")
    finally:
        place.release.set()


async def expect_outage(store: ObjectStore, key: str) -> None:
    with pytest.raises(StoreDown):
        await store.create(key, b"x")


async def test_a_bug_is_not_an_outage():
    place = Broken()
    place.before = TypeError("a bug")
    with pytest.raises(TypeError):
        await ObjectStore(place).create("a", b"x")


async def test_cancellation_passes_through():
    place = Broken()
    place.release.clear()
    try:
        with trio.move_on_after(0.05) as scope:
            await ObjectStore(place).create("a", b"x")
        assert scope.cancelled_caught
    finally:
        place.release.set()
