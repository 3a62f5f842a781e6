"""How far a replay has come: pure, message by message."""

import json

import pytest

from ssmd.client.course import Again, Over
from ssmd.client.errors import InvalidParameter, NotFound, Unavailable
from ssmd.client.messages import Connection, Refused, parse
from ssmd.client.replaying import Period, Replay
from tests.client.test_course import error

STARTED = '{"type":"replay_started","id":"replay","start":"2025-12-06T14:00:00.0Z","end":"2025-12-06T15:00:00.0Z"}'
COMPLETE = '{"type":"replay_ended","id":"replay","messages":3,"complete":true}'
CUT = COMPLETE.replace("true", "false")


def trade(name: str, second: int = 1) -> str:
    return (
        '{"type":"trade","exchange":"kraken","symbol":"BTCUSD","price":1,"size":2,"side":"buy","trade_id":"1",'
        f'"timestamp":"2025-12-06T14:00:00Z","received_at":"2025-12-06T14:00:{second:02}Z","id":"{name}"}}'
    )


def refused(symbol: str) -> str:
    return error("unknown_symbol").replace("why", symbol)


def replay(*symbols: str) -> Replay:
    found = Replay(Period(symbols or ("BTCUSD",), "-1h", "now", ("trade",), speed="10x"))
    assert found.query() == {}
    return found


def take(found: Replay, *texts: str) -> list[object]:
    return [message for text in texts for message in found.take(parse(text))]


def ids(messages: list[object]) -> list[str]:
    return [message.id for message in messages]


def test_it_says_what_it_wants_as_the_first_thing():
    assert json.loads(replay().command()) == {
        "op": "replay", "id": "replay", "symbols": ["BTCUSD"], "types": ["trade"], "start": "-1h", "end": "now",
        "speed": "10x",
    }  # fmt: skip


def test_it_is_over_when_everything_was_sent():
    found = replay()
    assert ids(take(found, STARTED, trade("a"), trade("b", 2))) == ["a", "b"]
    with pytest.raises(Over):
        take(found, COMPLETE)


def test_the_rest_is_asked_for_from_the_last_moment_and_nothing_of_it_comes_twice():
    found = replay()
    take(found, STARTED, trade("a"), trade("b", 2), trade("c", 2))
    assert list(found.lose("cut")) == [Connection("lost", "cut")]
    assert list(found.lose("cut")) == []
    found.query()
    asked = json.loads(found.command())
    assert (asked["start"], asked["end"]) == ("2025-12-06T14:00:02Z", "2025-12-06T15:00:00.0Z")
    resumed, *rest = take(found, STARTED, trade("b", 2), trade("c", 2), trade("d", 2), trade("e", 3))
    assert resumed == Connection("resumed")
    assert ids(rest) == ["d", "e"]


def test_a_message_that_was_not_handed_on_comes_again():
    found = replay()
    take(found, STARTED)
    next(found.take(parse(trade("a"))))
    found.query()
    assert ids(take(found, STARTED, trade("a"))) == ["a"]


def test_before_anything_came_the_period_stays_what_it_was_at_first():
    found = replay()
    take(found, STARTED)
    found.query()
    asked = json.loads(found.command())
    assert (asked["start"], asked["end"]) == ("2025-12-06T14:00:00.0Z", "2025-12-06T15:00:00.0Z")


def test_a_replay_that_was_cut_short_is_asked_for_again():
    found = replay()
    take(found, STARTED, trade("a"))
    with pytest.raises(Again, match="why") as again:
        take(found, error("unavailable", retry_after_s=7), CUT)
    assert again.value.retry_after_s == 7
    assert isinstance(again.value.error, Unavailable)
    found.query()
    with pytest.raises(Again, match="ended"):
        take(found, STARTED, CUT)


def test_what_cannot_begin_now_is_asked_for_again_and_what_never_can_is_an_error():
    with pytest.raises(Again):
        take(replay(), error("unavailable"))
    with pytest.raises(InvalidParameter):
        take(replay(), error("start_after_end"))


def test_refused_symbols_are_told_once_and_none_left_is_an_error():
    found = replay("BTCUSD", "NOPE")
    assert take(found, refused("NOPE"), STARTED) == [Refused("NOPE", "unknown_symbol")]
    found.query()
    assert take(found, refused("NOPE"), STARTED) == []
    with pytest.raises(NotFound, match="NOPE"):
        take(replay("NOPE"), refused("NOPE"), STARTED)
