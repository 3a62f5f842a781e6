"""What the exchange says it sent, compared with what was kept and with the gaps that were recorded."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from ssmd.protocols.coverage import Gap
from ssmd.records import Configured, Connected, Record

SLACK_NS = 50_000_000
"""Between the exchange's and the connector's stamp of the same moment lie two processes and a socket."""


class LedgerLine(Struct):
    conn: int
    n: int
    sent_ns: int
    withheld: bool
    frame: str


class Kept(Struct):
    """One connection as the raw data tells it. last_ns: when its last frame arrived."""

    name: str
    frames: list[str] = []
    last_ns: int = 0


class Comparison(Struct):
    """in_gaps: sent, not kept, and inside of a recorded gap of each of its symbols."""

    sent: int = 0
    in_gaps: int = 0
    unaccounted: int = 0
    problems: list[str] = []


def read_ledger(path: Path) -> Iterator[LedgerLine]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield LedgerLine(**json.loads(line))


def connections_of(records: Sequence[Record]) -> list[Kept]:
    """Return the connections in the order in which they were made."""
    kept: dict[str, Kept] = {}
    for record in records:
        if isinstance(record.note, Connected):
            kept[record.conn] = Kept(record.conn)
        elif record.note is None:
            connection = kept.setdefault(record.conn, Kept(record.conn))
            connection.frames.append(_text_of(record))
            connection.last_ns = record.recv_ns
    return list(kept.values())


def same(at_ns: int) -> int:
    return at_ns


def compare(
    path: Path, records: Sequence[Record], gaps: Collection[Gap], clock: Callable[[int], int] = same
) -> Comparison:
    """Every frame sent was kept byte for byte, or lies in a recorded gap; nothing was kept that was not sent.

    clock: what the system's clock shows at a time of the exchange's.
    """
    sent: dict[int, list[LedgerLine]] = defaultdict(list)
    for line in read_ledger(path):
        if not line.withheld:
            sent[line.conn].append(line)
    found = Comparison(sent=sum(map(len, sent.values())))
    covered = _Covered(gaps, symbols_of(records), clock)
    remaining = connections_of(records)
    for _, lines in sorted(sent.items()):
        # A connection that ended before its first record reached the disk has no name in the raw data.
        is_first = bool(remaining) and (not remaining[0].frames or remaining[0].frames[0] == lines[0].frame)
        _compare_connection(remaining.pop(0) if is_first else Kept(f"#{lines[0].conn}"), lines, covered, found)
    if strangers := [kept.name for kept in remaining if kept.frames]:
        found.problems.append(f"connections kept that were never served: {strangers}")
    return found


def symbols_of(records: Sequence[Record]) -> Mapping[str, str]:
    """Return our symbol of each name of the exchange, as it stands quoted in a frame."""
    configs = [record.note.config for record in records if isinstance(record.note, Configured)]
    return {f'"{spec.name}"': spec.symbol for config in configs for spec in config.symbols}


class _Covered:
    """Tells whether a frame that was not kept lies in recorded gaps."""

    def __init__(self, gaps: Collection[Gap], symbols: Mapping[str, str], clock: Callable[[int], int]) -> None:
        self._gaps = gaps
        self._symbols = symbols
        self._clock = clock

    def __call__(self, line: LedgerLine, last_ns: int) -> bool:
        """last_ns: when the last kept frame of its connection arrived; this one would have come behind it."""
        first_ns, end_ns = self._clock(line.sent_ns - SLACK_NS), max(self._clock(line.sent_ns + SLACK_NS), last_ns)
        open_now = [gap for gap in self._gaps if gap.from_ns <= end_ns and first_ns <= (gap.to_ns or 1 << 63)]
        named = {symbol for name, symbol in self._symbols.items() if name in line.frame}
        return bool(open_now) and named <= {symbol for gap in open_now for symbol in gap.symbols}


def _compare_connection(kept: Kept, sent: Sequence[LedgerLine], covered: _Covered, found: Comparison) -> None:
    pairs = zip(sent, kept.frames, strict=False)
    differs = next((i for i, (line, frame) in enumerate(pairs) if line.frame != frame), None)
    if differs is not None:
        texts = f"sent {sent[differs].frame[:80]} kept {kept.frames[differs][:80]}"
        found.problems.append(f"{kept.name}: frame {differs} differs: {texts}")
    if len(kept.frames) > len(sent):
        found.problems.append(f"{kept.name}: {len(kept.frames)} frames kept, {len(sent)} sent")
    for line in sent[len(kept.frames) :]:
        if covered(line, kept.last_ns):
            found.in_gaps += 1
        else:
            found.unaccounted += 1
            found.problems.append(f"{kept.name}: frame {line.n} is neither kept nor in a gap: {line.frame[:80]}")


def _text_of(record: Record) -> str:
    """Return what was received as the ledger shows it: bytes that are no text as escapes."""
    if record.data is not None:
        return record.data.decode("utf-8", "backslashreplace")
    return record.frame or record.text or ""
