"""Normalizing the stored raw data again gives exactly what the live system archived, also when much went wrong."""

from itertools import chain

import pytest
import trio

from chaos.check import check
from ssmd.archive.reading import archived_events
from ssmd.codec import marketdata
from ssmd.model import EVENT_TYPES, Event, message_id, type_of
from ssmd.reprocess import normalize
from tests.integration.rig import System, environment, raw_of, running, synthetic

NAMES = ("BTC/USD", "ETH/USD", "SOL/USD")
FAULTS = (
    "duplicate@0.5", "flip@0.8:BTC/USD", "missing@1.2:ETH/USD", "reorder@1.6:SOL/USD", "checksum@2:BTC/USD", "drop@2.6",
    "wrong_type@4.2", "garbage@4.4", "nan@4.6", "missing@4.8:BTC/USD", "close@5.2",
)  # fmt: skip


async def archived(system: System) -> list[Event]:
    return list(
        chain.from_iterable([await archived_events(system.store, "v1", "kraken", kind) for kind in EVENT_TYPES])
    )


def through_floats(event: Event) -> Event:
    """Return the event as the archive gives it back: numbers as the shortest text of a Float64."""
    return marketdata.decode(type_of(event), marketdata.encode(event))


def by_identity(events: list[Event]) -> dict[str, Event]:
    return {message_id(event): event for event in events}


@pytest.mark.slow
async def test_a_reprocess_of_a_run_with_faults_and_crashes_equals_its_archive(tmp_path, storage):
    async with running(tmp_path, environment(NAMES), synthetic(NAMES, 400, *FAULTS), storage) as system:
        await trio.sleep(3.2)
        await system.crash("archiver")
        await system.crash("connector")
        await trio.sleep(3.4)
        await system.stop()
        resyncs, reconnects, rejected = (
            system.count(f"connector_{name}_total") for name in ("resyncs", "websocket_reconnects", "rejected_frames")
        )
    live = await archived(system)
    records = await raw_of(system.store)
    again = [through_floats(event) for event in normalize("kraken", "v1", records)]
    verdict = await check(system.store, "kraken", system.ledger)
    figures = {kind: sum(type_of(event) == kind for event in live) for kind in EVENT_TYPES}
    print(  # noqa: T201  the figures of the acceptance test, shown by -s
        f"\nrun with faults: {figures} archived, {len(records)} raw records, {resyncs} resyncs, {reconnects} reconnects, "
        f"{rejected} frames rejected; {verdict.text()}"
    )
    assert len(live) == len(by_identity(live))
    assert by_identity(live) == by_identity(again)
    assert again == [through_floats(event) for event in normalize("kraken", "v1", records)]
    assert min(figures.values()) > 50
    assert min(resyncs, reconnects, rejected) >= 1
    assert verdict.gaps
    assert verdict.ok, verdict.text()
