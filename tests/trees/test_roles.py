import trio

from ssmd import metrics
from ssmd.supervisor import Mailbox, Overflow
from ssmd.trees.roles import gauge


async def test_every_mailbox_shows_how_full_it_is_and_what_it_dropped():
    mailbox: Mailbox[int] = Mailbox("test-gauge", 2, Overflow.DROP_OLDEST)
    gauge(mailbox)
    for item in range(5):
        mailbox.offer(item)
    await trio.lowlevel.checkpoint()
    text = metrics.render().decode()
    assert 'ssmd_mailbox_items{mailbox="test-gauge"} 2.0' in text
    assert 'ssmd_mailbox_dropped_items{mailbox="test-gauge"} 3.0' in text
