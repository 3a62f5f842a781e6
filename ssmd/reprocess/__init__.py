"""Rebuild normalized data from raw: the same decoder, the same records, the same events."""

from ssmd.reprocess.normalize import normalize

__all__ = ["normalize"]
