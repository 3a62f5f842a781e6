"""Join what the sealer knows of a segment with what a normalizer knows of it: that is the ledger's record."""

from collections.abc import Callable, Mapping

import msgspec

from ssmd.errors import AlreadyStored, BadRecord, StoreDown
from ssmd.journal import Cursor, Journal, Tallies, TallyName, candidate_directory, whole_bytes
from ssmd.log import get_logger
from ssmd.protocols import quality
from ssmd.protocols.manifest import Manifest
from ssmd.store.base import Store
from ssmd.store.keys import QualityKey, RawKey


class Published:
    """How far each version of the normalizer has published: a candidate by its own cursor on disk, all else by the primary's.

    A version that is neither any more has published what its successor goes on behind, or never will.
    """

    def __init__(self, journal: Journal, cursor: Cursor, version: str, candidate: Callable[[], str]) -> None:
        self._directory = journal.directory
        self._cursor = cursor
        self._version = version
        self._candidate = candidate

    def has_all(self, name: TallyName) -> bool:
        """Tell whether everything that came of a segment is published. Reads files."""
        is_candidate = name.version != self._version and name.version == self._candidate()
        own = Cursor(candidate_directory(self._directory, name.version)) if is_candidate else self._cursor
        position = own.position
        if position is None or position.segment != name.segment:
            return position is not None and position.segment > name.segment
        try:
            return position.offset >= whole_bytes(self._directory / name.segment)
        except FileNotFoundError:  # deleted meanwhile, which happens behind the primary's cursor
            return not is_candidate


class LedgerDesk:
    """Belongs to the sealer. A tally waits on disk until its segment is stored; filing it twice changes nothing.

    The key follows from the raw object's, and the bytes from its manifest and the tally: no crash can double a record.
    A record is filed when everything that came of the segment is published: whoever counts the archive relies on it.
    """

    def __init__(self, journal: Journal, published: Published, store: Store, feed: str) -> None:
        self._feed = feed
        self._journal = journal
        self._published = published
        self._tallies = Tallies(journal.directory)
        self._store = store
        self._log = get_logger(feed=feed, actor="sealer")

    def waiting(self) -> set[str]:
        """Return the segments that have a tally."""
        return {name.segment for name in self._tallies.names()}

    async def file(self, stored: Mapping[str, str], last_stored: str) -> None:
        """Store the record of each tally whose segment is stored. Raises StoreDown; what is left waits.

        stored: the raw keys by segment. last_stored: the last segment; an older one without key never gets a record.
        """
        for name in self._tallies.names():
            if not await self._journal.blocking(self._published.has_all, name):
                continue
            if name.segment in stored:
                await self._file(name, RawKey.parse(stored[name.segment]))
            elif name.segment > last_stored:
                continue
            else:
                self._log.warning("tally_without_object", segment=name.segment, version=name.version)
            await self._journal.blocking(self._tallies.remove, name)

    async def _file(self, name: TallyName, key: RawKey) -> None:
        try:
            record = quality.ledger_record(name.version, await self._manifest(key), self._read(name), quality.source())
        except BadRecord as error:
            self._log.error("minute_not_in_ledger", key=key.key, version=name.version, error=str(error))
            return
        await self._create(QualityKey.of(name.version, key), record)

    async def _create(self, key: QualityKey, record: quality.LedgerRecord) -> None:
        try:
            await self._store.create(key.key, quality.encode(record))
        except AlreadyStored as error:
            # What was said first stands: by another release perhaps, or this decoder lost its state since.
            self._log.warning("ledger_record_differs", key=key.key, error=str(error))

    def _read(self, name: TallyName) -> quality.Tally:
        return quality.decode_tally(self._tallies.load(name))

    async def _manifest(self, key: RawKey) -> Manifest:
        text = await self._store.read(key.manifest)
        if text is None:
            raise StoreDown(f"read {key.manifest}: stored before, but it cannot be read")
        try:
            return msgspec.json.decode(text, type=Manifest)
        except msgspec.MsgspecError as error:
            raise BadRecord(f"manifest {key.manifest} cannot be read: {error}") from error
