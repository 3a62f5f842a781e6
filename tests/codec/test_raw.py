import json
import sys

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ssmd.codec import raw
from ssmd.errors import BadRecord
from ssmd.records import (
    Configured,
    Connected,
    Disconnected,
    FeedConfig,
    Live,
    Lost,
    Predecessor,
    Record,
    Refused,
    Resync,
    SymbolSpec,
)

AT = (1765029600123456789, "0abcdef1", 7)

NOTES = [
    Connected("wss://ws.kraken.com/v2"),
    Connected("wss://x", Predecessor("old", 12, 34)),
    Configured(FeedConfig((SymbolSpec("BTC/USD", "BTCUSD", "l2"),), revision=3)),
    Live(("BTCUSD", "ETHUSD")),
    Refused("BTCUSD", "book", 'a "quoted" reason\nwith a line'),
    Resync("BTCUSD", "checksum", 5),
    Disconnected("idle", "nothing for 5 s", 9),
    Lost("crash", 17),
]

any_text = st.text(st.characters())  # hypothesis' text() leaves lone surrogates out
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def joined(text: str) -> str:
    """Two surrogates that make a pair are one character in JSON."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@given(any_text)
@example("")
@example("{}\n")
@example('{"a":\r1}')
@example("\x00")
@example('"\u2028\u2029\x85"')
@example("NaN")
@example("[NaN, Infinity]")
@example('{"a":1,"a":2}')
@example("9" * 5000)
@example('"\ud800"')
@example('"\\ud800"')
@example('{"frame":{}},"frame":{}')
@example("[" * 100_000 + "]" * 100_000)
@example("\ufeff{}")
@example(' {"a": 1}\t')
@example('{"type":"x","event":"connected"}')
def test_any_text_comes_back_unchanged_from_one_line(text):
    line = raw.encode_frame(*AT, text)
    record = raw.decode_line(line)
    kept = record.text if record.frame is None else record.frame
    assert kept == joined(text)
    assert (record.recv_ns, record.conn, record.seq) == AT
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert b"\r" not in line
    assert list(raw.note_lines(line)) == []


@given(json_values, st.sampled_from([None, 0]), st.sampled_from(["", " ", "\t "]))
def test_one_line_of_json_is_a_frame_byte_for_byte(value, indent, blank):
    text = blank + json.dumps(value, ensure_ascii=False, separators=(" ,", ": ")) + blank
    line = raw.encode_frame(*AT, text)
    assert line == b'{"recv_ns":%d,"conn":"%s","seq":%d,"frame":%s}\n' % (AT[0], b"0abcdef1", 7, text.encode())
    assert raw.decode_line(line) == Record(*AT, frame=text)
    assert json.loads(line)["frame"] == value


@given(st.binary())
@example(b"\xff\xfe")
@example(b'{"a":1}')
def test_binary_messages_are_text_where_they_are_utf_8_and_base64_elsewhere(data):
    record = raw.decode_line(raw.encode_bytes(*AT, data))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        assert record == Record(*AT, data=data)
    else:
        assert (record.frame if record.text is None else record.text) == text


@given(any_text | st.binary())
def test_the_record_of_a_received_message_equals_what_its_line_gives(received):
    record, line = raw.frame_record(*AT, received)
    assert raw.decode_line(line) == record


@pytest.mark.parametrize("note", NOTES, ids=lambda note: type(note).__name__)
def test_every_note_comes_back_and_names_its_event_first(note):
    line = raw.encode_note(*AT, note)
    assert line.startswith(b'{"recv_ns":1765029600123456789,"conn":"0abcdef1","seq":7,"event":"')
    assert raw.decode_line(line) == Record(*AT, note=note)
    assert json.loads(line)["event"] == type(note).__struct_config__.tag


def test_lines_of_a_real_recording_are_cut_out_exactly(shared_data):
    frames = (shared_data / "kraken/ws_v2/btc_eth_book10_trade_20260707.jsonl").read_text().splitlines()
    chunk = b"".join(raw.encode_frame(1000 + seq, "c1", seq, frame) for seq, frame in enumerate(frames))
    assert [record.frame for record in raw.decode_lines(chunk)] == frames


def test_memoryviews_and_lines_without_newline_are_read_too():
    line = raw.encode_frame(*AT, '{"a":1}')
    assert raw.decode_line(memoryview(line)) == raw.decode_line(line[:-1]) == Record(*AT, frame='{"a":1}')


def test_a_line_cut_anywhere_is_a_bad_record():
    for line in (
        raw.encode_frame(*AT, '{"a":{"b":1}}'),
        raw.encode_frame(*AT, "no json"),
        raw.encode_note(*AT, NOTES[1]),
    ):
        for length in range(len(line) - 1):
            with pytest.raises(BadRecord):
                raw.decode_line(line[:length])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"{}",
        b"null",
        b'{"recv_ns":1,"conn":"a","seq":0}',
        b'{"recv_ns":-1,"conn":"a","seq":0,"frame":{}}',
        b'{"recv_ns":1,"conn":"","seq":0,"frame":{}}',
        b'{"recv_ns":1,"conn":"a/b","seq":0,"frame":{}}',
        b'{"recv_ns":1,"conn":"a","seq":0,"frame":{},"x":1}',
        b'{"recv_ns":1,"conn":"a","seq":0,"frame":{"a":"\xff"}}',
        b'{"recv_ns":1,"conn":"a","seq":0,"frame":' + b"[" * 100_000 + b"\xff}",
        b'{"recv_ns":1,"conn":"a","seq":0,"text":5}',
        b'{"recv_ns":1,"conn":"a","seq":0,"text":"\\x"}',
        b'{"recv_ns":1,"conn":"a","seq":0,"text":' + b"[" * 100_000 + b"}",
        b'{"recv_ns":1,"conn":"a","seq":0,"base64":"%"}',
        b'{"recv_ns":1,"conn":"a","seq":0,"event":"unheard of"}',
        b'{"recv_ns":1,"conn":"a","seq":0,"event":"live"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_raw_line_is_a_bad_record(line):
    with pytest.raises(BadRecord):
        raw.decode_line(line)


@given(st.binary())
def test_garbage_is_never_anything_but_a_bad_record(data):
    with pytest.raises(BadRecord):
        raw.decode_line(data)


def test_a_bad_line_between_good_ones_costs_only_itself():
    good = raw.encode_frame(*AT, "{}")
    found = list(raw.decode_lines(good + b"garbage\n" + good + good[:20]))
    assert [type(item) for item in found] == [Record, BadRecord, Record, BadRecord]


def test_a_frame_written_near_the_depth_limit_is_read_deeper_in_the_stack():
    depth = sys.getrecursionlimit() - 200
    line = raw.encode_frame(*AT, "[" * depth + "]" * depth)

    def deeper(levels: int) -> Record:
        return deeper(levels - 1) if levels else raw.decode_line(line)

    assert deeper(150).frame == "[" * depth + "]" * depth


def test_only_the_lines_of_notes_are_found_in_a_block():
    notes = [raw.encode_note(1, "c1", seq, note) for seq, note in enumerate(NOTES)]
    tricky = [
        raw.encode_frame(1, "c1", 90, '{"seq":1,"event":"connected"}'),
        raw.encode_frame(1, "c1", 91, '{"recv_ns":1,"conn":"c1","seq":0,"event":"connected","url":"x"}'),
        raw.encode_frame(1, "c1", 92, '{"recv_ns":1,"conn":"c1","seq":0,"event":"connected","url":"x"}\n'),
        raw.encode_frame(1, "c1", 93, "{}"),
    ]
    block = b"".join(line for note in notes for line in (*tricky, note, note))
    assert list(raw.note_lines(block)) == [line for note in notes for line in (note, note)]
    assert list(raw.note_lines(notes[0][:-1])) == [notes[0][:-1]]


def test_a_connection_name_that_could_break_the_line_is_refused():
    for conn in ('a"b', "", "a" * 33, "a\n"):
        with pytest.raises(ValueError, match="token"):
            raw.encode_frame(1, conn, 0, "{}")


def test_our_lines_are_json_to_everybody():
    for text in ('{"a": [1, 2.50]}', "plain", "\ud800", ""):
        line = raw.encode_frame(*AT, text)
        assert set(json.loads(line)) == {"recv_ns", "conn", "seq", "frame" if text.startswith("{") else "text"}
        if "\ud800" not in text:
            assert msgspec.json.decode(line)["seq"] == 7
