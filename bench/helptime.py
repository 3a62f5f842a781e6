"""How long `--help` of every command takes, as a user waits for it: a process each, the median of a few."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cyclopts import App

from ssmd.cli.app import application

RUNS = 5
LIMIT_MS = 300
SSMD = Path(sys.executable).with_name("ssmd")


def commands(app: App, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Give the words of every command below an application, and of the application itself."""
    yield words
    for name in app:
        if not name.startswith("-"):
            yield from commands(app[name], (*words, name))


def measure_ms(words: tuple[str, ...]) -> float:
    times = []
    for _ in range(RUNS):
        started_s = time.perf_counter()
        subprocess.run((SSMD, *words, "--help"), check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - started_s) * 1000)
    return statistics.median(times)


def run() -> None:
    figures = {words: measure_ms(words) for words in commands(application())}
    for words, took_ms in sorted(figures.items(), key=lambda item: -item[1]):
        print(f"{took_ms:6.0f} ms  {' '.join(('ssmd', *words))} --help")
    slow = [words for words, took_ms in figures.items() if took_ms > LIMIT_MS]
    print(f"{len(figures)} commands, {len(slow)} above {LIMIT_MS} ms; slowest {max(figures.values()):.0f} ms")
    if slow:
        sys.exit(1)
