"""Ask a running system whatever its OpenAPI file allows: nothing may break, and no answer may be undocumented."""

import os
import sys
from pathlib import Path

import trio

from chaos.kills import LATE_S
from chaos.office import office
from chaos.rig import running
from chaos.rows import Row, Stopwatch
from chaos.targets import Described

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def ask_whatever_is_allowed(row: Row, folder: Path, target: Described) -> None:
    """Ask by the keys of an administrator, of a client that may read everything, and of one that may read nothing."""
    watch = Stopwatch()
    async with running(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig, office(rig) as desk:
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        reader, nobody = (
            await desk.add("reader", requests_per_s=10_000),
            await desk.add("nobody", requests_per_s=10_000),
        )
        await desk.entitle("reader")
        keys = {"reader": reader, "nobody": nobody, "admin": desk.header["Authorization"].removeprefix("Bearer ")}
        for name, key in keys.items():  # the administrator last: it removes clients
            await _ask(row, desk.url, (name, key), target)
        row.at_least("requests", await rig.total("gateway", "ssmd_gateway_requests_total"), 1)
        row.at_most("bugs", await rig.total("gateway", "ssmd_gateway_bugs_total"), 0)
        row.note(rss_mb=rig.rss_mb("gateway"))
        row.at_most("exit_code", await rig.stop(), 0)
    row.duration_s = watch.elapsed_s


async def _ask(row: Row, url: str, who: tuple[str, str], target: Described) -> None:
    words = (
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--checks", CHECKS, "--no-color"),
        *("--header", f"X-API-Key: {who[1]}", "--phases", "examples,coverage,fuzzing", "--generation-database", "none"),
        *("--max-examples", str(target.examples), "--seed", str(row.seed)),
    )
    variables = {**os.environ, "SCHEMATHESIS_HOOKS": "chaos.schemathesis_hooks"}
    done = await trio.run_process(words, capture_stdout=True, capture_stderr=True, check=False, env=variables)
    told = done.stdout.decode()
    if done.returncode:
        row.missed.append(f"{who[0]}: {told[told.find('= FAILURES') :][:2_000]}{done.stderr.decode()[-500:]}")
    row.note(**{f"{who[0]}_told": [line.strip() for line in told.splitlines() if " generated" in line]})
