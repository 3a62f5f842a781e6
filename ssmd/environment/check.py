"""What a feed configuration must fulfil beyond its types, wherever it comes from: file or live copy."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from ssmd.errors import ConfigError
from ssmd.model import is_symbol, is_token
from ssmd.records import FeedConfig

MAX_SYMBOLS: Final = 2_000
MAX_NAME_CHARS: Final = 32
BOOK_DEPTH: Final = (1, 1000)
BOOK_INTERVAL_MS: Final = (0, 60_000)
SHARDS: Final = (1, 64)


def check_feed(feed: str, config: FeedConfig, known_normalizers: Iterable[str]) -> None:
    """Raise ConfigError that names the first thing wrong; a checked configuration is safe to run."""
    if not is_token(feed):
        raise ConfigError(f"feed name {feed!r} is not made of letters, digits, _ and -")
    if config.normalizer not in known_normalizers:
        raise ConfigError(
            f"feed {feed}: normalizer is {config.normalizer!r}; known are {', '.join(sorted(known_normalizers))}"
        )
    _check_candidate(feed, config, known_normalizers)
    if len(config.symbols) > MAX_SYMBOLS:
        raise ConfigError(f"feed {feed}: {len(config.symbols)} symbols; at most {MAX_SYMBOLS}")
    _check_range(feed, "book_depth", config.book_depth, BOOK_DEPTH)
    _check_range(feed, "book_interval_ms", config.book_interval_ms, BOOK_INTERVAL_MS)
    _check_range(feed, "shards", config.shards, SHARDS)
    for entry in config.symbols:
        if not 1 <= len(entry.name) <= MAX_NAME_CHARS or not entry.name.isprintable():
            raise ConfigError(
                f"feed {feed}: name {entry.name[:40]!r} must have 1 to {MAX_NAME_CHARS} printable characters"
            )
        if not is_symbol(entry.symbol):
            raise ConfigError(f"feed {feed}: symbol {entry.symbol!r} is not made of A-Z, 0-9, _ and -")
    _check_unique(feed, "name", (entry.name for entry in config.symbols))
    _check_unique(feed, "symbol", (entry.symbol for entry in config.symbols))


def _check_candidate(feed: str, config: FeedConfig, known_normalizers: Iterable[str]) -> None:
    candidate = config.candidate_normalizer
    if candidate and candidate not in known_normalizers:
        known = ", ".join(sorted(known_normalizers))
        raise ConfigError(f"feed {feed}: candidate_normalizer is {candidate!r}; known are {known}")
    if candidate == config.normalizer:
        raise ConfigError(f"feed {feed}: candidate_normalizer is {candidate!r}, which is the normalizer already")


def _check_range(feed: str, what: str, value: int, allowed: tuple[int, int]) -> None:
    least, most = allowed
    if not least <= value <= most:
        raise ConfigError(f"feed {feed}: {what} is {value}; allowed are {least} to {most}")


def _check_unique(feed: str, what: str, values: Iterable[str]) -> None:
    value, count = next(iter(Counter(values).most_common(1)), ("", 0))
    if count > 1:
        raise ConfigError(f"feed {feed}: {what} {value!r} stands there {count} times; once is allowed")
