"""`ssmd cat FILE`: archived objects as JSON lines, for people and pipes."""

import sys
from pathlib import Path

from ssmd.errors import BadRecord, ConfigError
from ssmd.reprocess.show import json_lines


def cat(*files: Path) -> int:
    """Print raw or normalized objects, one JSON object per line; reads .jsonl.zst and .capnp.zst.

    Example: ssmd cat ssmd-data/normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-00.capnp.zst
    """
    if not files:
        raise ConfigError("name at least one object; they lie below <data-dir>/raw and <data-dir>/normalized")
    for file in files:
        try:
            for line in json_lines(file.absolute().as_posix(), file.read_bytes()):
                sys.stdout.buffer.write(line)
        except BrokenPipeError:
            raise  # not the file's fault: nobody reads what is printed
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
        except BadRecord as error:
            sys.stderr.write(f"error: {file}: {error}\n")
            return 1
    return 0
