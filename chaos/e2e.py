"""Run one system for some seconds and check everything: `python -m chaos.e2e FOLDER SECONDS 'SIMULATE WORDS'`."""

import sys
from pathlib import Path

import trio

from chaos.check import check
from chaos.rig import running
from ssmd.store.objects import local_store


async def main(folder: Path, seconds: float, words: str) -> int:
    async with running(folder, words) as rig:
        await trio.sleep(seconds)
        for role in ("connector:kraken", "archiver", "nats-server", "simulator"):
            print(f"{role}: rss {rig.rss_mb(role):.1f} MB, cpu {rig.cpu_s(role):.2f} s")
        print("exit", await rig.stop())
        verdict = await check(local_store(rig.data_dir), "kraken", rig.ledger)
    print(verdict.text())
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    sys.exit(trio.run(main, Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
