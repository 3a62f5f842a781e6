"""What checking an environment needs to know of the exchanges that ssmd speaks."""

from collections.abc import Iterable

from ssmd.environment.catalog import Catalog, FeedFacts
from ssmd.protocols import EXCHANGES
from ssmd.protocols.decoder import VERSIONS
from ssmd.settings import Settings
from ssmd.trees.instruments import InstrumentList, known_instruments, refresh_instruments


def catalog(settings: Settings) -> Catalog:
    """Return the facts of every exchange, with the newest instrument list at hand."""
    return {feed: _facts(feed, known_instruments(feed, settings)) for feed in EXCHANGES}


async def refresh_catalog(settings: Settings, feeds: Iterable[str]) -> Catalog:
    """The same with the lists of these feeds as the exchanges give them now. Raises ExchangeDown."""
    asked = {feed: await refresh_instruments(feed, settings) for feed in feeds if feed in EXCHANGES}
    return {**catalog(settings), **{feed: _facts(feed, listed) for feed, listed in asked.items()}}


def _facts(feed: str, listed: InstrumentList | None) -> FeedFacts:
    exchange = EXCHANGES[feed]
    return FeedFacts(
        names=listed.names if listed is not None else frozenset(),
        list_source=f"the {listed.source} list of {listed.taken_at}" if listed is not None else "",
        spell=exchange.spelling,
        max_book_depth=max(exchange.book_depths, default=None),
        normalizers=tuple(VERSIONS),
    )
