"""`ssmd cat`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def cat(*files: Annotated[Path, Parameter(help="Objects of the archive.")]) -> int:
    """Print raw or normalized objects, one JSON object per line; reads .jsonl.zst and .capnp.zst.

    Example: ssmd cat ssmd-data/normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-00.capnp.zst
    """
    from ssmd.cli.show import print_objects

    return print_objects(files)
