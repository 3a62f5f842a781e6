import signal

import pytest
import trio
from trio_websocket import open_websocket_url

from tests.cli.commands import ended, started, until

pytestmark = pytest.mark.slow


async def test_it_says_where_it_listens_speaks_and_ends_with_zero(tmp_path):
    with started(tmp_path, "simulate", "kraken", "--port", "0", "--symbols", "BTC/USD") as process:
        out = tmp_path / "stdout"
        await until(lambda: out.read_text().count("\n") == 2, "two addresses")
        words = dict(line.split() for line in out.read_text().splitlines())
        assert words.keys() == {"ws", "rest"}
        with trio.fail_after(10):
            async with open_websocket_url(words["ws"]) as socket:
                assert '"channel":"status"' in await socket.get_message()
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
