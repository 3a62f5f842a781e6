import os
import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ssmd.codec import blocks
from ssmd.errors import BadRecord

ROOM = 1 << 30


def lines(count: int) -> bytes:
    dice = random.Random(count)
    return b"".join(
        b'{"seq":%d,"price":%d.%02d}\n' % (i, dice.randrange(60000), dice.randrange(100)) for i in range(count)
    )


@given(st.binary(max_size=5000), st.integers(1, 5000))
def test_content_comes_back_and_the_cut_into_writes_does_not_show(data, size):
    whole = blocks.compress(data)
    cut = blocks.Compressor(len(data))
    for start in range(0, len(data), size):
        cut.write(data[start : start + size])
    assert cut.finish() == whole
    assert blocks.decompress(whole, ROOM) == data


def test_a_file_gives_the_same_bytes_as_its_content(tmp_path):
    data = lines(150_000)
    path = tmp_path / "segment"
    path.write_bytes(data)
    assert blocks.compress_file(path) == blocks.compress(data)


def test_the_header_states_the_size_and_the_frame_carries_a_checksum():
    parameters = zstandard.get_frame_parameters(blocks.compress(lines(1000)))
    assert parameters.content_size == len(lines(1000))
    assert parameters.has_checksum


def test_a_compressor_without_a_size_is_deterministic_too():
    def packed(size: int) -> bytes:
        compressor = blocks.Compressor()
        for start in range(0, len(data), size):
            compressor.write(data[start : start + size])
        return compressor.finish()

    data = lines(20_000)
    assert packed(1000) == packed(1 << 20)
    assert blocks.decompress(packed(1000), ROOM) == data


def test_a_writer_that_announced_another_size_is_told():
    with pytest.raises(ValueError, match="announced"):
        blocks.Compressor(3).write(b"abcd")
    short = blocks.Compressor(3)
    short.write(b"ab")
    with pytest.raises(ValueError, match="announced"):
        short.finish()


def test_a_cut_off_frame_gives_what_is_there_and_then_the_error():
    data = lines(40_000)
    packed = blocks.compress(data)
    for cut in (0, 3, len(packed) // 3, len(packed) // 2, len(packed) - 1):
        there = []
        with pytest.raises(BadRecord, match="cut off"):
            there.extend(blocks.iter_decompress(packed[:cut], ROOM))
        assert data.startswith(b"".join(there))
    assert b"".join(there) == data


def test_damage_is_a_bad_record():
    packed = bytearray(blocks.compress(lines(10_000)))
    packed[len(packed) // 2] ^= 1
    with pytest.raises(BadRecord):
        blocks.decompress(bytes(packed), ROOM)
    with pytest.raises(BadRecord):
        blocks.decompress(b"this is not zstd", ROOM)


def test_anything_behind_the_frame_is_a_bad_record():
    packed = blocks.compress(b"abc")
    for rest in (b"x", b"x" * 2000, packed):
        with pytest.raises(BadRecord, match="after the end"):
            blocks.decompress(packed + rest, ROOM)


@pytest.mark.parametrize("states_size", [True, False])
def test_s11_a_bomb_is_stopped_by_counting_before_it_takes_memory(states_size):
    blown_up = 1 << 28
    stream = zstandard.ZstdCompressor(level=3).compressobj(size=blown_up if states_size else -1)
    bomb = b"".join(stream.compress(bytes(1 << 22)) for _ in range(64)) + stream.flush()
    assert len(bomb) < 40_000
    pieces = blocks.iter_decompress(bomb, ROOM)
    taken: list[int] = []
    with pytest.raises(BadRecord, match="allowed"):
        taken.extend(len(piece) for piece in pieces)
    assert sum(taken) <= 1000 * len(bomb)
    with pytest.raises(BadRecord, match="allowed"):
        blocks.decompress(bomb, 1 << 20, max_ratio=1 << 30)


def test_s11_a_window_above_the_limit_is_refused():
    wide = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    packed = stream.compress(os.urandom(1 << 20)) + stream.flush()
    with pytest.raises(BadRecord, match="memory"):
        blocks.decompress(packed, ROOM)


def test_more_output_than_allowed_is_refused_and_exactly_as_much_is_not():
    data = lines(1000)
    packed = blocks.compress(data)
    assert blocks.decompress(packed, len(data)) == data
    with pytest.raises(BadRecord, match="allowed"):
        blocks.decompress(packed, len(data) - 1)


@given(st.binary(max_size=2000))
def test_garbage_is_never_anything_but_a_bad_record(data):
    with pytest.raises(BadRecord):
        blocks.decompress(data, ROOM)
