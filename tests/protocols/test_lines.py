"""Frames read at once with their lines give what their texts give: of every exchange, damaged ones too."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ssmd.codec import raw
from ssmd.protocols.decoder import FeedDecoder
from ssmd.records import Configured, Connected, FeedConfig, FrameLine, SymbolSpec
from tests.protocols.counted import COUNTED
from tests.protocols.recorded import BTC_ETH, START_NS, lines
from tests.protocols.specimen import KRAKEN, Specimen

every_exchange = pytest.mark.parametrize("specimen", [KRAKEN, COUNTED], ids=lambda specimen: specimen.exchange.name)


def raw_lines(specimen: Specimen, frames: list[str]) -> list[bytes]:
    specs = tuple(SymbolSpec(name, name.upper().replace("/", ""), "l2") for name in specimen.names)
    notes = [Connected("ws://x"), Configured(FeedConfig(specs, book_interval_ms=0))]
    made = [raw.encode_note(START_NS, "c-0-1", seq, note) for seq, note in enumerate(notes)]
    made += [raw.encode_frame(START_NS + seq, "c-0-1", seq, frame) for seq, frame in enumerate(frames, len(made))]
    return [line[:-1] for line in made]


def both(specimen: Specimen, content: list[bytes]):
    """Return what comes of lines read alone and with their frames, and how many were read with their frames."""
    alone, together = (FeedDecoder(specimen.exchange.name, specimen.exchange) for _ in range(2))
    by_text = [alone.feed(raw.read_line(line)) for line in content]
    at_once, count = [], 0
    for line, found in zip(content, raw.LineReader(together.frame_type).read(content), strict=True):
        decoded = together.feed_line(found) if isinstance(found, FrameLine) else together.feed(found)
        count += decoded is not None and isinstance(found, FrameLine)
        at_once.append(together.feed(raw.read_line(line)) if decoded is None else decoded)
    assert at_once == by_text
    assert together.state() == alone.state()
    return by_text, count


def test_a_recording_is_nearly_all_read_at_once(shared_data):
    specimen, frames = KRAKEN, lines(shared_data / BTC_ETH)
    decoded, count = both(specimen, raw_lines(specimen, frames))
    assert sum(len(each.events) for each in decoded) > 2900
    assert count == sum('"channel":"book"' in frame or '"channel":"trade"' in frame for frame in frames) - 4  # acks


@every_exchange
@given(data=st.data())
def test_damage_anywhere_in_a_line_is_told_alike(specimen, data):
    """Mutants: skip the check that the frame ends the line, or that all is ASCII; change something before None."""
    content = raw_lines(specimen, [*specimen.session, *specimen.session])
    for _ in range(3):
        at = data.draw(st.integers(0, len(content) - 1))
        place = data.draw(st.integers(0, len(content[at])))
        length = data.draw(st.integers(0, 3))
        spoilt = content[at][:place] + data.draw(odd) + content[at][place + length :]
        content[at] = spoilt.replace(b"\n", b"")
    both(specimen, content)


odd = st.binary(max_size=3) | st.sampled_from(
    [b'"', b"}", b"{", b",", b"\\", b"-", b"e5", b"0", b"\xff", b"\xc3\xa9", b"\x01", b"\t", b" ", b'},"x":{', b"NaN"]
)  # fmt: skip


@every_exchange
@given(st.sampled_from(["recv_ns", "conn", "seq", "more"]), st.sampled_from(["1", '"c-0-1"', "-1", "{}", '"a.b"']))
@example("more", "{}")
@example("conn", '"nobody"')
@example("seq", "18446744073709551616")
def test_members_behind_or_beside_the_frame_are_told_alike(specimen, name, value):
    content = raw_lines(specimen, list(specimen.session))
    behind = [line[:-1] + f',"{name}":{value}}}'.encode() for line in content[2:]]
    before = [f'{{"{name}":{value},'.encode() + line[1:] for line in content[2:]]
    both(specimen, [*content, *behind, *before, *content])
