"""What `ssmd cat` does: archived objects as JSON lines, for people and pipes."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ssmd.errors import BadRecord, ConfigError
from ssmd.reprocess.show import json_lines


def print_objects(files: Sequence[Path]) -> int:
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
