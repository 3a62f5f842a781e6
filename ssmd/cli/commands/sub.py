"""`ssmd sub`."""

from typing import Annotated

from cyclopts import Parameter

from ssmd.cli.options import DEFAULT_DATA_DIR, DataDir


async def sub(
    subject: Annotated[
        str, Parameter(name="SUBJECT", help="What to listen to: * is one part, > all the rest.")
    ] = "md.>",
    /,
    *,
    count: Annotated[int | None, Parameter(help="Stop after so many events.")] = None,
    server: Annotated[str, Parameter(help="NATS URL; else that of the system running in --data-dir.")] = "",
    stream: Annotated[str, Parameter(help="JetStream stream.")] = "marketdata",
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> int:
    """Print events as they are published, one JSON object per line, until Ctrl-C.

    Example: ssmd sub 'md.kraken.trade.>' --count 3
    """
    from ssmd.cli.listen import print_events
    from ssmd.cli.running import running_nats

    return await print_events(server or running_nats(data_dir), stream, subject, count)
