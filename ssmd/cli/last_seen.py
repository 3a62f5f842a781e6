"""What this checkout has last seen live, like git's remote-tracking branches: so that it knows what others changed since.

Below `.ssmd/` beside `environments/`; git ignores it. Losing it costs nothing but the knowledge.
"""

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from ssmd.cli.live_change import FeedChange
from ssmd.cli.overlay import project_root
from ssmd.records import FeedConfig

FOLDER: Final = ".ssmd"
_IGNORE_ALL: Final = "*\n"


class LastSeen:
    """The live copies of one environment as this checkout put or read them last."""

    def __init__(self, project: Path, environment: str) -> None:
        self._folder = project / FOLDER
        self._path = self._folder / "live" / f"{environment}.json"

    def load(self) -> Mapping[str, FeedConfig]:
        """Return the configurations by feed; nothing when none was ever seen, or it cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, FeedConfig])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return {}

    def remember(self, changes: Iterable[FeedChange]) -> None:
        """Take over what is live now, after these changes. A folder that cannot be written is no reason to fail."""
        live = dict(self.load())
        for change in changes:
            live.pop(change.feed, None)
            if change.after is not None:
                live[change.feed] = change.after
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            (self._folder / ".gitignore").write_text(_IGNORE_ALL)
            self._path.write_bytes(msgspec.json.encode(live))


def last_seen(path: Path, environment: str) -> LastSeen:
    """Return what was last seen of the environment whose file is at `path`."""
    return LastSeen(project_root(path), environment)
