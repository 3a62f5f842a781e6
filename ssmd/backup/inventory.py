"""What a backup place holds besides the objects themselves: what was copied in which run.

backup.json                                whose backups these are; nobody else's may be mixed in
runs/<id>.json                             one run, written last: without it nothing counts as a backup
inventories/<day>/<sha256>.jsonl.zst       the objects of one day, shared by all runs that found the same
versions/<sha256>/<key>                    an object whose own key held something else already
<key>                                      every other object
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.clock import NS_PER_MS, NS_PER_S
from ssmd.codec import blocks
from ssmd.errors import AlreadyStored, BadRecord, ConfigError
from ssmd.store.base import Store

FORMAT: Final = 1
OWNER_KEY: Final = "backup.json"
RUNS: Final = "runs/"
INVENTORIES: Final = "inventories/"
VERSIONS: Final = "versions/"
UNDATED: Final = "undated"
"""The list of what belongs to no day: ranges of versions, the environment, the live configuration."""

MAX_PROBLEMS: Final = 100
MAX_LIST_BYTES: Final = 1 << 30
DIGEST_CHARS: Final = 16
"""Of a hash in a key. What stands there is compared whole before it is relied on."""


class Owner(Struct, frozen=True):
    """Whose backups a place holds. source: `simulator` or `exchange`, empty where nobody knows."""

    format: int
    environment: str
    source: str


class Entry(Struct, frozen=True, array_like=True):
    """One object. etag: the source's when its content was read. place: its key in the backup if that is another one."""

    key: str
    size_bytes: int
    sha256: str
    etag: str = ""
    place: str = ""

    @property
    def stored_key(self) -> str:
        return self.place or self.key


class Part(Struct, frozen=True):
    """The list of the objects of one day. sha256: of the list as stored."""

    name: str
    key: str
    sha256: str
    objects: int
    size_bytes: int


class Reach(Struct, frozen=True):
    """Which minutes (nanoseconds UTC, start of the minute) of a feed there are; None: none, or not known.

    raw_through: the last one with raw data. complete_through: up to here, raw data, ledger and archive are all there.
    """

    feed: str
    first_minute: int | None = None
    raw_through: int | None = None
    complete_through: int | None = None


class Problem(Struct, frozen=True, order=True):
    key: str
    kind: str
    detail: str

    def line(self) -> str:
        return f"{self.kind}  {self.key}: {self.detail}"


class Run(Struct, frozen=True):
    """One backup. gone: objects of the run before that the source no longer has; they stay in the place.

    live: what became of the live configuration, in words. release: the ssmd that wrote it.
    """

    format: int
    id: str
    environment: str
    source: str
    release: str
    began_ns: int
    ended_ns: int
    objects: int
    size_bytes: int
    copied: int
    copied_bytes: int
    gone: int
    live: str
    feeds: tuple[Reach, ...]
    parts: tuple[Part, ...]
    problem_count: int
    problems: tuple[Problem, ...]


