"""Rebuild normalized data from raw: the same decoder, the same records, the same events."""

from ssmd.reprocess.archive import archived_events, raw_keys, raw_records
from ssmd.reprocess.normalize import normalize

__all__ = ["archived_events", "normalize", "raw_keys", "raw_records"]
