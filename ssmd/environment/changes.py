"""The changes that operators ask for, as edits of an environment's file. Nothing is written here.

Each returns what it did, as a result line says it: `feed/<feed> symbol AVAXUSD added`.
"""

import re
from typing import Final

from ssmd.environment.edit import Value, append, remove, set_value
from ssmd.environment.problem import did_you_mean, dotted
from ssmd.environment.source import Mapping, Node, Path, Source, elements, lookup, mapping, parse, plain, text
from ssmd.errors import ConfigError
from ssmd.records import Depth

FEEDS: Final[Path] = ("spec", "feeds")
_NOT_SYMBOL: Final = re.compile(r"[^A-Z0-9]")


class Draft:
    """A file that is being changed. `whole` is what it means with everything that it takes over from another one."""

    def __init__(self, source: Source, whole: Mapping | None) -> None:
        if source.root is None:
            raise ConfigError(source.problems[0].line())
        self.source = source
        self.whole = whole or source.root

    @property
    def text(self) -> str:
        return self.source.text

    def set(self, path: Path, value: Value) -> None:
        self._take(set_value(self.source, path, value))

    def append(self, path: Path, *values: Value) -> None:
        self._take(append(self.source, path, *values))

    def remove(self, path: Path) -> None:
        """Take away what the file itself says there. Raises ConfigError for anything else."""
        self.owns(path)
        self._take(remove(self.source, path))

    def _take(self, text: str) -> None:
        self.source = parse(text.encode(), self.source.file)

    def owns(self, path: Path) -> bool:
        """Tell whether the file itself says something there. Raises ConfigError when only its base does."""
        if lookup(self.source.root, path) is not None:
            return True
        inherited = self._inherited(path)
        if inherited is not None:
            raise ConfigError(f"{dotted(path)} is taken over from {inherited.mark}; change it there")
        return False

    def find(self, path: Path) -> Node | None:
        """Return the scalar or list that holds at a path after the changes so far, the file's own or taken over."""
        own = lookup(self.source.root, path)
        return own if own is not None else self._inherited(path)

    def _inherited(self, path: Path) -> Node | None:
        node = lookup(self.whole, path)  # as it was before the changes: what the file itself said may be gone
        return node if node is not None and node.mark.file != self.source.file else None


def default_symbol(name: str) -> str:
    """Return the internal symbol that a name gets when none is asked for: BTCUSD for BTC/USD."""
    return _NOT_SYMBOL.sub("", name.upper())


# feeds and symbols -------------------------------------------------------------------------------------------


def put_symbol(draft: Draft, feed: str, name: str, internal: str | None, depth: Depth | None) -> str:
    """Capture a symbol, or change how: only what is given changes; the feed is made when it is not there."""
    path = (*FEEDS, feed, "symbols")
    at = _index(draft, feed, name, ("name",)) if draft.owns(path) else None
    if at is None:
        symbol = internal or default_symbol(name)
        _add_symbol(draft, feed, {"name": name, "internal": symbol, "depth": depth or "l1"})
        return f"feed/{feed} symbol {symbol} added"
    entry = (*path, at)
    changed = [
        f"{field} {value}"
        for field, value in (("internal", internal), ("depth", depth))
        if value is not None and _set_if_other(draft, (*entry, field), value)
    ]
    symbol = internal or _text(draft, (*entry, "internal"))
    return f"feed/{feed} symbol {symbol} {'changed: ' + ', '.join(changed) if changed else 'unchanged'}"


def _add_symbol(draft: Draft, feed: str, entry: dict[str, Value]) -> None:
    if draft.owns((*FEEDS, feed)):
        draft.append((*FEEDS, feed, "symbols"), entry)
    else:
        draft.set((*FEEDS, feed), {"enabled": True, "symbols": [entry]})


def remove_symbol(draft: Draft, feed: str, name: str) -> str:
    """Capture a symbol no longer; `name` is the exchange's or ours."""
    at = _index(draft, feed, name, ("name", "internal")) if draft.owns((*FEEDS, feed, "symbols")) else None
    if at is None:
        known = _names(draft, feed)
        hint = did_you_mean(name, known, otherwise=f"it has {', '.join(known) or 'none'}")
        raise ConfigError(f"feed {feed} has no symbol {name!r}; {hint}")
    path = (*FEEDS, feed, "symbols", at)
    symbol = _text(draft, (*path, "internal"))
    draft.remove(path)
    return f"feed/{feed} symbol {symbol} removed"


def set_enabled(draft: Draft, feed: str, *, enabled: bool) -> str:
    word = "enabled" if enabled else "disabled"
    _need_feed(draft, feed)
    now = draft.find((*FEEDS, feed, "enabled"))
    if (plain(now) if now is not None else True) == enabled:
        return f"feed/{feed} unchanged: {word} already"
    draft.set((*FEEDS, feed, "enabled"), enabled)
    return f"feed/{feed} {word}"


def set_served(draft: Draft, feed: str, version: str) -> str:
    """Let readers of a feed use this version of its archive."""
    _need_feed(draft, feed)
    if not _set_if_other(draft, (*FEEDS, feed, "serve_version"), version):
        return f"feed/{feed} unchanged: readers use {version} already"
    return f"feed/{feed} readers use {version}"


def _need_feed(draft: Draft, feed: str) -> None:
    if not draft.owns((*FEEDS, feed)):
        feeds = mapping(draft.whole, *FEEDS)
        known = ", ".join(str(key.value) for key, _ in feeds.items) if feeds else "none"
        raise ConfigError(f"there is no feed {feed!r}; there are {known}; `ssmd feed add {feed} NAME` makes one")


def _names(draft: Draft, feed: str) -> list[str]:
    found = (text(entry, "name") for entry in elements(draft.find((*FEEDS, feed, "symbols"))))
    return [str(name.value) for name in found if name is not None]


def _index(draft: Draft, feed: str, name: str, fields: tuple[str, ...]) -> int | None:
    """Return where a symbol stands in its list, found by the first field that has the name."""
    entries = elements(draft.source.root, *FEEDS, feed, "symbols")
    for field in fields:
        for at, entry in enumerate(entries):
            value = text(entry, field)
            if value is not None and value.value == name:
                return at
    return None


def _set_if_other(draft: Draft, path: Path, value: Value) -> bool:
    node = lookup(draft.source.root, path)
    if node is not None and plain(node) == value:
        return False
    draft.set(path, value)
    return True


def _text(draft: Draft, path: Path) -> str:
    node = text(draft.source.root, *path)
    return str(node.value) if node is not None else "?"
