"""zstd for objects: the same bytes for the same content, and no more memory than allowed for foreign bytes."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import zstandard

from ssmd.errors import BadRecord

LEVEL: Final = 3
"""Part of every object's content: another level gives other bytes for the same minute."""

CHUNK_BYTES: Final = 1 << 20

MAX_RATIO: Final = 1000
MAX_WINDOW_BYTES: Final = 8 << 20
HARMLESS_BYTES: Final = 1 << 20
"""So much output is always allowed: a few hundred equal bytes already exceed any ratio."""

SLICE_BYTES: Final = 512
"""Input given to zstd at once. Four bytes of input can become 128 KiB, so a slice becomes 16 MiB at most."""


class Compressor:
    """Compresses what is written to it; holds the compressed bytes only.

    Equal content and an equal `size_bytes` give equal bytes, however it was cut into writes. `size_bytes` goes into
    the header; a writer that knows its size says it, and then must write exactly that much (ValueError otherwise).
    """

    def __init__(self, size_bytes: int | None = None, level: int = LEVEL) -> None:
        self._size_bytes = size_bytes
        self._written_bytes = 0
        self._stream = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True).compressobj(
            size=-1 if size_bytes is None else size_bytes
        )
        self._done = BytesIO()

    def write(self, data: bytes) -> None:
        self._written_bytes += len(data)
        if self._size_bytes is not None and self._written_bytes > self._size_bytes:
            raise ValueError(f"{self._written_bytes} bytes written, {self._size_bytes} were announced")
        for start in range(0, len(data), CHUNK_BYTES):
            self._done.write(self._stream.compress(memoryview(data)[start : start + CHUNK_BYTES]))

    def finish(self) -> bytes:
        """Return everything compressed; nothing can be written after that."""
        if self._size_bytes is not None and self._written_bytes != self._size_bytes:
            raise ValueError(f"{self._written_bytes} bytes written, {self._size_bytes} were announced")
        self._done.write(self._stream.flush())
        return self._done.getvalue()


def compress(data: bytes, level: int = LEVEL) -> bytes:
    """Return one zstd frame with checksum and content size."""
    compressor = Compressor(len(data), level)
    compressor.write(data)
    return compressor.finish()


def compress_file(path: Path, level: int = LEVEL) -> bytes:
    """Return the same bytes as `compress` of the file's content, without holding that content."""
    compressor = Compressor(path.stat().st_size, level)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            compressor.write(chunk)
    return compressor.finish()


def decompress(
    data: bytes, max_output_bytes: int, max_ratio: int = MAX_RATIO, max_window_bytes: int = MAX_WINDOW_BYTES
) -> bytes:
    """Return the content of one whole frame; BadRecord if it is cut off, damaged or larger than allowed."""
    return b"".join(iter_decompress(data, max_output_bytes, max_ratio, max_window_bytes))


def iter_decompress(
    data: bytes, max_output_bytes: int, max_ratio: int = MAX_RATIO, max_window_bytes: int = MAX_WINDOW_BYTES
) -> Iterator[bytes]:
    """Yield the content piece by piece; everything there is of a frame cut off, then BadRecord.

    Output is counted here: zstd's own limit is ignored for a frame that states its size.
    """
    allowed_bytes = min(max_output_bytes, max(HARMLESS_BYTES, max_ratio * len(data)))
    stream = zstandard.ZstdDecompressor(max_window_size=max_window_bytes).decompressobj()
    output_bytes = 0
    for start in range(0, len(data), SLICE_BYTES):
        if stream.eof:
            raise BadRecord(f"data after the end of the zstd frame, at {start} of {len(data)} bytes")
        piece = _decompress_slice(stream, data[start : start + SLICE_BYTES])
        output_bytes += len(piece)
        if output_bytes > allowed_bytes:
            raise BadRecord(f"{len(data)} bytes decompress to more than {allowed_bytes}, which is allowed")
        if piece:
            yield piece
    if not stream.eof:
        raise BadRecord(f"zstd frame is cut off after {len(data)} bytes, {output_bytes} decompressed")
    if stream.unused_data:
        raise BadRecord(f"{len(stream.unused_data)} bytes or more after the end of the zstd frame")


def _decompress_slice(stream: "zstandard.ZstdDecompressionObj", data: bytes) -> bytes:
    try:
        return stream.decompress(data)
    except zstandard.ZstdError as error:
        raise BadRecord(f"not a zstd frame: {error}") from error
