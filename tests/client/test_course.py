"""How far a subscription has come: pure, message by message."""

import pytest

from ssmd.client.course import PATIENT_WITH_REFUSALS, Again, Course, Wish
from ssmd.client.errors import AuthError, NotFound, RateLimited, SsmdError, Unavailable
from ssmd.client.messages import Connection, Gap, Lag, Refused, parse

SUBSCRIBED = (
    '{"type":"subscribed","id":null,"subscriptions":[{"feed":"kraken","data_type":"trade","symbols":["BTCUSD"]}]'
)


def welcome(pos: int, stream: str = "abc") -> str:
    return f'{{"type":"welcome","session":"s-1","client":"x","heartbeat_s":5,"stream":"{stream}","pos":{pos}}}'


def subscribed(*refused: str, code: str = "unknown_symbol", ok: bool = True) -> str:
    named = ",".join(f'{{"symbol":"{one}","code":"{code}","suggestions":["BTCUSD"]}}' for one in refused)
    begin = SUBSCRIBED if ok else '{"type":"subscribed","id":null,"subscriptions":[]'
    return f'{begin},"refused":[{named}],"warnings":[]}}'


def trade(pos: int) -> str:
    return (
        '{"type":"trade","exchange":"kraken","symbol":"BTCUSD","price":1,"size":2,"side":"buy","trade_id":"1",'
        f'"timestamp":"2025-12-06T14:00:00.000000000Z","received_at":"2025-12-06T14:00:00.{pos:09d}Z",'
        f'"id":"kraken/k/{pos}/0","pos":{pos},"new_member":1}}'
    )


def error(code: str, **more: object) -> str:
    rest = "".join(f',"{name}":{value}' for name, value in more.items())
    return f'{{"type":"error","code":"{code}","detail":"why","id":null{rest}}}'


def course(start: str = "now", *symbols: str) -> Course:
    found = Course(Wish(symbols or ("BTCUSD",), ("trade",), start=start))
    found.query()
    return found


def take(found: Course, *texts: str) -> list[object]:
    return [message for text in texts for message in found.take(parse(text))]


def test_the_first_connection_asks_for_what_is_wished():
    wish = Wish(("BTCUSD", "ETHUSD"), ("trade", "quote"), "kraken", "-5m", "close")
    assert Course(wish).query() == {
        "symbols": "BTCUSD,ETHUSD", "types": "trade,quote", "feed": "kraken", "slow": "close", "from": "-5m",
    }  # fmt: skip


def test_a_snapshot_is_asked_for_where_it_begins_now_and_says_nothing_of_how_far_it_has_come():
    found = Course(Wish(("BTCUSD",), snapshot=True))
    assert found.query()["snapshot"] == "true"
    old = (
        '{"type":"quote","exchange":"kraken","symbol":"BTCUSD","bid_price":1,"bid_size":2,"ask_price":3,"ask_size":4,'
        '"timestamp":"2025-12-06T14:00:00.0Z","received_at":"2025-12-06T14:00:00.0Z","id":"kraken/k/7/0","pos":7'
    )
    (message,) = take(found, welcome(90), subscribed(), f'{old},"snapshot":true}}')
    assert message.snapshot
    assert found.query() == {"symbols": "BTCUSD", "slow": "skip", "from": "pos:90@abc"}
    take(found, welcome(90), subscribed(), f"{old}}}")
    assert found.query()["from"] == "pos:7@abc"


def test_the_next_one_begins_behind_the_last_message_that_was_handed_on():
    found = course("-5m")
    assert len(take(found, welcome(90), subscribed(), trade(7), trade(9))) == 2
    assert found.query()["from"] == "pos:9@abc"


def test_a_message_that_was_not_handed_on_is_asked_for_again():
    found = course("-5m")
    take(found, welcome(90), subscribed(), trade(7))
    next(iter(found.take(parse(trade(8)))))  # and its reader went away with it
    assert found.query()["from"] == "pos:7@abc"


def test_before_anything_came_it_goes_on_where_now_was():
    found = course("now")
    take(found, welcome(90), subscribed())
    assert found.query()["from"] == "pos:90@abc"


