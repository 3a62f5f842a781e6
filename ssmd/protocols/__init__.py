"""The exchanges that ssmd knows. A new one is one file here and one entry in `EXCHANGES`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ssmd.errors import ConfigError
from ssmd.protocols.base import Exchange
from ssmd.protocols.kraken import Kraken

_ALL: Final[tuple[Exchange, ...]] = (Kraken(),)

EXCHANGES: Final[Mapping[str, Exchange]] = MappingProxyType({exchange.name: exchange for exchange in _ALL})


def exchange(name: str) -> Exchange:
    """Return the exchange of a feed's name. Raises ConfigError for a name that ssmd does not know."""
    found = EXCHANGES.get(name)
    if found is None:
        raise ConfigError(f"exchange is {name!r}; known are {', '.join(sorted(EXCHANGES))}")
    return found
