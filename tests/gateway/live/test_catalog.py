import trio

from ssmd.bus.memory import MemoryBroker, MemoryDialer
from ssmd.gateway.access import Series
from ssmd.gateway.history.catalog import Catalog
from ssmd.gateway.history.feeds import Feeds
from ssmd.gateway.history.link import DialEachTime
from ssmd.gateway.live.catalog import EVERY_S, CatalogKeeper, LiveCatalog
from ssmd.gateway.live.hub import Hub
from ssmd.store.memory import MemoryStore
from tests.integration.rig import environment


async def test_what_is_configured_and_what_is_archived_is_known_also_while_the_store_is_away(autojump_clock):
    store, broker = MemoryStore(), MemoryBroker()
    await store.create("normalized/v1/kraken/trade/OLDUSD/2025/12/06/14-00.capnp.zst", b"x")
    feeds = Feeds(environment(["BTC/USD"]), DialEachTime(MemoryDialer(broker)), store)
    live = LiveCatalog(Hub())
    keeper = CatalogKeeper(live, Catalog(feeds, store))
    assert not live.series()
    async with trio.open_nursery() as nursery:
        await nursery.start(keeper.run)
        await trio.sleep(0.1)
        known = {Series("kraken", "trade", "BTCUSD"), Series("kraken", "trade", "OLDUSD")}
        assert known <= set(live.series())
        store.faults.down = True
        broker.down()
        await trio.sleep(100 * EVERY_S)
        assert known <= set(live.series())
        keeper.drain()
