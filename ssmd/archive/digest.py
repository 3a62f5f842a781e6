"""One object with all ledger records of a day that is over: whoever asks about days reads it instead of 1,440 small ones.

The records stay what counts: a digest holds their very bytes, and only what is listed beside it is looked up in it.
"""

import re
from contextlib import suppress
from typing import Final

import trio

from ssmd.codec import blocks
from ssmd.errors import AlreadyStored, BadRecord
from ssmd.protocols.quality import decode_record
from ssmd.store.base import Store
from ssmd.store.keys import DigestKey, QualityKey, RawKey, day_prefix, quality_prefix

MAX_BYTES: Final = 256 << 20
READS_AT_ONCE: Final = 16
_RAW_KEY: Final = re.compile(rb'"raw_key":"([^"\\]+)"')


async def bind_day(store: Store, version: str, feed: str, day_ns: int, *, anew: bool = False) -> bool:
    """Store the digest of a day's records as they are now; tell whether it is new. Raises StoreDown.

    A digest that is there stays, as records that came later are read by themselves; anew: it is replaced if it says
    something else.
    """
    digest = DigestKey(version, feed, day_ns)
    listed = [meta.key for meta in await store.list(day_prefix(quality_prefix(version, feed), day_ns))]
    keys = [key for key in listed if _is_record(key)]
    if not keys or (digest.key in listed and not anew):
        return False
    body = blocks.compress(b"".join(await _texts(store, keys)))
    try:
        return await store.create(digest.key, body)
    except AlreadyStored:
        if anew:
            await store.delete(digest.key)
            await store.create(digest.key, body)
        return anew


async def _texts(store: Store, keys: list[str]) -> list[bytes]:
    """Return the records that can be read, in the order of their keys; readers look at the others themselves."""
    found: dict[str, bytes] = {}
    waiting = iter(keys)

    async def read_next() -> None:
        for key in waiting:  # shared: each goes to one reader
            text = await store.read(key) or b""
            with suppress(BadRecord):
                record = decode_record(text)
                if (
                    QualityKey.of(record.version, RawKey.parse(record.raw_key)).key == key
                    and text.endswith(b"\n")
                    and len(text.splitlines()) == 1
                ):
                    found[key] = text

    async with trio.open_nursery() as nursery:
        for _ in range(READS_AT_ONCE):
            nursery.start_soon(read_next)
    return [found[key] for key in sorted(found)]


def _is_record(key: str) -> bool:
    try:
        QualityKey.parse(key)
    except BadRecord:
        return False
    return True


def unbind(body: bytes) -> dict[RawKey, bytes]:
    """Return the records of a digest, as they were stored, by what they are about. Raises BadRecord."""
    found: dict[RawKey, bytes] = {}
    for line in blocks.decompress(body, MAX_BYTES).splitlines(keepends=True):
        named = _RAW_KEY.search(line)
        if named is None:
            raise BadRecord("a line of a digest names no raw object")
        found[RawKey.parse(named[1].decode())] = line
    return found
