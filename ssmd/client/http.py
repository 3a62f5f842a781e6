"""Requests: opened, tried again when that may help, and errors made of what comes instead of an answer."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

import anyio  # noqa: TID251  # asyncio or Trio, as the caller has it
import httpx

from ssmd.client.broken import advice, why
from ssmd.client.errors import RateLimited, Unavailable, answer_error
from ssmd.client.pacing import Patience
from ssmd.client.place import Place

T = TypeVar("T")
Query = Mapping[str, str | int]
Check = Callable[[bytes], None]
"""Raises Unavailable for a body that was cut."""

CONNECT_WITHIN_S: Final = 5.0
READ_WITHIN_S: Final = 60.0
"""Between two pieces of an answer; the first one of a long range takes a while."""


def whole(_body: bytes) -> None:
    """Take any body for a whole one: its length was told before it came."""


class Http:
    """The way to one gateway. `async with` it."""

    def __init__(self, place: Place, patience: Patience, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = place.url
        self.patience = patience
        self.client = httpx.AsyncClient(
            base_url=place.url,
            headers={
                "Authorization": f"Bearer {place.key}",
                "User-Agent": "ssmd.client",
                "Accept": "application/json, */*",
            },
            timeout=httpx.Timeout(READ_WITHIN_S, connect=CONNECT_WITHIN_S),
            event_hooks={"response": [_read_error]},
            transport=transport,
        )

    async def get(self, path: str, query: Query, check: Check = whole) -> httpx.Response:
        """Return a whole answer that passes the check."""
        return await self.again(partial(self._get, path, query, check))

    async def _get(self, path: str, query: Query, check: Check) -> httpx.Response:
        async with self.opened(path, query) as response:
            check(await response.aread())
            return response

    @asynccontextmanager
    async def opened(self, path: str, query: Query) -> AsyncIterator[httpx.Response]:
        """Give an answer whose body is still to be read. Raises SsmdError; one try."""
        try:
            async with self.client.stream("GET", path, params=dict(query)) as response:
                raise_error(response)
                yield response
        except httpx.RequestError as error:
            raise self.away(error) from error

    async def again(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it until it is done, or until no further try is worth the wait."""
        for failures in range(1, self.patience.tries):
            try:
                return await work()
            except (RateLimited, Unavailable) as error:
                wait_s = self.patience.wait_s(failures, error.retry_after_s)
                if wait_s > self.patience.longest_s:
                    raise
            await anyio.sleep(wait_s)
        return await work()

    def away(self, error: Exception) -> Unavailable:
        """Return what it means that a connection did not work."""
        if isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError, httpx.DecodingError)):
            return cut(str(error))
        return Unavailable(f"the gateway at {self.url} cannot be reached: {why(error)}", advice(error))


def cut(what: str) -> Unavailable:
    return Unavailable(f"the answer was cut: {what}", "ask again")


def raise_error(response: httpx.Response) -> None:
    """Raise the error that an answer is, if it is one. Its body has been read already."""
    if not response.is_success and response.status_code != httpx.codes.SWITCHING_PROTOCOLS:
        raise answer_error(response.status_code, response.content, response.headers.get("retry-after", ""))


async def _read_error(response: httpx.Response) -> None:
    """Read the body of an error while its connection is open: some callers get it only when it is closed."""
    if response.status_code >= httpx.codes.MULTIPLE_CHOICES:
        await response.aread()
