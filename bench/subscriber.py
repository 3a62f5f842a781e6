"""How late a message is at a subscriber: `python -m bench subscriber`. The whole system at 2,000 frames/s, one client of everything.

Late since the connector received the frame: journal, decoding, NATS (synced), the gateway, the socket. The client reads
in a process of its own, so that its work is in no figure but its own lateness.
"""

import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import trio
from websockets.sync.client import connect

from bench.load import NAMES, ROLES, quantile_ms
from chaos.rig import Rig, running
from ssmd.protocols.text import rfc3339_ns

RATE_PER_S = 2_000
SECONDS = 20
TARGET_MS = {50: 5.0, 99: 25.0}
SYMBOLS = [name.replace("/", "") for name in NAMES]


async def client_key(rig: Rig) -> str:
    """Add a client that may read everything."""
    admin = {"X-API-Key": (rig.data_dir / "gateway-admin.key").read_text().strip()}
    async with httpx.AsyncClient(base_url=rig.endpoints().gateway, headers=admin) as http:
        path = "/api/v1/admin/clients"
        added = (await http.post(path, json={"client_id": "bench", "type": "trading"})).raise_for_status()
        grant = {"feed": "kraken", "symbols": ["*"]}
        (await http.post(f"{path}/bench/entitlements", json=grant)).raise_for_status()
    return str(added.json()["key"])


async def measure() -> None:
    with tempfile.TemporaryDirectory() as name:
        async with running(Path(name), f"--rate {RATE_PER_S}", NAMES) as rig:
            key = await client_key(rig)
            await trio.sleep(5)
            roles = (*ROLES, "gateway")
            cpu = {role: rig.cpu_s(role) for role in roles}
            before, began_s = await rig.samples("connector:kraken"), trio.current_time()
            argv = (sys.executable, "-m", "bench.subscriber", rig.endpoints().gateway.replace("http", "ws"))
            await trio.run_process(argv, stdin=key.encode())
            after, took_s = await rig.samples("connector:kraken"), trio.current_time() - began_s
            shares = "   ".join(f"p{share} <= {quantile_ms(before, after, share / 100):g} ms" for share in TARGET_MS)
            print(f"of that, from receipt to NATS's ack: {shares}")
            for role in roles:
                print(
                    f"{role:<18} cpu {(rig.cpu_s(role) - cpu[role]) / took_s * 100:5.1f} %  rss {rig.rss_mb(role):6.1f} MB"
                )
            await rig.stop()


def subscribe(url: str, key: str) -> None:
    late_ms: list[float] = []
    with connect(f"{url}/subscribe?symbols={','.join(SYMBOLS)}", additional_headers={"X-API-Key": key}) as client:
        end_s = time.monotonic() + SECONDS
        pos = 0
        while time.monotonic() < end_s:
            text = client.recv()
            now_ns = time.time_ns()
            message = json.loads(text)
            if "pos" in message and message["type"] in {"trade", "quote", "book"}:
                late_ms.append((now_ns - rfc3339_ns(message["received_at"])) / 1e6)
                assert message["pos"] == pos + 1 or not pos, "every message, in order"
                pos = message["pos"]
    cuts = statistics.quantiles(late_ms, n=100)
    found = "   ".join(f"p{share} {cuts[share - 1]:.2f} ms (target {target:g})" for share, target in TARGET_MS.items())
    print(f"{len(late_ms) / SECONDS:,.0f} messages/s to one subscriber, late since receipt: {found}", flush=True)


def run() -> None:
    trio.run(measure)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        subscribe(sys.argv[1], sys.stdin.read())
