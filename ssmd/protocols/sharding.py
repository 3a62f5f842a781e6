"""Which of several connections captures which symbol: always the same one, whatever else is configured."""

from zlib import crc32

from msgspec.structs import replace

from ssmd.records import FeedConfig


def share_of(config: FeedConfig, slot: int) -> FeedConfig:
    """Return the part of a feed's configuration that one connection captures; empty when the feed is disabled."""
    symbols = (s for s in config.symbols if config.enabled and crc32(s.name.encode()) % config.shards == slot)
    return replace(config, symbols=tuple(symbols))
