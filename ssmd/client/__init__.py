"""Read market data from an ssmd gateway: `Client` in notebooks and scripts, `AsyncClient` under asyncio or Trio.

    from ssmd.client import Client

    client = Client()
    client.trades("BTCUSD", start="-1h").to_polars()
    for message in client.subscribe("BTCUSD", types=["trade"]):
        print(message)

It knows nothing of the rest of ssmd but HTTP and WebSocket; docs/client.md has more examples.
"""

from ssmd.client.aio import AsyncClient
from ssmd.client.errors import (
    AuthError,
    Estimate,
    InvalidParameter,
    MissingExtra,
    NotFound,
    ParameterError,
    RangeTooLarge,
    RateLimited,
    SsmdError,
    Unavailable,
)
from ssmd.client.live import Subscription
from ssmd.client.messages import Connection, Gap, Lag, Message, Refused, Revoked
from ssmd.client.pacing import Patience
from ssmd.client.result import Answer, AsyncResult
from ssmd.client.rows import Book, Coverage, Event, Level, Quality, Quote, Symbol, Trade, Window
from ssmd.client.sync import Client, Live, Result

__all__ = [
    "Answer",
    "AsyncClient",
    "AsyncResult",
    "AuthError",
    "Book",
    "Client",
    "Connection",
    "Coverage",
    "Estimate",
    "Event",
    "Gap",
    "InvalidParameter",
    "Lag",
    "Level",
    "Live",
    "Message",
    "MissingExtra",
    "NotFound",
    "ParameterError",
    "Patience",
    "Quality",
    "Quote",
    "RangeTooLarge",
    "RateLimited",
    "Refused",
    "Result",
    "Revoked",
    "SsmdError",
    "Subscription",
    "Symbol",
    "Trade",
    "Unavailable",
    "Window",
]
