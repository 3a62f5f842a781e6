"""`ssmd simulate kraken`: hands its words to the simulator's own small entry."""

from typing import Annotated

from cyclopts import Parameter


def simulate(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Run a simulated exchange to test clients against; `ssmd simulate --help` lists every option and fault.

    Example: ssmd simulate kraken --port 9443 --symbols BTC/USD,ETH/USD --rate 200 --fault drop@10
    """
    from ssmd.cli import simulator

    return simulator.main(list(words))
