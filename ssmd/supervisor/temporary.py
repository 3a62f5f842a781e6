"""Work that is done once and never again, such as one client's connection: its bug must not end its neighbours."""

from collections.abc import Awaitable, Callable


async def contain(work: Callable[[], Awaitable[None]], tell: Callable[[Exception], None]) -> None:
    """Do the work; an error of it is told and goes no further. Cancellation passes."""
    try:
        await work()
    except Exception as error:  # noqa: BLE001  # what it is for
        tell(error)
