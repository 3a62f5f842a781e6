"""Records in, events out: what a reprocess of any period is made of."""

from collections.abc import Iterable, Iterator

from ssmd.model import Event
from ssmd.protocols import exchange
from ssmd.protocols.decoder import VERSIONS, FeedDecoder, Versions, decoder
from ssmd.records import Record


def normalize(
    feed: str, version: str, records: Iterable[Record], state: bytes | None = None, versions: Versions = VERSIONS
) -> Iterator[Event]:
    """Give the events of records in the order of capture, with the identities that live capture gave them."""
    yield from decode(decoder(version, feed, exchange(feed), state, versions), records)


def decode(feed_decoder: FeedDecoder, records: Iterable[Record]) -> Iterator[Event]:
    for record in records:
        yield from feed_decoder.feed(record).events
