"""One connection to Kraken's public WebSocket: requests in, acks and data out."""

from typing import Protocol

import trio

from ssmd.simulator.faults import Fault
from ssmd.simulator.kraken import frames, requests
from ssmd.simulator.kraken.edits import Edits
from ssmd.simulator.kraken.requests import Answer, Asked, Params
from ssmd.simulator.kraken.topic import Data, Topic
from ssmd.simulator.session import Session


class Floor(Protocol):
    """What a client needs of the exchange."""

    def topic(self, symbol: str) -> Topic | None:
        """Return the pair's topic, None where the pair is not listed or refused."""
        ...

    def topics_changed(self) -> None:
        """Take note that subscriptions began or ended."""
        ...

    def left(self, conn: int) -> None: ...

    def strikes(self, name: str, symbol: str | None = None) -> bool:
        """Use up one planned fault on answers, if there is one."""
        ...

    def instruments(self) -> str: ...

    def stamp(self) -> str: ...


class Allowance:
    """A token bucket over the client's messages."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = float(burst)
        self._at_s = trio.current_time()

    def take(self) -> bool:
        now_s = trio.current_time()
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class KrakenClient:
    def __init__(self, session: Session, floor: Floor, edits: Edits, allowance: Allowance) -> None:
        self.session = session
        self._floor = floor
        self._edits = edits
        self._allowance = allowance
        self._subscribed: dict[tuple[str, str], tuple[Topic, Params]] = {}
        self._instruments = False

    def receive(self, message: str | bytes) -> None:
        """Answer one request; too fast, or struck by a fault, it is lost."""
        if not self._allowance.take():
            self.session.counts.too_fast += 1
            self.session.send(frames.RATE_EXCEEDED)
            return
        if self._floor.strikes("rate_limit"):
            self.session.send(frames.RATE_EXCEEDED)
            return
        time_in = self._floor.stamp()
        try:
            asked = requests.parse(message)
        except (ValueError, RecursionError):
            self.session.send(Answer("", None, time_in, time_in).refused(requests.MALFORMED))
            return
        self._answer(asked, Answer(asked.method, asked.req_id, time_in, self._floor.stamp()))

    def heartbeat(self) -> None:
        self.session.send(frames.HEARTBEAT)

    def leave(self) -> None:
        for channel, symbol in list(self._subscribed):
            self._end(channel, symbol)
        self._floor.topics_changed()
        self._floor.left(self.session.conn)

    def deliver(self, data: Data) -> None:
        if self._edits.idle:
            self.session.send(data.text)
            return
        for text, withheld in self._edits.apply(data, trio.current_time()):
            (self.session.withhold if withheld else self.session.send)(text)

    def subscribed_to(self, symbol: str) -> bool:
        return any(symbol == name for _, name in self._subscribed)

    def arm(self, fault: Fault) -> None:
        self._edits.arm(fault)

    def silence(self, fault: Fault) -> None:
        until_s = trio.current_time() + fault.number()
        for channel, symbol in self._subscribed:
            if fault.concerns(symbol):
                self._edits.silence(channel, symbol, until_s)

    def _answer(self, asked: Asked, answer: Answer) -> None:
        match asked:
            case Asked(method="ping"):
                self.session.send(answer.pong())
            case Asked(method="subscribe" | "unsubscribe", params=Params() as params):
                self._change(params, answer)
            case Asked(method="subscribe" | "unsubscribe"):
                self.session.send(answer.refused(requests.MALFORMED))
            case _:
                self.session.send(answer.refused(requests.PRIVATE))

    def _change(self, params: Params, answer: Answer) -> None:
        error = _unacceptable(params)
        if answer.method == "subscribe" and self._floor.strikes("no_ack"):
            return
        if error is not None:
            self.session.send(answer.refused(error))
        elif params.channel == "instrument":
            self._instrument(params, answer)
        elif answer.method == "unsubscribe":
            for symbol in params.symbol:
                self._unsubscribe(symbol, params, answer)
        else:
            self._subscribe(params, answer)
        self._floor.topics_changed()

    def _subscribe(self, params: Params, answer: Answer) -> None:
        """Every symbol has its own ack; the snapshots follow the acks, as recorded."""
        already = self._floor.strikes("already")
        begun = [self._begin(symbol, params, answer, already=already) for symbol in params.symbol]
        for topic in begun:
            if topic is not None and params.wants_snapshot:
                self.session.send(topic.snapshot(params, self._floor.stamp()))

    def _begin(self, symbol: str, params: Params, answer: Answer, *, already: bool) -> Topic | None:
        """Answer for one symbol; return its topic if a subscription begins."""
        if self._floor.strikes("no_ack", symbol):
            return None
        topic = self._floor.topic(symbol)
        if topic is None:
            self.session.send(answer.refused(f"{requests.PAIR_NOT_SUPPORTED} {symbol}", symbol))
            return None
        key = (params.channel, symbol)
        if already or self._floor.strikes("already", symbol) or key in self._subscribed:
            self.session.send(answer.refused(requests.ALREADY_SUBSCRIBED, symbol))
            return None
        self._edits.forget(*key)
        self._subscribed[key] = (topic, params)
        topic.add(self, params)
        self.session.send(answer.accepted(params, symbol))
        return topic

    def _unsubscribe(self, symbol: str, params: Params, answer: Answer) -> None:
        if (params.channel, symbol) not in self._subscribed:
            self.session.send(answer.refused(requests.NOT_SUBSCRIBED, symbol))
            return
        _, subscribed = self._subscribed[params.channel, symbol]
        self._end(params.channel, symbol)
        self.session.send(answer.accepted(subscribed, symbol))

    def _end(self, channel: str, symbol: str) -> None:
        topic, params = self._subscribed.pop((channel, symbol))
        topic.remove(self, params)
        self._edits.forget(channel, symbol)

    def _instrument(self, params: Params, answer: Answer) -> None:
        begins = answer.method == "subscribe"
        if begins == self._instruments:
            self.session.send(answer.refused(requests.ALREADY_SUBSCRIBED if begins else requests.NOT_SUBSCRIBED))
            return
        self._instruments = begins
        self.session.send(answer.accepted(params, None))
        if begins and params.wants_snapshot:
            self.session.send(self._floor.instruments())


def _unacceptable(params: Params) -> str | None:
    """Return the venue's error for a request that is wrong as a whole."""
    if params.channel in requests.PRIVATE_CHANNELS:
        return requests.PRIVATE
    if params.channel == "instrument":
        return None
    if params.channel not in requests.DATA_CHANNELS:
        return requests.CHANNEL_NOT_SUPPORTED
    if params.channel == "book" and params.depth not in requests.BOOK_DEPTHS:
        return requests.DEPTH_NOT_SUPPORTED
    if params.channel == "ticker" and params.event_trigger not in requests.EVENT_TRIGGERS:
        return requests.TRIGGER_NOT_SUPPORTED
    return None if params.symbol else requests.NO_SYMBOL
