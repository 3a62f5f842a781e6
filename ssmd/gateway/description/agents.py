"""/llms.txt: what an agent must know before its first request, and nothing else."""

from typing import Final

_TEXT: Final = """\
# ssmd gateway

> Live and historical crypto market data (trades, quotes, order books). Every answer tells what is missing in it.

- Every request needs a key in a header: `Authorization: Bearer KEY` or `X-API-Key: KEY`. Never put a key into a URL.
- Errors are application/problem+json: `code` says what, `hint` what to do next, `errors` which parameters.
- A symbol that does not exist and one that this key may not read get the same answer, `unknown_symbol`.
- Times: RFC 3339, a date, integer nanoseconds, `now`, or a length such as `-15m`. Ranges are [start, end), by receive time.
  Prefer lengths (`start=-15m`) to times that you compute.
- Every answer carries `quality`: `verified` < `unverifiable` < `suspect` < `missing`. Do not interpolate over `missing`.
- Ask `/api/v1/estimate` before a long range; `format=parquet` and `format=ndjson` have no row limit.

## Requests

- [Symbols](/api/v1/symbols): what this key may read; `q=` searches
- [Trades](/api/v1/trades?symbol=BTCUSD&last=50): `symbol`, and `last` or `start` and `end`; `limit`, `cursor`, `format`
- [Quotes](/api/v1/quotes?symbol=BTCUSD&last=50): the same
- [Books](/api/v1/books?symbol=BTCUSD&at=-1m&depth=10): the book at a moment, or over a range
- [Gaps](/api/v1/gaps?symbol=BTCUSD&start=-24h): what is missing, and why
- [Estimate](/api/v1/estimate?type=trade&symbol=BTCUSD&start=-24h): rows and bytes
- Live: WebSocket `/subscribe?symbols=BTCUSD&types=trade`; no message needs to be sent. Come back with `from=pos:N` of the last message

## More

- [OpenAPI](/openapi.json): every parameter and answer
- [AsyncAPI](/asyncapi.json): every message of /subscribe, and what the close codes mean
- [For people](/docs)
"""


def llms_text() -> str:
    return _TEXT
