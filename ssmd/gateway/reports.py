"""What an exchange's auditor asks: who used how much, how many at once, and for display or not.

Exact to the message: what was counted until the question is written before it is answered.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from msgspec import Struct

from ssmd.clock import NS_PER_S, NowNs, now_ns
from ssmd.gateway.access import CLIENT_TYPES
from ssmd.gateway.audit import AuditLog
from ssmd.gateway.database import Database
from ssmd.gateway.database.usage import Period, SideTotal, Stay, UsageTotal, side_totals, stays, usage_totals
from ssmd.gateway.problems import ParameterError, invalid

_MONTH: Final = re.compile(r"(\d{4})-(\d{2})")


class Usage(Struct, frozen=True):
    """Messages of a month, by client and series."""

    month: str
    rows: tuple[UsageTotal, ...]


class PeakUsers(Struct, frozen=True):
    """The most clients that were connected at the same moment of a day, the first such moment, and their types then."""

    date: str
    peak: int
    at: str | None
    by_type: dict[str, int]


class Peak(Struct, frozen=True):
    """The most clients at one moment. at_ns: None when there was none."""

    clients: int
    at_ns: int | None
    by_type: dict[str, int]


class Split(Struct, frozen=True):
    """Messages and clients of a month, by feed and by display or not. Trading is no display."""

    month: str
    rows: tuple[SideTotal, ...]


class Reports:
    def __init__(self, database: Database, audit: AuditLog, now: NowNs = now_ns) -> None:
        self._database = database
        self._audit = audit
        self._now = now

    async def usage(self, month: str, feed: str | None = None, client_id: str | None = None) -> Usage:
        """Raises Problem invalid_parameter, and DatabaseDown."""
        period = month_ns(month)
        await self._audit.flush()
        rows = await self._database.read(lambda connection: usage_totals(connection, period, feed, client_id))
        return Usage(month, tuple(rows))

    async def peak_users(self, day: str) -> PeakUsers:
        """Raises Problem invalid_parameter, and DatabaseDown."""
        period = day_ns(day)
        await self._audit.flush()
        at_ns = self._now()
        peak = await self._database.read(lambda connection: peak_of(stays(connection, period), period, at_ns))
        return PeakUsers(day, peak.clients, None if peak.at_ns is None else rfc3339(peak.at_ns), peak.by_type)

    async def display_vs_nondisplay(self, month: str, feed: str | None = None) -> Split:
        """Raises Problem invalid_parameter, and DatabaseDown."""
        period = month_ns(month)
        await self._audit.flush()
        rows = await self._database.read(lambda connection: side_totals(connection, period, feed))
        return Split(month, tuple(rows))

    def this_month(self) -> str:
        return rfc3339(self._now())[:7]

    def today(self) -> str:
        return rfc3339(self._now())[:10]


def peak_of(found: Iterable[Stay], period: Period, at_ns: int) -> Peak:
    """Return the most clients at one moment of the period, when that was first, and how many of each type.

    A client counts once, however many sessions it has. One that leaves at the moment when another comes is not beside it.
    """
    open_of: dict[str, list[str]] = {}
    peak = Peak(0, None, _by_type(()))
    for moment_ns, is_begin, stay in _moments(found, period, at_ns):
        of_client = open_of.setdefault(stay.client_id, [])
        if is_begin:
            of_client.append(stay.display_type)
        else:
            of_client.remove(stay.display_type)
        if not of_client:
            del open_of[stay.client_id]
        if len(open_of) > peak.clients:
            peak = Peak(len(open_of), moment_ns, _by_type(types[-1] for types in open_of.values()))
    return peak


def _moments(found: Iterable[Stay], period: Period, at_ns: int) -> list[tuple[int, bool, Stay]]:
    """Return every begin and end within the period, in order; ends come before begins of the same moment."""
    moments = []
    for stay in found:
        from_ns = max(stay.from_ns, period[0])
        to_ns = min(at_ns if stay.to_ns is None else stay.to_ns, period[1])
        if from_ns < to_ns:
            moments += [(from_ns, True, stay), (to_ns, False, stay)]
    return sorted(moments, key=lambda each: each[:2])


def _by_type(types: Iterable[str]) -> dict[str, int]:
    listed = list(types)
    return {name: listed.count(name) for name in CLIENT_TYPES}


# time --------------------------------------------------------------------------------------------------------


def month_ns(text: str) -> Period:
    """Return a month such as 2025-12 as a period, UTC. Raises Problem."""
    match = _MONTH.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= 12 or not 1970 <= int(match[1]) <= 2200:
        raise invalid(ParameterError("month", text, "a month such as 2025-12"))
    year, month = int(match[1]), int(match[2])
    return _ns(date(year, month, 1)), _ns(date(year + month // 12, month % 12 + 1, 1))


def day_ns(text: str) -> Period:
    """Return a day such as 2025-12-06 as a period, UTC. Raises Problem."""
    try:
        day = date.fromisoformat(text) if len(text) == 10 else date.min
    except ValueError:
        day = date.min
    if not 1970 <= day.year <= 2200:
        raise invalid(ParameterError("date", text, "a day such as 2025-12-06"))
    return _ns(day), _ns(day + timedelta(days=1))


def rfc3339(at_ns: int) -> str:
    whole = datetime.fromtimestamp(at_ns // NS_PER_S, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{at_ns % NS_PER_S:09d}Z"


def _ns(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_S
