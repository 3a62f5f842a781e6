"""Which names a feed offers: a list that comes with ssmd, a newer one from the exchange, and the exchange's clock.

Both lists have one format, so the bundled one is renewed by a copy: refresh, then put
`~/.cache/ssmd/instruments/<feed>.json` in the place of `ssmd/protocols/instruments/<feed>.json`. The first one holds the
pair names and the date of Kraken's instrument channel of 2024-04-03, whatever their status, and nothing else of it.
"""

from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
import trio
from msgspec import Meta, Struct

from ssmd.clock import NS_PER_S, now_ns
from ssmd.errors import BadFrame, ConfigError, DiskFull, ExchangeDown
from ssmd.journal.files import read_file, replace_file
from ssmd.log import get_logger
from ssmd.protocols import EXCHANGES, exchange
from ssmd.protocols.text import shorten
from ssmd.settings import Settings, cache_dir
from ssmd.trees.addresses import named_rest_url, rest_url

if TYPE_CHECKING:
    import httpx

ANSWER_WITHIN_S: Final = 15.0
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024  # ours: Kraken's 1,400 pairs make about 1.3 MB
LEAST_SHARE: Final = 0.1
"""An answer with a smaller share of what the bundled list has is a fault of the exchange, not the new truth."""


class InstrumentList(Struct, frozen=True):
    """The names of a feed. taken_at: date or time in RFC 3339, UTC. source: where it was found this time."""

    feed: str
    taken_at: str
    source: Literal["bundled", "saved", "online"]
    names: frozenset[str]


class _File(Struct, frozen=True):
    """url: who said so. A list of another address, such as a simulator's, must not pass for the exchange's own."""

    feed: str
    taken_at: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}Z)?$")]
    url: str
    names: Annotated[list[str], Meta(min_length=1)]


class _Answer(Struct, frozen=True):
    """sent_ns: the wall clock when the request went out. round_trip_s: until the head of the answer came."""

    body: bytes
    sent_ns: int
    round_trip_s: float


def known_instruments(feed: str, settings: Settings | None = None) -> InstrumentList | None:
    """Return the newer of the saved and the bundled list; None for an exchange that ssmd does not know.

    A saved list counts for the address that it came from: the one of the settings, else the exchange's public one.
    """
    if feed not in EXCHANGES:
        return None
    lists = (_bundled(feed), _saved(feed, named_rest_url(settings or Settings(), feed)))
    return max(filter(None, lists), key=lambda each: each.taken_at, default=None)


async def refresh_instruments(feed: str, settings: Settings) -> InstrumentList:
    """Ask the exchange for its list and save it; a list that cannot be saved is returned all the same.

    Raises ExchangeDown for anything but a plausible list, and leaves the saved one as it was; ConfigError for an
    exchange that ssmd does not know and for an address that is none.
    """
    venue, url = exchange(feed), rest_url(settings, feed)
    answer = await _ask(venue.instruments_url(url))
    try:
        names = venue.instruments(answer.body)
    except BadFrame as bad:
        raise ExchangeDown(bad.reason, bad.detail) from bad
    _check_plausible(names, _bundled(feed))
    taken_at = datetime.fromtimestamp(answer.sent_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _save(_File(feed, taken_at, url, sorted(names)))
    return InstrumentList(feed, taken_at, "online", names)


async def clock_skew_s(feed: str, settings: Settings) -> tuple[float, float]:
    """Return by how many seconds this machine's clock is ahead of the exchange's, and how wrong that may be.

    Raises ExchangeDown for anything but a time, ConfigError as `refresh_instruments` does.
    """
    venue = exchange(feed)
    answer = await _ask(venue.clock_url(rest_url(settings, feed)))
    try:
        theirs_ns = venue.clock_ns(answer.body)
    except BadFrame as bad:
        raise ExchangeDown(bad.reason, bad.detail) from bad
    # their clock stood still since its last step, on average for half of one
    ours_s = answer.round_trip_s / 2 - venue.clock_resolution_s / 2
    return (answer.sent_ns - theirs_ns) / NS_PER_S + ours_s, answer.round_trip_s / 2 + venue.clock_resolution_s


def _bundled(feed: str) -> InstrumentList | None:
    file = resources.files("ssmd.protocols") / "instruments" / f"{feed}.json"
    if not file.is_file():
        return None
    listed = msgspec.json.decode(file.read_bytes(), type=_File)
    return InstrumentList(feed, listed.taken_at, "bundled", frozenset(listed.names))


def _saved_path(feed: str) -> Path:
    return cache_dir() / "instruments" / f"{feed}.json"


def _saved(feed: str, url: str) -> InstrumentList | None:
    path = _saved_path(feed)
    try:
        content = read_file(path)
        listed = msgspec.json.decode(content, type=_File) if content is not None else None
    except (OSError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        get_logger(feed=feed).warning("instrument_list_unreadable", path=str(path), error=shorten(str(error)))
        return None
    if listed is None or (listed.feed, listed.url) != (feed, url):
        return None
    return InstrumentList(feed, listed.taken_at, "saved", frozenset(listed.names))


def _save(listed: _File) -> None:
    path = _saved_path(listed.feed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, msgspec.json.format(msgspec.json.encode(listed), indent=1) + b"\n")
    except (OSError, DiskFull) as error:
        get_logger(feed=listed.feed).warning("instrument_list_not_saved", path=str(path), error=shorten(str(error)))


def _check_plausible(names: frozenset[str], bundled: InstrumentList | None) -> None:
    usual = len(bundled.names) if bundled else 0
    if not names or len(names) < usual * LEAST_SHARE:
        raise ExchangeDown("implausible", f"the exchange lists {len(names)} names; {usual} were known")


async def _ask(url: str) -> _Answer:
    import httpx  # noqa: PLC0415  # it costs a command's start more than all else here

    try:
        with trio.fail_after(ANSWER_WITHIN_S):
            # no redirect: who answers is on the list of hosts, where it points need not be
            async with httpx.AsyncClient(timeout=None, follow_redirects=False) as client:  # noqa: S113  # see the scope
                return await _receive(client, url)
    except trio.TooSlowError as error:
        raise ExchangeDown("timeout", f"{url} gave no whole answer in {ANSWER_WITHIN_S:g} s") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError, ImportError) as error:
        # an address or a proxy variable that is none; the last is a SOCKS proxy, which httpx has no driver for here
        raise ConfigError(f"{shorten(url)} cannot be asked, see rest_url and the proxy variables: {error}") from error
    except (httpx.HTTPError, OSError) as error:
        raise ExchangeDown("connect", f"{url}: {shorten(str(error)) or type(error).__name__}") from error


async def _receive(client: "httpx.AsyncClient", url: str) -> _Answer:
    sent_ns, sent_s = now_ns(), trio.current_time()
    async with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
        round_trip_s = trio.current_time() - sent_s
        if response.status_code == 429:
            raise ExchangeDown("rate_limited", f"{url} answered 429")
        if response.status_code != 200:
            raise ExchangeDown("http", f"{url} answered {response.status_code}")
        return _Answer(await _body(response), sent_ns, round_trip_s)


async def _body(response: "httpx.Response") -> bytes:
    """Return the bytes as they came: unpacked here, a small answer could become a huge one."""
    body = bytearray()
    with trio.CancelScope() as scope:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                scope.cancel()  # not `break`: httpx's generators end only by what reaches them from below
    if len(body) > MAX_ANSWER_BYTES:
        raise ExchangeDown("too_long", f"{response.url} answered more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)
