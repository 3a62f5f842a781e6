"""`ssmd export`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ssmd.cli.options import Feeds, Output, RangeEnd, RangeStart, Reading, Symbol, Version


async def export(  # noqa: PLR0913  # a command's options are its parameters
    *symbols: Symbol,
    types: Annotated[str, Parameter(help="Some of trade,quote,book.")],
    start: RangeStart,
    end: RangeEnd = "now",
    format: Annotated[  # noqa: A002
        Literal["parquet", "arrow", "csv", "ndjson"] | None,
        Parameter(help="Of the files; else as the name of --to says, else parquet."),
    ] = None,
    to: Annotated[
        Path, Parameter(help="A folder: a file for each type, symbol and day. Or one file, such as btc.parquet.")
    ],
    estimate: Annotated[bool, Parameter(negative="", help="Say how much it would be; fetch nothing.")] = False,
    resume: Annotated[
        bool, Parameter(negative="", help="Go on with an export into this folder; keep what is whole.")
    ] = (False),
    feed: Feeds = "",
    version: Version = "",
    reading: Reading = Reading(),  # noqa: B008  # frozen
    output: Output = "table",
) -> int:
    """Write a range into files. Each is there when it is whole, and not before; --resume fetches those that are missing.

    Example: ssmd export BTCUSD --types trade --start -1h --format parquet --to export
    """
    from ssmd.cli.exporting import Export, Ways, export_range

    asked = Export(symbols, types, start, end, feed, version)
    return await export_range(asked, Ways(to, format, estimate, resume), reading, output)
