"""The proof that a chunk's warm-up was long enough: the decoder that went through knew the same."""

from collections.abc import Sequence

import msgspec

from ssmd.protocols.decoder import DecoderState
from ssmd.protocols.trade_ids import KEPT
from ssmd.reprocess.plan import Step
from ssmd.reprocess.stretch import StretchDone


class Border:
    """What one chunk knew when it began to write, what it knew at its end, and which trades it published first."""

    def __init__(self) -> None:
        self.first_ns = 0
        self.last_ns = 0
        self.at_start: bytes | None = None
        self.at_end: bytes | None = None
        self.saw_unknown = False
        self._warm_state: bytes | None = None
        self.first_trades: dict[str, list[str]] = {}

    def take(self, steps: Sequence[Step], done: StretchDone) -> None:
        """Take the next stretch of the chunk."""
        if not steps[0].writes:
            self._warm_state = done.state
            return
        if not self.first_ns:
            self.first_ns = steps[0].minute.minute_ns
            self.at_start = self._warm_state
        self.last_ns = steps[-1].minute.minute_ns
        self.at_end = done.state
        for minute in done.minutes:
            self.saw_unknown |= "unknown_connection" in minute.record.figures.rejects
            for symbol, ids in minute.trade_ids.items():
                known = self.first_trades.setdefault(symbol, [])
                known += ids[: KEPT - len(known)]


def broken_border(before: Border, after: Border) -> str:
    """Return why what `after` wrote may differ from what one worker alone writes; nothing if it cannot."""
    if before.at_end is None or after.at_start is None:
        return ""
    try:
        ended, began = (msgspec.msgpack.decode(state, type=DecoderState) for state in (before.at_end, after.at_start))
    except msgspec.DecodeError:
        return ""  # a version that keeps another state; its author proves it
    for conn, state in began.connections.items():
        if ended.connections.get(conn) != state:
            return f"the state of connection {conn} is not what it was at the end of the minutes before"
    if after.saw_unknown and ended.connections.keys() - began.connections.keys():
        return "it read frames of a connection that it did not know"
    for symbol, ids in ended.trades.items():
        forgotten = set(ids.recent) - set(began.trades[symbol].recent if symbol in began.trades else ())
        if repeated := forgotten.intersection(after.first_trades.get(symbol, ())):
            return f"trade {min(repeated)} of {symbol} was published before, longer ago than the warm-up"
    return ""