def test_before_anything_came_an_earlier_start_stays():
    found = course("-5m")
    take(found, welcome(90), subscribed())
    assert found.query()["from"] == "-5m"


def test_a_gateway_that_does_not_know_its_stream_yet_is_not_believed():
    found = course("now")
    take(found, welcome(0, stream=""), subscribed())
    assert found.query()["from"] == "now"


def test_a_heartbeat_tells_how_far_all_was_sent_but_not_while_catching_up():
    beat = '{"type":"heartbeat","at":"x","pos":99,"live":true}'
    found = course("now")
    take(found, welcome(90), subscribed(), beat)
    assert found.query()["from"] == "pos:99@abc"
    take(found, welcome(200), subscribed(), trade(100), beat.replace("99", "null"))
    assert found.query()["from"] == "pos:100@abc"


def test_a_lost_connection_is_told_once_and_so_is_that_it_is_there_again():
    found = course("now")
    assert list(found.lose("never there")) == []
    take(found, welcome(1), subscribed())
    assert list(found.lose("reset")) == [Connection("lost", "reset")]
    assert list(found.lose("refused")) == []
    found.query()
    assert take(found, welcome(5), subscribed()) == [Connection("resumed")]


def test_what_was_kept_for_too_short_a_time_is_a_gap_and_the_rest_comes():
    found = course("now")
    take(found, welcome(1), subscribed(), trade(7))
    found.query()
    messages = iter(found.take(parse(error("resume_expired", oldest_pos=500))))
    assert next(messages) == Gap(("BTCUSD",), "2025-12-06T14:00:00.000000007Z", None, "resume_expired")
    with pytest.raises(Again):
        next(messages)
    assert found.query()["from"] == "pos:499"


def test_a_start_that_is_too_old_is_an_error():
    with pytest.raises(SsmdError, match="why") as refused:
        take(course("pos:1"), welcome(900), error("resume_expired", oldest_pos=500))
    assert refused.value.code == "resume_expired"


def test_what_is_refused_for_a_while_is_asked_for_again():
    for code, kind in (("unavailable", Unavailable), ("rate_limited", RateLimited)):
        with pytest.raises(Again) as again:
            take(course(), welcome(1), error(code, retry_after_s=7))
        assert (again.value.retry_after_s, type(again.value.error)) == (7, kind)
    with pytest.raises(AuthError):
        take(course(), error("missing_key"))


def test_refused_symbols_are_told_once_and_none_left_is_an_error():
    found = course("now", "BTCUSD", "NOPE")
    assert take(found, welcome(1), subscribed("NOPE")) == [Refused("NOPE", "unknown_symbol", ("BTCUSD",))]
    assert take(found, error("unknown_symbol")) == []
    found.query()
    assert take(found, welcome(1), subscribed("NOPE")) == []
    with pytest.raises(NotFound, match="NOPE; did you mean BTCUSD"):
        take(course("now", "NOPE"), welcome(1), subscribed("NOPE", ok=False))
    with pytest.raises(RateLimited):
        take(course("now", "BTCUSD"), welcome(1), subscribed("BTCUSD", ok=False, code="rate_limited"))


def test_a_gateway_that_has_just_started_is_asked_again_for_what_it_knew():
    found = course("now", "BTCUSD", "ETHUSD")
    take(found, welcome(1), subscribed(), trade(3))
    for _ in range(PATIENT_WITH_REFUSALS):
        assert found.query()["from"] == "pos:3@abc"
        with pytest.raises(Again, match="ETHUSD is refused"):
            take(found, welcome(1), subscribed("ETHUSD"))
    found.query()
    assert take(found, welcome(1), subscribed("ETHUSD")) == [Refused("ETHUSD", "unknown_symbol", ("BTCUSD",))]


def test_types_that_are_not_known_are_skipped_and_nonsense_is_an_error():
    assert parse('{"type":"candle","open":1}') is None
    assert isinstance(parse('{"type":"lag","dropped":1,"after_pos":2,"next_pos":4}'), Lag)
    for wrong in ('{"type":"trade"}', "nonsense", "{}"):
        with pytest.raises(SsmdError):
            parse(wrong)