def new_id(at_ns: int) -> str:
    """Return a name for a run that begins at this time; names sort by time."""
    seconds, rest_ns = divmod(at_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S}.{rest_ns // NS_PER_MS:03}Z"


def digest_of(body: bytes) -> str:
    return sha256(body).hexdigest()


def version_key(key: str, digest: str) -> str:
    return f"{VERSIONS}{digest[:DIGEST_CHARS]}/{key}"


# the place ---------------------------------------------------------------------------------------------------


async def owner_of(place: Store) -> Owner | None:
    """Return whose backups are there, None for a place without any. Raises ConfigError for one of another format."""
    text = await place.read(OWNER_KEY)
    if text is None:
        return None
    try:
        owner = msgspec.json.decode(text, type=Owner)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{OWNER_KEY} of this place cannot be read, so it is no backup of ssmd: {error}") from error
    if owner.format != FORMAT:
        raise ConfigError(f"this backup is of format {owner.format}, this ssmd knows {FORMAT}; use a newer one")
    return owner


def check_owner(found: Owner | None, wanted: Owner) -> None:
    """Raise ConfigError where the place holds somebody else's backups: keys would collide."""
    if found is None:
        return
    if found.environment != wanted.environment:
        raise ConfigError(
            f"this place holds backups of environment {found.environment}, not of {wanted.environment}; "
            f"give each environment an address of its own"
        )
    if found.source and wanted.source and found.source != wanted.source:
        raise ConfigError(
            f"this place holds data of the {found.source}, not of the {wanted.source}; give another address"
        )


async def claim(place: Store, owner: Owner) -> None:
    """Write whose backups these are, once. Raises ConfigError when somebody else was faster."""
    try:
        await place.create(OWNER_KEY, msgspec.json.encode(owner) + b"\n")
    except AlreadyStored:
        check_owner(await owner_of(place), owner)


# runs --------------------------------------------------------------------------------------------------------


async def run_ids(place: Store) -> list[str]:
    """Return the names of all runs, oldest first."""
    found = await place.list(RUNS)
    return [meta.key.removeprefix(RUNS).removesuffix(".json") for meta in found if meta.key.endswith(".json")]


async def read_run(place: Store, run_id: str) -> Run:
    """Return one run. Raises BadRecord when it is damaged or not there."""
    text = await place.read(f"{RUNS}{run_id}.json")
    if text is None:
        raise BadRecord(f"there is no backup {run_id}")
    try:
        run = msgspec.json.decode(text, type=Run)
    except msgspec.MsgspecError as error:
        raise BadRecord(f"backup {run_id} cannot be read: {error}") from error
    if run.format != FORMAT:
        raise BadRecord(f"backup {run_id} is of format {run.format}, this ssmd knows {FORMAT}")
    return run


async def newest_run(place: Store) -> Run | None:
    """Return the newest run that can be read."""
    for run_id in reversed(await run_ids(place)):
        try:
            return await read_run(place, run_id)
        except BadRecord:
            continue
    return None


async def write_run(place: Store, run: Run) -> None:
    body = msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n"
    await place.create(f"{RUNS}{run.id}.json", body)


# lists -------------------------------------------------------------------------------------------------------


async def write_part(place: Store, name: str, entries: Iterable[Entry]) -> Part:
    """Store the list of a day; one that is there already with the same content is shared."""
    ordered = sorted(entries, key=lambda entry: entry.key)
    text = b"".join(msgspec.json.encode(entry) + b"\n" for entry in ordered)
    key = f"{INVENTORIES}{name}/{digest_of(text)[:DIGEST_CHARS]}.jsonl.zst"
    body = blocks.compress(text)
    try:
        await place.create(key, body)
    except AlreadyStored:
        body = await place.read(key) or b""  # of another zstd, or damaged
        if _text(body) != text:
            key = version_key(key, digest_of(body := blocks.compress(text)))
            await place.create(key, body)
    return Part(name, key, digest_of(body), len(ordered), sum(entry.size_bytes for entry in ordered))


async def read_part(place: Store, part: Part) -> list[Entry]:
    """Return the list of a day. Raises BadRecord when it is missing or is not what the run says."""
    body = await place.read(part.key)
    if body is None or digest_of(body) != part.sha256:
        raise BadRecord(f"inventory {part.key} is {'missing' if body is None else 'damaged: its hash is another one'}")
    return _entries(part.key, body)


async def unfinished_lists(place: Store, name: str) -> list[Entry]:
    """Return what runs that never ended have listed of a day; what cannot be read is left out."""
    found: list[Entry] = []
    for meta in await place.list(f"{INVENTORIES}{name}/"):
        try:
            found += _entries(meta.key, await place.read(meta.key) or b"")
        except BadRecord:
            continue
    return found


def _entries(key: str, body: bytes) -> list[Entry]:
    try:
        text = blocks.decompress(body, MAX_LIST_BYTES)
        return [msgspec.json.decode(line, type=Entry) for line in text.splitlines()]
    except (BadRecord, msgspec.MsgspecError) as error:
        raise BadRecord(f"inventory {key} cannot be read: {error}") from error


def _text(body: bytes) -> bytes | None:
    try:
        return blocks.decompress(body, MAX_LIST_BYTES)
    except BadRecord:
        return None


def worst(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return as many problems as a report holds, in order."""
    return tuple(sorted(problems)[:MAX_PROBLEMS])
