"""Edits of an environment's entitlements. The entry with a type defines a client, further ones only grant."""

from typing import Final

from msgspec import Struct

from ssmd.environment.changes import Draft
from ssmd.environment.edit import Value
from ssmd.environment.problem import did_you_mean
from ssmd.environment.rules import defines_client, is_glob, symbols_by_feed
from ssmd.environment.source import Mapping, Path, elements, lookup, plain, text
from ssmd.errors import ConfigError

ENTITLEMENTS: Final[Path] = ("spec", "entitlements")


class Client(Struct, frozen=True):
    """Who a client is."""

    client_id: str
    type: str
    name: str = ""
    max_devices: int | None = None


class Grant(Struct, frozen=True):
    """What a client may read of one feed. data_types: none named means all."""

    feed: str
    symbols: tuple[str, ...]
    data_types: tuple[str, ...] = ()
    expires_at: str | None = None

    def terms(self) -> dict[str, Value]:
        """Return what two grants must have in common to be one entry."""
        terms: dict[str, Value] = {}
        if self.data_types:
            terms["data_types"] = list(self.data_types)
        if self.expires_at is not None:
            terms["expires_at"] = self.expires_at
        return terms


def add_client(draft: Draft, client: Client) -> str:
    """Define a client that may read nothing yet."""
    if _entries(draft, client.client_id):
        raise ConfigError(f"client {client.client_id!r} exists already; `ssmd client entitle` lets it read something")
    draft.owns(ENTITLEMENTS)
    entry: dict[str, Value] = {"client_id": client.client_id}
    if client.name:
        entry["name"] = client.name
    entry |= {"type": client.type, "feeds": [], "symbols": []}
    if client.max_devices is not None:
        entry["max_devices"] = client.max_devices
    draft.append(ENTITLEMENTS, entry)
    return f"client/{client.client_id} added as {client.type}"


def entitle(draft: Draft, client_id: str, grant: Grant) -> str:
    """Let a client read symbols of a feed, in the entry that fits best."""
    entries = _known(draft, client_id)
    symbols = list(dict.fromkeys(grant.symbols))
    what = f"client/{client_id} may read {', '.join(symbols)} on {grant.feed}"
    for path, entry in entries:
        if _values(entry, "feeds") == [grant.feed] and _terms(entry) == grant.terms():
            new = [symbol for symbol in symbols if symbol not in _values(entry, "symbols")]
            if new:
                draft.append((*path, "symbols"), *new)
            return what if new else f"client/{client_id} unchanged: it may read that already"
    for path, entry in entries:
        if not _values(entry, "feeds") and not _terms(entry):
            draft.set((*path, "feeds"), [grant.feed])
            draft.set((*path, "symbols"), symbols)
            for key, value in grant.terms().items():
                draft.set((*path, key), value)
            return what
    further: dict[str, Value] = {"client_id": client_id, "feeds": [grant.feed], "symbols": symbols}
    draft.append(ENTITLEMENTS, further | grant.terms())
    return what


def revoke(draft: Draft, client_id: str, feed: str) -> str:
    """Let a client read nothing more of a feed."""
    entries = [(path, entry) for path, entry in _known(draft, client_id) if feed in _values(entry, "feeds")]
    if not entries:
        raise ConfigError(f"client {client_id!r} is not entitled to feed {feed!r}: nothing to revoke")
    for path, entry in reversed(entries):  # from the end: what is before keeps its place
        left = [other for other in _values(entry, "feeds") if other != feed]
        lost = _symbols_lost(draft, entry, left)
        if left and len(lost) < len(_values(entry, "symbols")):
            _remove_each(draft, (*path, "feeds"), [at for at, f in enumerate(_values(entry, "feeds")) if f == feed])
            _remove_each(draft, (*path, "symbols"), lost)
        elif defines_client(entry):
            _clear(draft, path, entry)
        else:
            draft.remove(path)
    return f"client/{client_id} may no longer read {feed}"


def _symbols_lost(draft: Draft, entry: Mapping, feeds: list[str]) -> list[int]:
    """Return which symbols of an entry none of these feeds has: left there, they would forbid the revoke."""
    known = symbols_by_feed(draft.whole)
    there = {symbol for feed in feeds for symbol in known.get(feed, ())}
    return [at for at, name in enumerate(_values(entry, "symbols")) if not is_glob(name) and name not in there]


def _remove_each(draft: Draft, path: Path, indexes: list[int]) -> None:
    for at in reversed(indexes):
        draft.remove((*path, at))


def _clear(draft: Draft, path: Path, entry: Mapping) -> None:
    """Leave of an entry only who the client is."""
    draft.set((*path, "feeds"), [])
    draft.set((*path, "symbols"), [])
    for key in ("data_types", "expires_at"):
        if entry.get(key) is not None:
            draft.remove((*path, key))


def remove_client(draft: Draft, client_id: str) -> str:
    """Take a client and everything it may read out of the file."""
    for path, _ in reversed(_known(draft, client_id)):
        draft.remove(path)
    return f"client/{client_id} removed"


def _known(draft: Draft, client_id: str) -> list[tuple[Path, Mapping]]:
    entries = _entries(draft, client_id)
    if not entries:
        found = (text(entry, "client_id") for entry in elements(draft.find(ENTITLEMENTS)))
        known = list(dict.fromkeys(str(client.value) for client in found if client is not None))
        hint = did_you_mean(client_id, known, otherwise=f"there are {', '.join(known) or 'none'}")
        raise ConfigError(f"there is no client {client_id!r}; {hint}; `ssmd client add` makes one")
    draft.owns(ENTITLEMENTS)
    return entries


def _entries(draft: Draft, client_id: str) -> list[tuple[Path, Mapping]]:
    return [
        ((*ENTITLEMENTS, at), entry)
        for at, entry in enumerate(elements(draft.find(ENTITLEMENTS)))
        if isinstance(entry, Mapping) and (named := text(entry, "client_id")) and named.value == client_id
    ]


def _values(entry: Mapping, key: str) -> list[str]:
    return [str(plain(node)) for node in elements(entry, key)]


def _terms(entry: Mapping) -> dict[str, object]:
    found = {key: lookup(entry, (key,)) for key in ("data_types", "expires_at")}
    return {key: plain(node) for key, node in found.items() if node is not None}
