"""What the normalizer notes of each segment while it reads it, and hands over once it has passed it."""

from ssmd.codec import marketdata
from ssmd.errors import BadRecord
from ssmd.journal import Tallies, TallyName
from ssmd.model import type_of
from ssmd.protocols import quality
from ssmd.protocols.outcome import Decoded, Decoder
from ssmd.protocols.quality import MinuteFold
from ssmd.records import Record


class SegmentTally:
    """Begins with a segment's first record, also when a restarted normalizer reads that one again."""

    def __init__(self, tallies: Tallies, decoder: Decoder, version: str) -> None:
        self.segment = ""
        """The segment at hand; empty in front of the first one."""
        self.handed_over = ""
        """The last segment that was handed over."""
        self.fold = MinuteFold(decoder.counts)
        self._tallies = tallies
        self._decoder = decoder
        self._version = version

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
