"""What a bus in memory stores: streams and key-value buckets, each with the limits of its specification."""

from array import array
from bisect import bisect_right
from itertools import islice
from typing import Final

import trio
from msgspec import Struct

from ssmd.bus.base import BucketSpec, KvEntry, Outgoing, Start, StreamSpec
from ssmd.clock import NowNs, now_ns


class Stored(Struct, frozen=True, gc=False):
    seq: int
    subject: str
    payload: bytes
    message_id: str
    stored_ns: int


class MemoryStream:
    """Messages in order, with the duplicate window and the size limit of the specification."""

    def __init__(self, spec: StreamSpec, now: NowNs = now_ns) -> None:
        self.spec = spec
        self.created_ns = now()
        self._now = now
        self.ack_floors: dict[str, int] = {}
        self._messages: dict[int, Stored] = {}
        self._seqs_of: dict[str, array[int]] = {}
        self._first_seq = 1
        self._last_seq = 0
        self._bytes = 0
        self._seen: dict[str, tuple[int, float]] = {}

    @property
    def first_seq(self) -> int:
        return self._first_seq

    @property
    def last_seq(self) -> int:
        return self._last_seq

    @property
    def stored_bytes(self) -> int:
        return self._bytes

    @property
    def messages(self) -> int:
        return len(self._messages)

    def takes(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.spec.subjects)

    def store(self, message: Outgoing) -> tuple[int, bool]:
        """Return the message's sequence number and whether it was there before."""
        now_s = trio.current_time()
        self._forget_ids(now_s)
        seen = self._seen.get(message.message_id)
        if seen is not None:
            return seen[0], True
        seq = self._last_seq = self._last_seq + 1
        self._seen[message.message_id] = (seq, now_s)
        self._messages[seq] = Stored(seq, message.subject, message.payload, message.message_id, self._now())
        self._seqs_of.setdefault(message.subject, array("Q")).append(seq)
        self._bytes += len(message.payload)
        self.keep_limits()
        return seq, False

    def keep_limits(self) -> None:
        while self._bytes > self.spec.max_bytes and len(self._messages) > 1:
            self._drop_first()

    def before(self, start: Start) -> int:
        """Return the number in front of the first message that a listener gets."""
        if start.after_seq is not None:
            return start.after_seq
        if start.since_ns is None:
            return self._last_seq
        later = (seq for seq, message in self._messages.items() if message.stored_ns >= start.since_ns)
        return next(later, self._last_seq + 1) - 1

    def read(self, after_seq: int, pattern: str, limit: int) -> tuple[list[Stored], int]:
        """Return the next messages that match the pattern, and how many more there are behind them."""
        subjects = {subject for subject in self._seqs_of if matches(pattern, subject)}
        start = max(after_seq + 1, self._first_seq)
        later = (self._messages[seq] for seq in range(start, self._last_seq + 1))
        found = list(islice((m for m in later if m.subject in subjects), limit))
        floor = found[-1].seq if found else start - 1
        seqs = (self._seqs_of[subject] for subject in subjects)
        return found, sum(len(s) - bisect_right(s, floor) for s in seqs)

    def last_of_each(self, pattern: str) -> list[Stored]:
        """Return the last message of each subject that matches the pattern, in order."""
        lasts = (seqs[-1] for subject, seqs in self._seqs_of.items() if matches(pattern, subject))
        return [self._messages[seq] for seq in sorted(lasts) if seq in self._messages]

    def _drop_first(self) -> None:
        self._bytes -= len(self._messages.pop(self._first_seq).payload)
        self._first_seq += 1

    def _forget_ids(self, now_s: float) -> None:
        while self._seen:
            oldest = next(iter(self._seen))
            if now_s - self._seen[oldest][1] <= self.spec.duplicate_window_s:
                return
            del self._seen[oldest]


class MemoryBucket:
    """Entries in order, some per key as in a real bucket; each write of any key is one revision."""

    HISTORY: Final = 5

    def __init__(self, spec: BucketSpec) -> None:
        self.spec = spec
        self._entries: list[tuple[float, KvEntry]] = []
        self._revision = 0

    def write(self, key: str, value: bytes | None) -> int:
        """Store a value, or with None the mark of a deletion, and return its revision."""
        self._revision += 1
        same = [each for each in self._entries if each[1].key == key]
        if len(same) >= self.HISTORY:
            self._entries.remove(same[0])
        self._entries.append((trio.current_time(), KvEntry(key, value, self._revision)))
        return self._revision

    def last(self, key: str) -> KvEntry | None:
        """Return the latest entry of a key, a mark of deletion too; None when there is none, or it has aged out."""
        return next((entry for entry in reversed(self.after(0)) if entry.key == key), None)

    def present(self, pattern: str) -> list[KvEntry]:
        """Return the latest entry of each key that the pattern covers, marks of deletion too, in order."""
        latest = {entry.key: entry for entry in self.after(0) if matches(pattern, entry.key)}
        return sorted(latest.values(), key=lambda entry: entry.revision)

    def after(self, revision: int) -> list[KvEntry]:
        """Return everything later than a revision that has not aged out, in order."""
        oldest_s = trio.current_time() - self.spec.max_age_s if self.spec.max_age_s else float("-inf")
        return [entry for at_s, entry in self._entries if at_s >= oldest_s and entry.revision > revision]


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a subject pattern covers a subject (* is one token, > the rest)."""
    parts, tokens = pattern.split("."), subject.split(".")
    if parts[-1] == ">":
        parts.pop()
        if len(tokens) <= len(parts):
            return False
        tokens = tokens[: len(parts)]
    return len(parts) == len(tokens) and all(p in {"*", t} for p, t in zip(parts, tokens, strict=True))
