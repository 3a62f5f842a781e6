"""Frames as RFC 6455 says, checked against wsproto's own reader and writer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from ssmd.gateway.live.frames import Closed, FrameReader, Text, close_frame, ping_frame, pong_frame, text_frame
from ssmd.gateway.live.frames import Ping as PingFrame
from ssmd.gateway.live.frames import Pong as PongFrame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_text_frame_of_any_size_is_read_by_a_client_as_it_was(size: int):
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(text_frame(b"x" * size) + text_frame(b"next"))
    texts, text = [], ""
    for event in client.events():
        assert isinstance(event, TextMessage)
        text += event.data
        if event.message_finished:
            texts.append(text)
            text = ""
    assert texts == ["x" * size, "next"]


def test_a_client_reads_pings_pongs_and_closes():
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(ping_frame() + pong_frame(b"abc") + close_frame(4403, "revoked " * 100))
    ping, pong, close = client.events()
    assert isinstance(ping, Ping)
    assert isinstance(pong, Pong)
    assert pong.payload == b"abc"
    assert isinstance(close, CloseConnection)
    assert (close.code, len(close.reason)) == (4403, 123)


@given(st.lists(st.text(max_size=50), max_size=5), st.integers(1, 40), st.integers(1, 7))
def test_messages_come_out_whole_however_they_were_cut(texts: list[str], step: int, fragment: int):
    client, reader = Connection(ConnectionType.CLIENT), FrameReader(10_000)
    data = b""
    for text in texts:
        pieces = [text[at : at + fragment] for at in range(0, len(text), fragment)] or [""]
        for at, piece in enumerate(pieces, 1):
            data += client.send(TextMessage(piece, message_finished=at == len(pieces)))
        data += client.send(Ping(b"p")) + client.send(Pong())
    got = [event for at in range(0, len(data), step) for event in reader.feed(data[at : at + step])]
    assert [event.data for event in got if isinstance(event, Text)] == texts
    assert [event for event in got if not isinstance(event, Text)] == [PingFrame(b"p"), PongFrame()] * len(texts)


def test_the_limit_counts_bytes_over_all_frames_of_a_message():
    client, reader = Connection(ConnectionType.CLIENT), FrameReader(10)
    assert list(reader.feed(client.send(TextMessage("äöü", message_finished=False)))) == []
    assert list(reader.feed(client.send(TextMessage("äö", message_finished=True)))) == [Text("äöüäö")]
    list(reader.feed(client.send(TextMessage("äöü", message_finished=False))))
    (end,) = reader.feed(client.send(TextMessage("äöü", message_finished=False)))
    assert (end.code, end.is_fault) == (1009, True)


def test_a_close_is_answered_with_its_own_code():
    client, reader = Connection(ConnectionType.CLIENT), FrameReader(10)
    assert list(reader.feed(client.send(CloseConnection(1001, "bye")))) == [Closed(1001)]


@pytest.mark.parametrize("code", [1002, 1007, 1009])
def test_a_client_that_closes_for_a_fault_of_ours_says_goodbye_all_the_same(code: int):
    client, reader = Connection(ConnectionType.CLIENT), FrameReader(10)
    assert list(reader.feed(client.send(CloseConnection(code, "what was that")))) == [Closed(code)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x01x", 1002),  # not masked
        (b"\xc1\x80\0\0\0\0", 1002),  # compressed
        (b"\x80\x80\0\0\0\0", 1002),  # goes on with nothing
        (b"\x83\x80\0\0\0\0", 1002),  # of no kind that there is
        (b"\x09\x80\0\0\0\0", 1002),  # a ping in parts
        (b"\x88\x81\0\0\0\0x", 1002),  # half a code
        (b"\x81\x81\0\0\0\0\xff", 1007),  # no text
        (b"\x82\x81\0\0\0\0x", 4400),  # binary
    ],
)
def test_what_is_no_websocket_is_a_fault_with_its_code(data: bytes, code: int):
    (end,) = FrameReader(10).feed(data)
    assert (end.code, end.is_fault) == (code, True)
