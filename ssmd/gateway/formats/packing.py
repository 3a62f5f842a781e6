"""Compression of an answer, piece by piece."""

import zlib
from typing import Protocol

import zstandard

from ssmd.gateway.query import Compression

GZIP_WINDOW = 31
"""zlib's number for a gzip header."""


class Packer(Protocol):
    def pack(self, data: bytes) -> bytes:
        """Return what there is so far, flushed: a reader at the other end gets every row that was written."""
        ...

    def finish(self) -> bytes: ...


class Plain:
    def pack(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class Gzip:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(level=3, wbits=GZIP_WINDOW)

    def pack(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH) if data else b""

    def finish(self) -> bytes:
        return self._stream.flush()


class Zstd:
    def __init__(self) -> None:
        self._stream = zstandard.ZstdCompressor(level=3).compressobj()

    def pack(self, data: bytes) -> bytes:
        if not data:
            return b""
        return self._stream.compress(data) + self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._stream.flush()


def packer(compression: Compression) -> Packer:
    match compression:
        case "gzip":
            return Gzip()
        case "zstd":
            return Zstd()
        case _:
            return Plain()
