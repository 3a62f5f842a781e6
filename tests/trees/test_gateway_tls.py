"""A whole gateway with a certificate of an own authority, and clients that are not ours: `websockets` and curl."""

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from websockets.sync.client import ClientConnection, connect

from ssmd.bus.memory import MemoryDialer
from tests.gateway.web.test_server import CERTIFICATES, install
from tests.trees.test_gateway import Running, events, outgoing, running, trusting

pytestmark = pytest.mark.slow
WITHIN_S = 10.0
CURL = shutil.which("curl")


def tls(folder: Path) -> dict[str, str]:
    """Return the settings of a gateway with the signed certificate."""
    certificate, key = install("signed", folder)
    return {"tls_certificate": str(certificate), "tls_key": str(key)}


def name_shown(client: ClientConnection) -> str:
    certificate = client.socket.getpeercert()
    return dict(part[0] for part in certificate["subject"])["commonName"]


def prices(client: ClientConnection) -> Iterator[str]:
    """Give the ids of the trades as they come."""
    while True:
        message = json.loads(client.recv(timeout=WITHIN_S))
        if message["type"] == "trade":
            yield message["trade_id"]


class Reader:
    """Blocking clients in a thread beside the gateway."""

    def __init__(self, found: Running, key: dict[str, str]) -> None:
        self.found, self.key = found, key
        self.url = found.urls["gateway"].replace("https://", "wss://") + "/subscribe?symbols=BTCUSD&types=trade"

    def connect(self, context: ssl.SSLContext) -> ClientConnection:
        return connect(self.url, additional_headers=self.key, ssl=context)

    def publish(self, seq: int) -> None:
        """Have one more trade come in."""
        trade = next(event for event in events(seq + 1)[2 * seq :] if hasattr(event, "trade_id"))
        trio.from_thread.run(self._publish, trade)

    async def _publish(self, trade) -> None:
        async with MemoryDialer(self.found.broker).connect() as bus:
            await bus.publish([outgoing(trade)])


async def test_websockets_reads_over_wss_and_trusts_no_other_authority(tmp_path):
    def script(reader: Reader) -> None:
        with pytest.raises(ssl.SSLCertVerificationError), reader.connect(ssl.create_default_context()):
            pass
        with reader.connect(trusting()) as client:
            coming = prices(client)
            reader.publish(20)
            assert next(coming) == "20"
            assert client.ping().wait(WITHIN_S)
            assert client.socket.version() in {"TLSv1.2", "TLSv1.3"}

    async with running(tmp_path, **tls(tmp_path)) as found:
        await trio.to_thread.run_sync(script, Reader(found, await found.client("notebook", "*")))


async def test_a_renewed_certificate_is_shown_to_newcomers_and_the_open_ones_go_on(tmp_path):
    def script(reader: Reader) -> None:
        with reader.connect(trusting()) as before:
            coming = prices(before)
            install("renewed", tmp_path)
            with reader.connect(trusting()) as after:
                assert (name_shown(before), name_shown(after)) == ("signed.test", "renewed.test")
                reader.publish(20)
                assert [next(coming), next(prices(after))] == ["20", "20"]

    async with running(tmp_path, **tls(tmp_path)) as found:
        await trio.to_thread.run_sync(script, Reader(found, await found.client("notebook", "*")))


@pytest.mark.skipif(CURL is None, reason="there is no curl")
async def test_curl_reads_history_with_the_authority_and_nothing_without(tmp_path):
    def curl(url: str, *words: str) -> "subprocess.CompletedProcess[str]":
        argv = [str(CURL), "--silent", "--show-error", "--max-time", "10", *words, url]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    async with running(tmp_path, **tls(tmp_path)) as found:
        url = f"{found.urls['gateway']}/api/v1/trades?symbol=BTCUSD&last=3"
        (header,) = (await found.client("notebook", "*")).items()
        words = ("--header", ": ".join(header))
        trusted = ("--cacert", str(CERTIFICATES / "authority.pem"), *words)
        told = await trio.to_thread.run_sync(partial(curl, url, *trusted))
        assert [row["trade_id"] for row in json.loads(told.stdout)["data"]] == ["14", "16", "18"]
        refused = await trio.to_thread.run_sync(partial(curl, url, *words))
        assert (refused.returncode, refused.stdout) == (60, "")
