"""Copy one object: hashed while it is copied, checked against what is known of it, never over another one."""

from typing import Final

import msgspec
from msgspec.structs import replace

from ssmd.backup.inventory import Entry, Problem, digest_of, version_key
from ssmd.backup.planning import Todo
from ssmd.codec import blocks
from ssmd.errors import AlreadyStored, BadRecord
from ssmd.protocols.manifest import Manifest
from ssmd.store.base import Store
from ssmd.store.keys import SHORTFALL_ENDING, RawKey

IMMUTABLE: Final = ("raw/", "quality/")
"""Below these nothing is ever written a second time with another content. The rest may be rebuilt under its old key."""
MAX_OBJECT_BYTES: Final = 4 << 30


class Copier:
    """Counts what it has copied and keeps what is wrong."""

    def __init__(self, source: Store, place: Store) -> None:
        self.copied = self.copied_bytes = 0
        self.problems: list[Problem] = []
        self._source = source
        self._place = place

    async def copy(self, todo: Todo) -> Entry | None:
        """Return what the place holds of an object now; None: nothing, because the source has it no more or damaged."""
        key = todo.meta.key
        body = await self._source.read(key)
        if body is None:
            return None  # retention took it meanwhile
        damage = await self._damage(key, body, todo.known)
        if damage:
            self.problems.append(Problem(key, "damaged_source", damage))
            return todo.known if todo.is_there else None
        return await self.store(key, body, todo)

    async def store(self, key: str, body: bytes, todo: Todo) -> Entry:
        """Store content that is as it should be; what an earlier run has stored of the same content is left alone."""
        entry = Entry(key, len(body), digest_of(body), todo.meta.etag or "")
        known = todo.known
        if known is not None and todo.is_there and known.sha256 == entry.sha256:
            return replace(entry, place=known.place)
        try:
            await self._create(key, body)
        except AlreadyStored:
            entry = replace(entry, place=version_key(key, entry.sha256))
            if _is_immutable(key):
                detail = f"the copy in the backup is not this object; a good one is now in {entry.place}"
                self.problems.append(Problem(key, "damaged_copy", detail))
            await self._create(entry.place, body)
        return entry

    async def _create(self, key: str, body: bytes) -> None:
        if await self._place.create(key, body):
            self.copied += 1
            self.copied_bytes += len(body)

    # what is known of an object ------------------------------------------------------------------------------

    async def _damage(self, key: str, body: bytes, known: Entry | None) -> str:
        """Return what shows that the source's object is damaged; nothing if nothing does."""
        if known is not None and known.sha256 == digest_of(body):
            return ""
        if known is not None and _is_immutable(key):
            return (
                f"its hash is {digest_of(body)[:16]}…, an earlier backup has {known.sha256[:16]}…, and it never changes"
            )
        if key.startswith("raw/"):
            return await self._damage_of_raw(key, body)
        return _unreadable(key, body)

    async def _damage_of_raw(self, key: str, body: bytes) -> str:
        """Compare with the manifest. An object without one is taken as it is: nobody knows what it should be."""
        text = body
        if not key.endswith(".manifest.json"):
            found = await self._source.read(RawKey.parse(key).manifest)
            if found is None:
                return ""
            text = found
        try:
            manifest = msgspec.json.decode(text, type=Manifest)
        except msgspec.MsgspecError as error:
            return "" if text is not body else f"the manifest cannot be read: {error}"
        if text is body or manifest.sha256 == digest_of(body):
            return ""
        return f"its hash is {digest_of(body)[:16]}…, its manifest says {manifest.sha256[:16]}…"


def _unreadable(key: str, body: bytes) -> str:
    """Return why content is not what its name says. zstd has a checksum of its own; JSON at least a form."""
    try:
        if key.endswith(".zst"):
            for _ in blocks.iter_decompress(body, MAX_OBJECT_BYTES):
                pass
        elif key.endswith(".json"):
            msgspec.json.decode(body)
    except (BadRecord, msgspec.MsgspecError) as error:
        return f"it cannot be read: {error}"
    return ""


def _is_immutable(key: str) -> bool:
    """Tell whether a key never gets another content; a mark that was taken away may be set anew."""
    return key.startswith(IMMUTABLE) and not key.endswith(SHORTFALL_ENDING)
