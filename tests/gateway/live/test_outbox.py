"""What waits for a slow client: bounded, trades whole, quotes and books give way and are counted."""

import json
import os
import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial
from random import Random

import pytest
import trio
from msgspec import Struct
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import TextMessage

from ssmd.gateway.access import Series
from ssmd.gateway.live.events import Chunk
from ssmd.gateway.live.frames import text_frame
from ssmd.gateway.live.outbox import PIECE_BYTES, SEND_WITHIN_S, Outbox, TooSlow

BTC_TRADE, BTC_QUOTE, ETH_BOOK = (
    Series("kraken", "trade", "BTCUSD"), Series("kraken", "quote", "BTCUSD"), Series("kraken", "book", "ETHUSD"),
)  # fmt: skip


class Made(Struct, frozen=True):
    series: Series
    pos: int
    frame: bytes


def made(pos: int, series: Series, size: int = 100) -> Made:
    body = json.dumps({"type": series.type, "pos": pos, "pad": "x" * size})
    return Made(series, pos, text_frame(body.encode()))


def chunk(*events: Made) -> Chunk:
    return Chunk(events)


def decoded(data: bytes) -> list[dict]:
    reader = Connection(ConnectionType.CLIENT)
    reader.receive_data(data)
    texts, text = [], ""
    for event in reader.events():
        assert isinstance(event, TextMessage), event
        text += event.data
        if event.message_finished:
            texts.append(json.loads(text))
            text = ""
    assert not text
    return texts


