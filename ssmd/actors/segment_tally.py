"""What the normalizer notes of each segment while it reads it, and hands over once it has passed it."""

from ssmd.codec import marketdata
from ssmd.errors import BadRecord, ConfigError
from ssmd.journal import Tallies, TallyName
from ssmd.model import type_of
from ssmd.protocols import quality
from ssmd.protocols.decoder import VERSIONS, FeedDecoder
from ssmd.protocols.outcome import Decoded
from ssmd.protocols.quality import MinuteFold
from ssmd.records import Record


class SegmentTally:
    """Begins with a segment's first record, also when a restarted normalizer reads that one again."""

    def __init__(self, tallies: Tallies, decoder: FeedDecoder, version: str | None = None) -> None:
        """version: of the decoder; None where its class tells. Raises ConfigError where it does not."""
        self.segment = ""
        """The segment at hand; empty in front of the first one."""
        self.handed_over = ""
        """The last segment that was handed over."""
        self.fold = MinuteFold(decoder.counts)
        self._tallies = tallies
        self._decoder = decoder
        self._version = version or version_of(decoder)

    def begin(self, segment: str) -> None:
        """Take a segment from its first record on; the decoder stands in front of it."""
        self.segment = segment
        self.fold = MinuteFold(self._decoder.counts)

    def hand_over(self) -> None:
        """Save what came of the segment at hand, durably. Blocks; nothing may be decoded meanwhile. Raises DiskFull."""
        if self.segment and self.segment != self.handed_over:
            content = quality.encode(self.fold.tally(self._decoder.counts))
            self._tallies.save(TallyName(self.segment, self._version), content)
            self.handed_over = self.segment

    def repeat(self, record: Record, decoded: Decoded) -> None:
        """Take a record whose events were handed over before a restart: those that cannot be encoded count again."""
        self.fold.take(record.conn, record.seq)
        for event in decoded.events:
            try:
                marketdata.encode(event)
            except BadRecord:
                self.fold.reject_event(type_of(event))


def version_of(decoder: FeedDecoder) -> str:
    """Return the name of a decoder's version, which is that of its class. Raises ConfigError for an unnamed one."""
    for version, made in VERSIONS.items():
        if made is type(decoder):
            return version
    raise ConfigError(f"decoder is {type(decoder).__name__}; no normalizer version has that name")
