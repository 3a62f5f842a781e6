import pytest
import trio

from ssmd.supervisor import contain


async def test_an_error_is_told_and_goes_no_further():
    told = []

    async def broken() -> None:
        raise ExceptionGroup("two", [ValueError("a"), OSError("b")])

    await contain(broken, told.append)
    assert isinstance(told[0], ExceptionGroup)


async def test_cancellation_passes():
    told = []
    with trio.move_on_after(0) as scope:
        await contain(trio.sleep_forever, told.append)
    assert scope.cancelled_caught
    assert told == []


async def test_the_end_of_the_program_passes():
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await contain(interrupted, lambda _error: None)