class Pipe:
    """An outbox on a real socket with small buffers, and its other end."""

    def __init__(self, **options: object) -> None:
        near, self.far = socket.socketpair()
        for end in (near, self.far):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
        self.outbox = Outbox(self.stream, **options)
        self.delivered: list[int] = []
        self.outbox.delivered = lambda one: self.delivered.extend(event.pos for event in one.events)
        self.data = b""

    def read(self, size: int = 1 << 20) -> None:
        try:
            self.data += self.far.recv(size)
        except BlockingIOError:
            return

    async def read_all(self) -> list[dict]:
        """Read as long as something comes."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.outbox.run)
            while self.outbox.waiting_bytes:
                self.read()
                await trio.lowlevel.checkpoint()
            self.read()
            nursery.cancel_scope.cancel()
        return decoded(self.data)

    def close(self) -> None:
        self.far.close()
        self.stream.socket.close()


@pytest.fixture
async def pipe() -> AsyncIterator[Pipe]:
    made_one = Pipe(max_waiting_bytes=40_000)
    yield made_one
    made_one.close()


async def test_a_client_that_keeps_up_gets_everything_without_any_task_running(pipe: Pipe):
    for pos in range(100):
        pipe.outbox.put(chunk(made(pos, BTC_TRADE)))
        pipe.read()
    assert [one["pos"] for one in decoded(pipe.data)] == pipe.delivered == list(range(100))
    assert pipe.outbox.waiting_bytes == 0


async def test_a_slow_client_misses_quotes_and_books_but_never_trades_and_is_told(pipe: Pipe, seed: int):
    random = Random(seed)
    series = [random.choice((BTC_TRADE, BTC_QUOTE, BTC_QUOTE, ETH_BOOK, ETH_BOOK)) for _ in range(3_000)]
    everything = [made(pos, each, random.randrange(200)) for pos, each in enumerate(series, 1)]
    peak = 0
    async with trio.open_nursery() as nursery:
        pipe.outbox.begin_writing = partial(nursery.start_soon, pipe.outbox.run)
        for event in everything:
            pipe.outbox.put(chunk(event))
            peak = max(peak, pipe.outbox.waiting_bytes)
            if random.random() < 0.05:
                pipe.read(1_500)
                await trio.testing.wait_all_tasks_blocked()
        while pipe.outbox.waiting_bytes:
            pipe.read()
            await trio.lowlevel.checkpoint()
        pipe.read()
        nursery.cancel_scope.cancel()
    got = decoded(pipe.data)
    check_honest(got, everything)
    assert pipe.outbox.dropped > 100
    assert 40_000 < peak < 45_000
    assert pipe.delivered == [one["pos"] for one in got if one["type"] != "lag"]


def check_honest(got: Sequence[dict], everything: Sequence[Made]) -> None:
    """All trades are there; what is missing lies within a lag, and each lag tells how many of it are missing."""
    events = [one["pos"] for one in got if one["type"] != "lag"]
    lags = [one for one in got if one["type"] == "lag"]
    assert events == sorted(set(events))
    missing = [event for event in everything if event.pos not in set(events)]
    assert all(event.series is not BTC_TRADE for event in missing)
    assert all(any(lag["after_pos"] < event.pos < lag["next_pos"] for lag in lags) for event in missing)
    assert sum(lag["dropped"] for lag in lags) == len(missing)
    newest = {event.series: event.pos for event in everything}
    assert set(newest.values()) <= set(events)


def put_many(pipe: Pipe, series: Series) -> None:
    for pos in range(1_000):
        pipe.outbox.put(chunk(made(pos, series)))


async def test_trades_that_do_not_fit_end_the_session_instead_of_being_dropped(pipe: Pipe):
    with pytest.raises(TooSlow):
        put_many(pipe, BTC_TRADE)
    assert pipe.outbox.waiting_bytes < 45_000


async def test_with_slow_close_nothing_at_all_is_left_out():
    pipe = Pipe(slow="close", max_waiting_bytes=40_000)
    with pytest.raises(TooSlow):
        put_many(pipe, BTC_QUOTE)
    pipe.close()


async def test_a_socket_that_takes_nothing_is_given_up_after_its_deadline(autojump_clock):
    near, _far = trio.testing.memory_stream_pair()
    near.send_stream.send_all_hook = trio.sleep_forever
    outbox = Outbox(near)
    outbox.put(chunk(made(1, BTC_TRADE)))
    with pytest.raises(TooSlow):
        await outbox.run()
    assert trio.current_time() == pytest.approx(SEND_WITHIN_S)


@pytest.mark.parametrize("read_bytes", [0, 777, 3_000])
async def test_what_is_taken_back_never_cuts_a_frame(pipe: Pipe, read_bytes: int):
    pipe.outbox.put(chunk(*(made(pos, (BTC_TRADE, ETH_BOOK)[pos % 2]) for pos in range(300))))
    pipe.read(read_bytes)
    begun = len(pipe.data) + 4_096 * 4  # what the kernel may hold
    pipe.outbox.retain(lambda series: series is not ETH_BOOK)
    got = await pipe.read_all()
    books = [one["pos"] for one in got if one["type"] == "book"]
    assert [one["pos"] for one in got if one["type"] == "trade"] == list(range(0, 300, 2))
    assert books == list(range(1, 2 * len(books), 2))
    assert len(books) * 130 < begun


async def test_what_waits_while_a_piece_is_being_written_can_be_taken_back_as_well():
    near, far = trio.testing.memory_stream_pair()
    outbox = Outbox(near)
    outbox.put(chunk(*(made(pos, (BTC_TRADE, ETH_BOOK)[pos % 2], 1_000) for pos in range(300))))

    pump = near.send_stream.send_all_hook

    async def take_back() -> None:
        outbox.retain(lambda series: series is not ETH_BOOK)
        near.send_stream.send_all_hook = pump
        await pump()

    near.send_stream.send_all_hook = take_back
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.run)
        await outbox.flush()
        nursery.cancel_scope.cancel()
    got = decoded(bytes(await far.receive_some(1 << 24)))
    assert [one["pos"] for one in got if one["type"] == "trade"] == list(range(0, 300, 2))
    assert 0 < sum(one["type"] == "book" for one in got) <= PIECE_BYTES / 2_000 + 1


async def test_a_piece_that_arrives_after_all_was_abandoned_does_no_harm(autojump_clock):
    near, _far = trio.testing.memory_stream_pair()
    outbox = Outbox(near)
    outbox.put(chunk(made(1, BTC_TRADE)))

    async def abandon() -> None:
        outbox.abandon()

    near.send_stream.send_all_hook = abandon
    with trio.move_on_after(1):
        await outbox.run()
    assert outbox.waiting_bytes == 0


async def test_where_every_chunk_waits_one_writer_serves_them_all(autojump_clock):
    near, far = trio.testing.memory_stream_pair()
    outbox, begun = Outbox(near), []
    async with trio.open_nursery() as nursery:
        outbox.begin_writing = lambda: begun.append(nursery.start_soon(outbox.run))
        for pos in range(20):
            outbox.put(chunk(made(pos, BTC_TRADE)))
            await trio.testing.wait_all_tasks_blocked()
        assert [one["pos"] for one in decoded(bytes(await far.receive_some()))] == list(range(20))
        nursery.cancel_scope.cancel()
    assert len(begun) == 1


async def test_each_time_that_something_begins_to_wait_one_writer_is_asked_for(pipe: Pipe):
    asked: list[int] = []
    pipe.outbox.begin_writing = lambda: asked.append(pipe.outbox.waiting_bytes)
    for _ in range(2):
        for pos in range(200):
            pipe.outbox.put(chunk(made(pos, BTC_TRADE)))
        await pipe.read_all()
    assert len(asked) == 2


async def test_frames_that_the_socket_has_whole_are_counted_when_the_session_is_cut(pipe: Pipe):
    pipe.outbox.put(chunk(*(made(pos, BTC_TRADE) for pos in range(300))))
    taken = len(chunk(*(made(pos, BTC_TRADE) for pos in range(300))).data) - pipe.outbox.waiting_bytes
    assert taken > 0
    pipe.outbox.abandon()
    frame_bytes = len(made(10, BTC_TRADE).frame)
    assert abs(len(pipe.delivered) - taken // frame_bytes) <= 1
    assert len(b"".join(made(pos, BTC_TRADE).frame for pos in pipe.delivered)) <= taken


async def test_a_closed_sockets_number_is_never_written_to(pipe: Pipe, tmp_path):
    number = pipe.stream.socket.fileno()
    pipe.stream.socket.close()
    other = os.open(tmp_path / "other", os.O_CREAT | os.O_RDWR)
    try:
        assert other == number
        with pytest.raises(trio.BrokenResourceError):
            pipe.outbox.put(chunk(made(1, BTC_TRADE)))
        assert os.fstat(other).st_size == 0
    finally:
        os.close(other)
