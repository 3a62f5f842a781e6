"""`ssmd tail`."""

from typing import Annotated

from cyclopts import Parameter

from ssmd.cli.options import Feeds, Output, Reading, Symbol


async def tail(  # noqa: PLR0913  # a command's options are its parameters
    *symbols: Symbol,
    types: Annotated[str, Parameter(help="Some of trade,quote,book; else all that the key may read.")] = "",
    start: Annotated[
        str,
        Parameter(
            name="--from",
            allow_leading_hyphen=True,
            help="Begin earlier: -5m, a time, or pos:N or id:ID, behind that message; as far back as the stream is kept.",
        ),
    ] = "now",
    count: Annotated[int | None, Parameter(help="Stop after so many messages.")] = None,
    stats: Annotated[bool, Parameter(negative="", help="Once per second what came, instead of the messages.")] = False,
    feed: Feeds = "",
    reading: Reading = Reading(),  # noqa: B008  # frozen
    output: Output = "table",
) -> int:
    """Print messages as they come, until Ctrl-C. It reconnects by itself and goes on where it was; gaps are printed too.

    Example: ssmd tail BTCUSD --types trade --from -1m --count 3
    """
    from ssmd.cli.tailing import Tail, print_messages

    return await print_messages(Tail(symbols, types, start, count, stats, feed), reading, output)
