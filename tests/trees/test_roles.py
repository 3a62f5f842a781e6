import pytest
import trio
from msgspec.structs import replace

from ssmd import metrics
from ssmd.actors.report import encode_config
from ssmd.actors.symbol_watcher import BUCKET
from ssmd.bus.memory import MemoryDialer
from ssmd.records import SymbolSpec
from ssmd.settings import Settings
from ssmd.store.memory import MemoryStore
from ssmd.supervisor import HealthBoard, Mailbox, Overflow
from ssmd.trees import RoleSpec, World
from ssmd.trees.roles import Connector
from ssmd.trees.world import gauge
from tests.integration.rig import environment


async def test_every_mailbox_shows_how_full_it_is_and_what_it_dropped():
    mailbox: Mailbox[int] = Mailbox("test-gauge", 2, Overflow.DROP_OLDEST)
    gauge(mailbox)
    for item in range(5):
        mailbox.offer(item)
    await trio.lowlevel.checkpoint()
    text = metrics.render().decode()
    assert 'ssmd_mailbox_items{mailbox="test-gauge"} 2.0' in text
    assert 'ssmd_mailbox_dropped_items{mailbox="test-gauge"} 3.0' in text


@pytest.mark.slow
async def test_a_connector_that_restarts_while_the_bus_is_away_captures_what_it_captured_before(tmp_path):
    dialer = MemoryDialer()
    described = environment(["BTC/USD"])
    spec = RoleSpec("connector", "kraken", described, Settings(), "nats://127.0.0.1:1", str(tmp_path), "")
    first = Connector(spec, World(dialer, MemoryStore()), HealthBoard())
    changed = replace(first.config.get(), symbols=(SymbolSpec("ETH/USD", "ETHUSD"),))
    dialer.broker.write(BUCKET, "test.feeds.kraken", encode_config(changed))
    async with trio.open_nursery() as nursery:
        await nursery.start(first._symbol_watcher().run)
        with trio.fail_after(5):
            while not (tmp_path / "journal/kraken/live-config.json").exists():  # noqa: ASYNC110  # a file tells nobody
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    first.journal.close()
    dialer.broker.down()
    again = Connector(spec, World(dialer, MemoryStore()), HealthBoard())
    assert again.config.get() == replace(changed, revision=1)
    again.journal.close()
