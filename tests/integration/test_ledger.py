"""A real run with faults and crashes, proved from its raw data alone: archive, manifests, gaps and quality ledger."""

import pytest
import trio

from ssmd.archive.ledger import ledger
from ssmd.archive.reading import raw_keys
from ssmd.clock import NS_PER_MINUTE, now_ns
from ssmd.reprocess.verify import VerifySpec, verify
from ssmd.store.keys import quality_prefix
from tests.integration.rig import environment, running, synthetic
from tests.integration.test_determinism import FAULTS, NAMES


@pytest.mark.slow
async def test_a_run_with_faults_and_crashes_is_proved_by_verify(tmp_path):
    start_ns = now_ns() - NS_PER_MINUTE
    async with running(tmp_path, environment(NAMES), synthetic(NAMES, 400, *FAULTS)) as system:
        await trio.sleep(3.2)
        await system.crash("archiver")
        await system.crash("connector")
        await trio.sleep(3.4)
        await system.stop()
    end_ns = now_ns() + NS_PER_MINUTE
    report = await verify(system.store, VerifySpec("kraken", "v1", start_ns - start_ns % NS_PER_MINUTE, end_ns))
    print(f"\n{report.frames} frames, {report.events_compared} events, {report.ledger_records} ledger records")  # noqa: T201  shown by -s
    assert report.findings == []
    objects = len(await raw_keys(system.store, "kraken"))
    assert report.ledger_records == report.objects == objects >= 2
    assert len(await system.store.list(quality_prefix("v1", "kraken"))) == objects
    states = [state async for state in ledger(system.store, "v1", "kraken", start_ns, now_ns())]
    seen = [state for state in states if state.records]  # one minute, or two when the run goes over a full one
    assert "missing" in {state.answer for state in seen if state.gaps}
    assert ["checksum" in state.reasons for state in seen] == [state.figures.checksums_failed >= 1 for state in seen]
    assert any(state.figures.checksums_failed for state in seen)
    assert report.events_compared == sum(sum(state.figures.events.values()) for state in states)
