"""Tools that read the archive need nothing of ours: zstd and capnp from any distribution."""

import shutil
import subprocess

import pytest

from ssmd.codec import blocks, marketdata
from ssmd.codec.marketdata import schema_path
from ssmd.model import Book, Quote, Trade

pytestmark = pytest.mark.skipif(
    not (shutil.which("zstd") and shutil.which("capnp")), reason="zstd and capnp are not both on PATH"
)

EVENTS = {
    "Trade": Trade("kraken", "BTCUSD", 7, "c-0-1", 3, 0, 5, "100.5", "0.25", "sell", "81234567"),
    "Quote": Quote("kraken", "BTCUSD", 7, "c-0-1", 4, 0, 5, "100.5", "0.25", "101.0", "2.0"),
    "OrderBookSnapshot": Book("kraken", "BTCUSD", 7, "c-0-1", 5, 1, 5, (("100.5", "0.25"),), (("101.0", "2.0"),)),
}
SHOWN = {
    "Trade": ["price = 100.5", "size = 0.25", "side = sell", 'tradeId = "81234567"', "seq = 3", "epochNanos = 5"],
    "Quote": ["bidPrice = 100.5", "bidSize = 0.25", "askPrice = 101", "askSize = 2", "seq = 4"],
    "OrderBookSnapshot": ["bids = [(price = 100.5, size = 0.25)]", "asks = [(price = 101, size = 2)]", "n = 1"],
}


def decode_with_tools(path, struct: str) -> str:
    plain = subprocess.run(["zstd", "-dc", str(path)], stdout=subprocess.PIPE, check=True).stdout
    command = ["capnp", "decode", str(schema_path()), struct]
    return subprocess.run(command, input=plain, stdout=subprocess.PIPE, check=True).stdout.decode()


@pytest.mark.parametrize("struct", EVENTS)
def test_capnp_decode_reads_an_object_of_many_messages(tmp_path, struct):
    path = tmp_path / "00-00.capnp.zst"
    path.write_bytes(blocks.compress(marketdata.encode(EVENTS[struct]) * 3))
    text = " ".join(decode_with_tools(path, struct).split()).replace("[ ", "[").replace(" ]", "]")
    assert text.count('symbol = "BTCUSD"') == 3
    assert all(shown in text for shown in (*SHOWN[struct], 'exchange = "kraken"', 'conn = "c-0-1"', "recvNs = 7"))
