"""Several calls to the world outside at once, with one plain error when one of them fails."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import trio

from ssmd.errors import BadRecord, StoreDown

T = TypeVar("T")
R = TypeVar("R")

CALLS_AT_ONCE: Final = 16


async def together(work: Callable[[T], Awaitable[R]], arguments: Sequence[T], at_once: int = CALLS_AT_ONCE) -> list[R]:
    """Return what the work returns, in the order of the arguments. Raises the first StoreDown or BadRecord, alone."""
    if len(arguments) == 1:
        return [await work(arguments[0])]
    done: dict[int, R] = {}
    failures: list[StoreDown | BadRecord] = []
    waiting = iter(enumerate(arguments))

    async def one_after_the_other(scope: trio.CancelScope) -> None:
        for number, argument in waiting:  # shared: each goes to one task
            try:
                done[number] = await work(argument)
            except (StoreDown, BadRecord) as error:
                failures.append(error)
                scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(min(at_once, len(arguments))):
            nursery.start_soon(one_after_the_other, nursery.cancel_scope)
    if failures:
        raise failures[0]
    return [done[number] for number in range(len(arguments))]


@contextmanager
def plain_outages() -> Iterator[None]:
    """Raise one plain StoreDown for a group of them: what reads several objects at once may fail several times."""
    failure: BaseExceptionGroup[StoreDown] | None = None
    try:
        yield
    except* StoreDown as group:
        failure = group
    if failure is not None:
        leaf: BaseException = failure
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        raise StoreDown(str(leaf)) from failure
