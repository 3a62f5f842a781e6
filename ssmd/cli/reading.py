"""Read from a gateway as any client does: which one and with which key, and errors with an exit code."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from ssmd import client
from ssmd.cli.demo_key import FILE as DEMO_KEY
from ssmd.cli.options import Reach, Reading
from ssmd.cli.output import say
from ssmd.cli.running import find_gateway
from ssmd.errors import ConfigError, GatewayDown, NotAllowed, SsmdError
from ssmd.settings import Settings

STDIN: Final = Path("/dev/stdin")
SHOWN_WINDOWS: Final = 3
_REACTIONS: Final[dict[type[client.SsmdError], type[SsmdError]]] = {
    client.AuthError: NotAllowed,
    client.NotFound: ConfigError,
    client.InvalidParameter: ConfigError,
    client.RangeTooLarge: ConfigError,
    client.MissingExtra: ConfigError,
    client.RateLimited: GatewayDown,
    client.Unavailable: GatewayDown,
}


@asynccontextmanager
async def reader(reading: Reading) -> AsyncIterator[client.AsyncClient]:
    """Give a client of the gateway that is meant. What goes wrong comes out as an error of ours."""
    try:
        url, key_file = _place(reading)
        async with client.AsyncClient(url, key_file) as opened:
            yield opened
    except client.SsmdError as error:
        raise _ours(error) from error
    except BaseExceptionGroup as group:  # out of a nursery of ours
        theirs, others = group.split(client.SsmdError)
        if theirs is None or others is not None:
            raise
        raise _ours(_first(theirs)) from group


def _ours(error: client.SsmdError) -> SsmdError:
    kind = next((ours for theirs, ours in _REACTIONS.items() if isinstance(error, theirs)), SsmdError)
    return kind(str(error))


def _first(group: BaseExceptionGroup[client.SsmdError]) -> client.SsmdError:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _place(reading: Reading) -> tuple[str, Path]:
    """Return the URL and the key file. A demo's key is for its own gateway alone."""
    named = STDIN if reading.api_key_file == Path("-") else reading.api_key_file
    found = find_gateway(Settings(), reading.data_dir, Reach(reading.gateway, named))
    if isinstance(found, str):
        raise GatewayDown(f"{found}; start one with `ssmd up`, or name one: --gateway URL")
    return found.url, named or (found.key_file if reading.gateway else reading.data_dir / DEMO_KEY)


def say_quality(quality: client.Quality | None) -> None:
    """Say what is known of a range: nothing pretends to be complete."""
    if quality is None:
        return
    version = f" ({quality.version})" if quality.version else ""
    say(f"quality: {quality.status}{version}{_windows(quality.windows)}")
    for window in quality.windows[:SHOWN_WINDOWS]:
        about = " ".join((window.feed, *window.symbols))
        say(f"  {window.start} to {window.end or 'now'}  {window.status}: {window.reason}  {about}")


def _windows(windows: Sequence[client.Window]) -> str:
    if len(windows) <= SHOWN_WINDOWS:
        return ""
    return f", {len(windows)} windows, the first {SHOWN_WINDOWS} are"
