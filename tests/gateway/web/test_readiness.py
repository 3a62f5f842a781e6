import trio

from ssmd.gateway.web.readiness import STORE_EVERY_S, STORE_WITHIN_S, Readiness
from ssmd.store.memory import MemoryStore
from ssmd.supervisor import HealthBoard


async def test_what_is_away_and_back_is_told_each_time(autojump_clock):
    board, store, trouble = HealthBoard(), MemoryStore(), [""]
    readiness = Readiness(board, store, lambda: trouble[0])
    assert not board.ready
    async with trio.open_nursery() as nursery:
        await nursery.start(readiness.run)
        await trio.sleep(1.5)
        assert board.ready
        trouble[0], store.faults.down = "cannot be written", True
        await trio.sleep(STORE_EVERY_S)
        assert {check.name: check.is_ok for check in board.checks()} == {"store": False, "db": False}
        assert {check.name: check.detail for check in board.checks()}["db"] == "cannot be written"
        trouble[0], store.faults.down, store.faults.delay_s = "", False, STORE_WITHIN_S + 1
        await trio.sleep(STORE_EVERY_S + STORE_WITHIN_S)
        assert {check.name: check.is_ok for check in board.checks()} == {"store": False, "db": True}
        store.faults.delay_s = 0
        await trio.sleep(STORE_EVERY_S + STORE_WITHIN_S)
        assert board.ready
        readiness.drain()
