"""Which minutes are counted, which wait, and how that is remembered. Pure: the stocktaker reads and writes."""

from msgspec import Struct

from ssmd.archive.position import DAYS, Position
from ssmd.archive.shortfall import NS_PER_DAY, NS_PER_HOUR
from ssmd.clock import NS_PER_MINUTE
from ssmd.store.keys import QualityKey

MAX_DAYS = 31
"""However old the position is, no older days are looked at."""
MAX_LATE = 200
"""Minutes named one by one whose records came late; are there more, then everything behind them waits, too."""
RETENTION_SLACK_NS = 60 * NS_PER_MINUTE
"""Minutes that are deleted soon are left alone: what is gone by then would seem to be lost."""


class Kept(Struct, frozen=True):
    """How long retention leaves events alone, in days; -1: for ever."""

    days: int = -1

    def since_ns(self, now_ns: int) -> int:
        """Return the start of the first whole hour of which nothing is deleted soon."""
        if self.days <= 0:
            return 0
        since_ns = now_ns - self.days * NS_PER_DAY + RETENTION_SLACK_NS
        return -(-since_ns // NS_PER_HOUR) * NS_PER_HOUR


class StockBook:
    """Minutes of a window that begins days ago. Begins where an earlier process was."""

    def __init__(self, written: Position | None, kept: Kept) -> None:
        self.written = written
        self._kept = kept
        self._records: dict[int, set[QualityKey]] = {}
        """By minute, all that were seen."""
        self._waiting: dict[int, float] = {}
        """Minutes that are not counted with all their records, and when (trio's clock) the newest was seen."""
        self._ends: dict[int, int] = {}
        """By counted minute: its last message in the stream."""
        self._created_ns = 0 if written is None else written.created_ns

    def begins_ns(self, now_ns: int) -> int:
        """Return where the window begins: some days ago, or further back where the counting has stopped."""
        today_ns = now_ns // NS_PER_DAY * NS_PER_DAY
        begins_ns = today_ns - (DAYS - 1) * NS_PER_DAY
        if self.written is not None:
            begins_ns = min(begins_ns, (self.written.through_ns // NS_PER_DAY - DAYS + 1) * NS_PER_DAY)
            begins_ns = max(begins_ns, self.written.from_ns)
        return max(begins_ns, self._kept.since_ns(now_ns), today_ns - MAX_DAYS * NS_PER_DAY)

    def take_up(self, keys: list[QualityKey], at_s: float) -> None:
        """Take the first listing of all days. An hour that has more records than were counted is counted again."""
        position = self.written or Position(0, 0)
        by_hour: dict[int, list[QualityKey]] = {}
        for key in keys:
            by_hour.setdefault(key.minute_ns // NS_PER_HOUR * NS_PER_HOUR, []).append(key)
        for hour_ns, of_hour in by_hour.items():
            known = [key for key in of_hour if key.minute_ns <= position.through_ns]
            is_counted = len(known) <= position.hours.get(hour_ns, 0)
            for key in of_hour:
                self.note(key, at_s)
                if is_counted and key.minute_ns <= position.through_ns:
                    del self._waiting[key.minute_ns]

    def note(self, key: QualityKey, at_s: float) -> None:
        """A record was seen."""
        known = self._records.setdefault(key.minute_ns, set())
        if key not in known:
            known.add(key)
            self._waiting[key.minute_ns] = at_s

    @property
    def through_ns(self) -> int:
        return 0 if self.written is None else self.written.through_ns

    def keys(self, minute_ns: int) -> list[QualityKey]:
        """Return the records of a minute that were seen."""
        return sorted(self._records.get(minute_ns, ()), key=lambda key: key.part)

    def is_counted(self, day_ns: int) -> bool:
        """Tell whether a day has records, and all that were seen are counted."""
        of_day = range(day_ns, day_ns + NS_PER_DAY, NS_PER_MINUTE)
        return any(minute_ns in self._records for minute_ns in of_day) and not any(
            minute_ns in self._waiting for minute_ns in of_day
        )

    def is_ripe(self, minute_ns: int, passed_s: float) -> bool:
        return self._waiting.get(minute_ns, float("inf")) <= passed_s

    def ripe(self, passed_s: float) -> list[int]:
        """Return the minutes that may be counted, in order."""
        return sorted(minute_ns for minute_ns, seen_s in self._waiting.items() if seen_s <= passed_s)

    def counted(self, minute_ns: int, stream_seq: int, created_ns: int) -> None:
        """A minute was counted; stream_seq: its last message, 0 where that is not known."""
        self._waiting.pop(minute_ns, None)
        if created_ns != self._created_ns:
            self._created_ns = created_ns
            self._ends.clear()
        if stream_seq:
            self._ends[minute_ns] = stream_seq

    def position(self, now_ns: int) -> Position | None:
        """Return how far everything is counted; None before anything is."""
        begins_ns = self.begins_ns(now_ns)
        self._forget(begins_ns)
        counted = sorted(minute_ns for minute_ns in self._records if minute_ns not in self._waiting)
        through_ns = counted[-1] if counted else self.through_ns
        late = sorted(minute_ns for minute_ns in self._waiting if minute_ns <= through_ns)
        if len(late) > MAX_LATE:
            through_ns, late = late[0] - NS_PER_MINUTE, []
        if through_ns < begins_ns and not counted:
            return self.written
        hours: dict[int, int] = {}
        for minute_ns in counted:
            if minute_ns <= through_ns:
                hour_ns = minute_ns // NS_PER_HOUR * NS_PER_HOUR
                hours[hour_ns] = hours.get(hour_ns, 0) + len(self._records[minute_ns])
        return Position(begins_ns, through_ns, hours, self._created_ns, self._stream_seq(through_ns), tuple(late))

    def _forget(self, before_ns: int) -> None:
        for minute_ns in [minute_ns for minute_ns in self._records if minute_ns < before_ns]:
            del self._records[minute_ns]
            self._waiting.pop(minute_ns, None)
            self._ends.pop(minute_ns, None)

    def _stream_seq(self, through_ns: int) -> int:
        """Return the last message of the counted minutes, as far as it is known."""
        known = [seq for minute_ns, seq in self._ends.items() if minute_ns <= through_ns]
        written = self.written
        if written is not None and written.created_ns == self._created_ns and written.through_ns <= through_ns:
            known.append(written.stream_seq)
        return max(known, default=0)
