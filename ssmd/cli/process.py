"""What a process of `ssmd` does beside its command: signals, streams that are not there, and bugs."""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final, TextIO

EXIT_INTERRUPTED: Final = 128 + signal.SIGINT
EXIT_BUG: Final = 70


@contextmanager
def well_behaved() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that nothing half done is left; the exit code tells which it was."""
    _mend_streams()
    sys.excepthook = _tell_bug
    ended_by = [signal.SIGINT]

    def terminate(_number: int, _frame: FrameType | None) -> None:
        ended_by.append(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except SystemExit as end:
        if end.code != EXIT_INTERRUPTED:
            raise
        raise SystemExit(128 + ended_by[-1]) from None


def _mend_streams() -> None:
    """Give a stream that was closed (`<&-`) an empty one, and no stream a character that it cannot print."""
    sys.stdin = sys.stdin or _nothing("r")
    sys.stdout, sys.stderr = sys.stdout or _nothing("w"), sys.stderr or _nothing("w")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _nothing(mode: str) -> TextIO:
    stream: TextIO = Path(os.devnull).open(mode)  # type: ignore[assignment]  # noqa: SIM115  # for the whole process
    return stream


def _tell_bug(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Say in one line what nobody expected, and keep the traceback for those who mend it."""
    with tempfile.NamedTemporaryFile("w", prefix="ssmd-bug-", suffix=".log", delete=False) as file:
        traceback.print_exception(error, file=file)
    said = " ".join(str(error).split())[:300]
    sys.stderr.write(f"error: a bug in ssmd: {kind.__name__}: {said}\nhint: report it with {file.name}\n")
    raise SystemExit(EXIT_BUG)
