"""The ways to use the client: a claim is written once, as if for AsyncClient, and holds in each of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator

import trio

from ssmd.client import AsyncClient, Client, Result

Claim = Callable[[AsyncClient], Awaitable[None]]


class Cell:
    """What a sync call gave, as if it were to be awaited."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, object]:
        yield from ()
        if isinstance(self._value, Result):
            len(self._value)  # ask
        return self._value

    def __getattr__(self, name: str):
        async def call(*words):
            return getattr(self._value, name)(*words)

        return call

    async def __aiter__(self) -> AsyncIterator[object]:
        for each in self._value:
            yield each

    async def aclose(self) -> None:
        self._value.close()


class Notebook:
    """The sync client as a cell of a notebook uses it: a loop is running in this thread already."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str):
        return lambda *words, **more: Cell(getattr(self._client, name)(*words, **more))


async def awaited(claim: Claim, **words) -> None:
    async with AsyncClient(**words) as client:
        await claim(client)


async def in_a_cell(claim: Claim, **words) -> None:
    with Client(**words) as client:
        await claim(Notebook(client))


MODES = {
    "trio": lambda claim, **words: trio.run(lambda: awaited(claim, **words)),
    "asyncio": lambda claim, **words: asyncio.run(awaited(claim, **words)),
    "notebook": lambda claim, **words: asyncio.run(in_a_cell(claim, **words)),
}


async def first(subscription):
    async for message in subscription:
        await subscription.aclose()
        return message
    raise AssertionError("nothing came")


def numbers(rows) -> list[int]:
    return [int(row.id.split("/")[2]) for row in rows]
