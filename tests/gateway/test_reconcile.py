"""A file is the record, and cannot bring back what a person has revoked."""

import itertools
import random

import pytest

from ssmd.gateway.access import Grant, Principal, Series
from ssmd.gateway.clients import Client, ClientLimits, Mark, Policy, atoms, grants_of
from ssmd.gateway.reconcile import Wanted, plan
from ssmd.model import EVENT_TYPES

ALL = Grant("kraken", ("*",))
BTC = Grant("kraken", ("BTCUSD",))


def bot(*grants: Grant, **more: object) -> Client:
    return Client(**({"client_id": "bot", "type": "display", "grants": grants, "origin": "file"} | more))


def wants(*grants: Grant) -> Wanted:
    return Wanted("bot", "display", grants=grants)


def test_same_in_other_words_is_no_difference():
    held = bot(Grant("kraken", ("A", "B"), ("trade", "quote", "book")), Grant("kraken", ("C",)))
    assert plan(Policy((held,)), [wants(Grant("kraken", ("C", "B", "A", "A")))], 0).steps == ()


def test_who_is_new_changed_or_gone_is_named():
    policy = Policy((bot(ALL), bot(client_id="old"), bot(client_id="own", origin="gateway")))
    made = plan(policy, [Wanted("bot", "trading", "Bot", 3, (BTC,)), Wanted("new", "display")], 7)
    assert [(step.action, step.client_id) for step in made.steps] == [
        ("change", "bot"), ("add", "new"), ("remove", "old"),
    ]  # fmt: skip
    assert made.steps[0].detail == (
        "type display -> trading; name '' -> 'Bot'; devices as everybody -> 3; kraken: * -> kraken: BTCUSD"
    )
    assert made.steps[0].after == bot(BTC, type="trading", name="Bot", limits=ClientLimits(3))


@pytest.mark.parametrize(
    ("held", "wanted", "left"),
    [
        ((), (ALL,), ()),
        ((), (BTC,), ()),
        ((BTC,), (ALL,), ()),
        ((BTC,), (BTC, ALL), (BTC,)),
        ((Grant("kraken", ("BTC*",)),), (BTC,), (BTC,)),
        ((Grant("kraken", ("BTC*",)),), (Grant("kraken", ("BTC?SD",)),), ()),
        ((ALL,), (Grant("kraken", ("B*", "X")),), (Grant("kraken", ("B*", "X")),)),
        ((Grant("kraken", ("*",), ("trade",)),), (ALL,), (Grant("kraken", ("*",), ("trade",)),)),
        ((Grant("kraken", ("*",), (), 50),), (ALL,), (Grant("kraken", ("*",), (), 50),)),
        ((ALL,), (Grant("kraken", ("*",), (), 50),), (Grant("kraken", ("*",), (), 50),)),
        ((), (Grant("other", ("*",)),), (Grant("other", ("*",)),)),
    ],
)
def test_after_a_revoke_a_file_can_only_narrow_what_a_person_has_granted_since(held, wanted, left):
    made = plan(Policy((bot(*held),), marks=(Mark("bot", "kraken", 5),)), [wants(*wanted)], 9)
    after = made.steps[0].after if made.steps else bot(*held)
    assert after is not None
    assert atoms(after.grants) == atoms(left)
    assert bool(made.refused) == (atoms(wanted) != atoms(left))


def test_a_removed_client_comes_back_by_a_person_only():
    marks = (Mark("bot", "*", 5),)
    made = plan(Policy((), marks=marks), [wants(ALL)], 9)
    assert (made.steps, made.refused[0].client_id) == ((), "bot")
    made = plan(Policy((bot(origin="gateway"),), marks=marks), [wants(ALL)], 9)
    assert made.refused[0].symbols == ("*",)
    assert made.steps[0].after is not None
    assert made.steps[0].after.grants == ()


def random_grants(chance: random.Random) -> list[Grant]:
    return [
        Grant(
            chance.choice(["kraken", "other"]),
            tuple(chance.sample(["*", "BTC*", "BTCUSD", "ETHUSD", "?THUSD"], chance.randrange(1, 3))),
            tuple(chance.sample(EVENT_TYPES, chance.randrange(3))),
            chance.choice([None, None, 50, 90]),
        )
        for _ in range(chance.randrange(4))
    ]


def readable(grants, at_ns: int) -> set[Series]:
    who = Principal("bot", "display", tuple(grants))
    series = [Series(*each) for each in itertools.product(("kraken", "other"), EVENT_TYPES, ("BTCUSD", "ETHUSD", "X"))]
    return set(who.readable(series, at_ns))


def test_whatever_files_come_no_revoked_series_can_be_read_again(seed):
    chance = random.Random(seed)
    for _ in range(500):
        held, wanted = random_grants(chance), random_grants(chance)
        made = plan(Policy((bot(*held),), marks=(Mark("bot", "kraken", 5),)), [wants(*wanted)], 9)
        after = made.steps[0].after if made.steps else bot(*held)
        assert after is not None
        for at_ns in (10, 60, 100):
            now = readable(after.grants, at_ns)
            assert {s for s in now if s.feed == "kraken"} <= readable(held, at_ns) & readable(wanted, at_ns)
            assert {s for s in now if s.feed == "other"} == {s for s in readable(wanted, at_ns) if s.feed == "other"}
        again = plan(Policy((after,), marks=(Mark("bot", "kraken", 5),)), [wants(*wanted)], 9)
        assert again.steps == (), "a second time nothing is left to do"


def test_grants_that_are_put_in_order_mean_the_same(seed):
    chance = random.Random(seed)
    for _ in range(500):
        grants = random_grants(chance)
        assert atoms(grants_of(atoms(grants))) == atoms(grants)
        assert all(readable(grants_of(atoms(grants)), at) == readable(grants, at) for at in (10, 60, 100))
