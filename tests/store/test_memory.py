import pytest
import trio

from ssmd.errors import StoreDown
from ssmd.store.memory import MemoryStore, StoreFaults


async def test_a_store_that_is_down_fails_until_it_is_up(autojump_clock):
    store = MemoryStore(StoreFaults(down=True))
    for call in (
        lambda: store.create("a", b"x"),
        lambda: store.read("a"),
        lambda: store.head("a"),
        lambda: store.list(""),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreDown):
            await call()
    store.faults.down = False
    assert await store.create("a", b"x") is True


async def test_a_slow_store_takes_virtual_time_and_past_the_deadline_it_is_away(autojump_clock):
    store = MemoryStore(StoreFaults(delay_s=2))
    assert await store.create("a", b"x") is True
    assert trio.current_time() == pytest.approx(2)
    store.faults.delay_s = 60
    with pytest.raises(StoreDown, match="no answer within 5 s"):
        await store.create("b", b"x")
    assert trio.current_time() == pytest.approx(7)
    assert list(store.objects) == ["a"]


async def test_a_create_that_fails_after_it_stored_is_done_at_the_next_try(autojump_clock):
    store = MemoryStore(StoreFaults(creates_failing_after_store=1))
    with pytest.raises(StoreDown):
        await store.create("a", b"x")
    assert await store.create("a", b"x") is False
