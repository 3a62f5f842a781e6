"""`ssmd get`."""

from typing import Annotated, Literal

from cyclopts import Parameter

from ssmd.cli.options import Feeds, Output, RangeEnd, RangeStart, Reading, Symbol, Version


async def get(  # noqa: PLR0913  # a command's options are its parameters
    what: Annotated[
        Literal["trades", "quotes", "books", "gaps", "coverage"], Parameter(name="WHAT", help="What to get.")
    ],
    /,
    *symbols: Symbol,
    last: Annotated[int | None, Parameter(help="The newest so many rows; 20 when no range is given.")] = None,
    start: RangeStart = "",
    end: RangeEnd = "",
    limit: Annotated[int, Parameter(help="Of a range, not more rows than that.")] = 1000,
    feed: Feeds = "",
    version: Version = "",
    reading: Reading = Reading(),  # noqa: B008  # frozen
    output: Output = "table",
) -> int:
    """Print rows, or what is missing, from a gateway. What is known of their quality is said on stderr.

    Example: ssmd get trades BTCUSD --last 100
    """
    from ssmd.cli.getting import Wanted, get_rows

    return await get_rows(what, Wanted(symbols, last, start, end, limit, feed, version), reading, output)
