"""What is live, and what was as if it were: the same claims for each kind of client, against a whole gateway."""

import itertools
import time

import pytest
from msgspec.structs import replace

from ssmd.client import Connection, Gap, InvalidParameter, NotFound, Quote, Refused, SsmdError, Trade
from ssmd.clock import now_ns
from tests.client.modes import first, numbers
from tests.client.served import quote, trade

seqs = itertools.count(1_000)


# live --------------------------------------------------------------------------------------------------------


async def heard(client, gateway, *, until: int, start: str, after=None, **words):
    """Give messages until this trade has come; after: (number, what to do when that trade has come)."""
    messages = []
    subscription = client.subscribe("BTCUSD", types=["trade"], start=start, **words)
    async for message in subscription:
        messages.append(message)
        if isinstance(message, Trade):
            seq = numbers([message])[0]
            if after is not None and seq == after[0]:
                after[1]()
            if seq == until:
                break
    await subscription.aclose()
    return messages


def test_a_subscription_begins_where_it_is_told_and_goes_on_live(use, gateway):
    old, new = next(seqs), next(seqs)
    pos = gateway.publish(quote(next(seqs)))
    gateway.publish(trade(old))

    async def claim(client):
        after = (old, lambda: gateway.publish(quote(next(seqs)), trade(new)))
        messages = await heard(client, gateway, until=new, start=f"pos:{pos}", after=after)
        trades = [message for message in messages if isinstance(message, Trade)]
        assert numbers(trades) == [old, new]
        assert trades[0].pos == pos + 1

    use(claim)


def test_over_cut_connections_each_message_comes_once_and_the_reader_is_told(use, gateway):
    wanted = [next(seqs) for _ in range(12)]
    pos = gateway.publish(*(trade(seq) for seq in wanted[:3]))

    def cut() -> None:
        gateway.cut()
        gateway.publish(*(trade(seq) for seq in wanted[3:]))

    async def claim(client):
        messages = await heard(client, gateway, until=wanted[-1], start=f"pos:{pos - 3}", after=(wanted[1], cut))
        assert numbers(one for one in messages if isinstance(one, Trade)) == wanted
        assert [one.state for one in messages if isinstance(one, Connection)] == ["lost", "resumed"]

    use(claim)


def test_it_goes_on_behind_a_message_that_is_named_by_its_id(use, gateway):
    old, new = next(seqs), next(seqs)
    gateway.publish(trade(old), trade(new))

    async def claim(client):
        row = next(row for row in (await client.trades("BTCUSD", last=5)).rows if numbers([row]) == [old])
        messages = await heard(client, gateway, until=new, start=f"id:{row.id}")
        assert numbers(messages) == [new]
        with pytest.raises(SsmdError) as gone:
            await first(client.subscribe("BTCUSD", start="id:kraken/never-0-1/1/0"))
        assert gone.value.code == "resume_expired"

    use(claim)


def test_a_subscription_may_begin_with_the_last_quote_of_each_symbol(use, gateway):
    async def claim(client):
        last, new, got = next(seqs), next(seqs), []
        gateway.publish(quote(last))
        await settled(client, last)
        subscription = client.subscribe("BTCUSD", types=["quote"], snapshot=True)
        async for message in subscription:
            if not isinstance(message, Quote):
                continue  # a gap: the quotes of other tests come from other connections
            got.append((numbers([message])[0], message.snapshot))
            if len(got) == 1:
                gateway.publish(quote(new))
            if got[-1][0] == new:
                break
        await subscription.aclose()
        assert got == [(last, True), (new, False)]

    use(claim)


async def settled(client, last: int) -> None:
    """Return when the gateway hands this quote on: what comes next finds it."""
    async for message in (subscription := client.subscribe("BTCUSD", types=["quote"], start="-1h")):
        if isinstance(message, Quote) and numbers([message]) == [last]:
            break
    await subscription.aclose()


def test_one_refused_symbol_leaves_the_others_and_none_left_is_an_error(use, gateway):
    async def claim(client):
        gateway.publish(trade(next(seqs)))
        message = await first(client.subscribe("BTCUSDD,BTCUSD", start="-1h"))
        assert message == Refused("BTCUSDD", "unknown_symbol", ("BTCUSD", "ETHUSD"))
        with pytest.raises(NotFound, match="no such symbol: NOPE, BTCUSDD; did you mean BTCUSD"):
            await first(client.subscribe(["NOPE", "BTCUSDD"]))
        with pytest.raises(InvalidParameter, match="types"):
            await first(client.subscribe("BTCUSD", types="candle"))
        with pytest.raises(SsmdError, match="it was made anew, or that number was never given"):
            await first(client.subscribe("BTCUSD", start="pos:999999999"))

    use(claim)


# replay ------------------------------------------------------------------------------------------------------


def test_a_replay_gives_what_was_and_ends(use, gateway):
    async def claim(client):
        rows = (await client.trades("ETHUSD", "-1h")).rows
        messages = [message async for message in client.replay(["ETHUSD", "NOPE"], "-1h", speed="max", types="trade")]
        assert messages[0] == Refused("NOPE", "unknown_symbol")
        assert [one for one in messages[1:] if not isinstance(one, Gap)] == rows
        assert any(
            isinstance(one, Gap) and one.symbols == ("ETHUSD",) for one in messages
        )  # nobody keeps a ledger here
        with pytest.raises(NotFound, match="no such symbol: NOPE"):
            await first(client.replay("NOPE", "-1h"))
        with pytest.raises(InvalidParameter, match="speed"):
            await first(client.replay("ETHUSD", "-1h", speed=0))
        with pytest.raises(InvalidParameter, match="not before end"):
            await first(client.replay("ETHUSD", "now", "-1h"))

    use(claim)


def test_over_cut_connections_a_replay_gives_each_message_once(use, gateway):
    async def claim(client):
        rows = (await client.trades("ETHUSD", "-1h")).rows
        gateway.proxy.left = 60_000
        messages = [message async for message in client.replay("ETHUSD", "-1h", speed="max", types=["trade"])]
        assert gateway.proxy.left > 60_000  # it was cut
        assert [one for one in messages if not isinstance(one, (Connection, Gap))] == rows
        assert [one.state for one in messages if isinstance(one, Connection)] == ["lost", "resumed"]

    use(claim)


def test_a_replay_keeps_the_pace_it_is_asked_for(use, gateway):
    early, late = next(seqs), next(seqs)
    at_ns = now_ns()
    gateway.publish(replace(trade(early), recv_ns=at_ns - 4 * 10**9), replace(trade(late), recv_ns=at_ns - 10**9))

    async def claim(client):
        began_s, times_s = time.monotonic(), {}
        async for message in client.replay("BTCUSD", at_ns - 5 * 10**9, at_ns - 10**9 + 1, speed=10, types="trade"):
            events = [] if isinstance(message, Gap) else [message]
            times_s.update({seq: time.monotonic() - began_s for seq in numbers(events)})
        assert times_s[early] >= 0.1  # a second in, at ten times the pace
        assert times_s[late] - times_s[early] >= 0.25

    use(claim)
