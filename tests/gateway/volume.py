"""A small volume of a test's own, to be filled and emptied."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE = "1m"


class Volume:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.folder / "fill").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass

    def free(self) -> None:
        (self.folder / "fill").unlink()

    def remount(self, how: str) -> None:
        """Mount it `ro` or `rw`; nothing may be open for writing."""
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.folder)], check=True)


@contextmanager
def small_volume(folder: Path) -> Iterator[Volume]:
    """Mount an empty volume on a new folder, or skip the test where that is not allowed: it takes root."""
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(argv, capture_output=True, check=False).returncode:
        pytest.skip("no volume can be mounted here")
    try:
        yield Volume(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
