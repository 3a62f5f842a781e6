import gzip
import math

import pytest
import trio

from ssmd.errors import ConfigError
from ssmd.simulator import SimulatorConfig, serve
from ssmd.simulator.ledger import Ledger
from ssmd.simulator.replay import Recording, play
from ssmd.simulator.session import Session
from tests.simulator.peer import connected, on, simulated

RECORDINGS = [
    "btc_eth_book10_trade_20260707.jsonl",
    "btc_book10_20230730_zeros_restored.jsonl",
    "derived_from_v1_ten_pairs_20210417.jsonl.gz",
]
STATUS = '{"channel":"status","type":"update","data":[{"system":"online","connection_id":5}]}'
FRAMES = [
    STATUS,
    '{"method":"subscribe","success":true,"time_in":"2026-01-01T00:00:00.000000Z","time_out":"x"}',
    '{"channel":"heartbeat"}',
    '{"channel":"book","data":[{"timestamp":"2026-01-01T00:00:10.500000Z","qty":0.10}]}',
    '{"channel":"book","data":[{"timestamp":"2026-01-01T00:00:09.000000Z"}]}',
    '{"channel":"book","data":[{"timestamp":"2026-01-01T00:00:20.000000123Z"}]}',
]


def lines_of(path):
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return file.read().decode().splitlines()


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "recording.jsonl"
    path.write_text("".join(f"{frame}\n" for frame in FRAMES))
    return path


async def ask_for_data(peer):
    await peer.ask("subscribe", channel="book", symbol=["BTC/USD"])


@pytest.mark.parametrize("name", RECORDINGS)
async def test_a_recording_arrives_byte_for_byte_and_in_order(name, shared_data):
    path = shared_data / "kraken" / "ws_v2" / name
    recorded = lines_of(path)
    starts_with_status = '"status"' in recorded[0]
    async with (
        simulated(replay=(path,), speed=math.inf, heartbeat_interval_s=0.1) as endpoints,
        connected(endpoints, greeted=starts_with_status) as peer,
    ):
        await ask_for_data(peer)
        for _ in recorded[starts_with_status:]:
            await peer.text()
        assert peer.texts == recorded
        assert on("heartbeat")(await peer.frame())


async def test_files_follow_each_other(recording, tmp_path):
    packed = tmp_path / "more.jsonl.gz"
    packed.write_bytes(gzip.compress(b"\n".join(frame.encode() for frame in FRAMES[1:])))
    async with simulated(replay=(recording, packed), speed=math.inf) as endpoints, connected(endpoints) as peer:
        await ask_for_data(peer)
        while len(peer.texts) < 2 * len(FRAMES) - 1:
            await peer.text()
        assert peer.texts == FRAMES + FRAMES[1:]


async def test_nothing_is_interleaved_and_nothing_answered_while_it_plays(recording):
    async with (
        simulated(replay=(recording,), speed=40, heartbeat_interval_s=0.02) as endpoints,
        connected(endpoints) as peer,
    ):
        await trio.sleep(0.1)
        await ask_for_data(peer)
        await peer.ask("ping")
        while len(peer.texts) < len(FRAMES):
            await peer.text()
        assert peer.texts == FRAMES
        await peer.ask("ping")
        assert on("heartbeat")(await peer.frame())
        assert on("heartbeat")(await peer.frame())


async def test_a_second_connection_gets_status_and_heartbeats_only(recording):
    async with (
        simulated(replay=(recording,), speed=math.inf, heartbeat_interval_s=0.05) as endpoints,
        connected(endpoints) as first,
    ):
        await ask_for_data(first)
        await first.until(lambda frame: "000000123" in str(frame))
        async with connected(endpoints) as second:
            await ask_for_data(second)
            assert on("heartbeat")(await second.frame())
            assert on("heartbeat")(await second.frame())


def test_offsets_come_from_the_frames_and_never_fall(recording):
    offsets = [offset_s for offset_s, _ in Recording([recording, recording]).timed()]
    once = [0, 0, 0, 10.5, 10.5, 20.0]
    assert offsets == pytest.approx(once + [20 + offset for offset in once], abs=1e-3)


class NoWire:
    def abort(self) -> None:
        pass


@pytest.mark.parametrize(("speed", "seconds"), [(1, 20), (4, 5), (math.inf, 0)])
async def test_the_pace_is_that_of_the_recording_times_the_speed(speed, seconds, recording, autojump_clock):
    session = Session(0, NoWire(), Ledger(None), 1 << 20)
    start_s = trio.current_time()
    await play(Recording([recording]).timed(), speed, session)
    assert trio.current_time() - start_s == pytest.approx(seconds, abs=1e-3)
    assert session.summary().queued == len(FRAMES)


async def test_a_recording_that_is_not_there_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        await serve(SimulatorConfig(replay=(tmp_path / "none.jsonl",)))
