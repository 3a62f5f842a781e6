"""The bus goes away for a minute: nothing is lost, memory stays bounded, and catching up is much faster than live."""

from pathlib import Path

import trio

from chaos.check import check, check_stream
from chaos.kills import LATE_S
from chaos.processes import NatsServer, nats_server, until
from chaos.rig import CONNECTOR, EVENTS, LAG, Rig, prepared
from chaos.rows import Row, Stopwatch
from chaos.targets import BusAway
from ssmd.bus.nats import NatsDialer
from ssmd.store.objects import local_store

FRAMES = "ssmd_connector_frames_received_total"
CAUGHT_UP_S = 1.0


async def bus_away(row: Row, folder: Path, target: BusAway) -> None:
    """Kill a NATS server that nobody restarts, start it again later on the same port and store, measure both sides."""
    watch = Stopwatch()
    words = f"--rate {target.rate_per_s} --seed {row.seed}"
    async with nats_server(folder / "nats") as server, prepared(folder, words) as rig:
        rig.variables["SSMD_NATS_URL"] = server.url
        await rig.start()
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        live_per_s = await _live_rate(rig, target.live_s)
        row.note(live_events_per_s=live_per_s)
        await _go_away(row, rig, server, target)
        await _come_back(row, rig, server, target, live_per_s)
        row.at_most("connector_peak_mb", rig.peak_mb(CONNECTOR), target.connector_peak_mb)
        row.at_most("exit_code", await rig.stop(), 0)
        store = local_store(rig.data_dir)
        verdict = await check(store, "kraken", rig.ledger)
        row.note(stream_duplicates=await check_stream(NatsDialer(server.url), store, "kraken", verdict))
        row.judge(verdict, target.archive_duplicates, target.frames_unaccounted)
    row.duration_s = watch.elapsed_s


async def _live_rate(rig: Rig, for_s: float) -> float:
    before, watch = await rig.total(CONNECTOR, EVENTS), Stopwatch()
    await trio.sleep(for_s)
    return (await rig.total(CONNECTOR, EVENTS) - before) / watch.elapsed_s


async def _go_away(row: Row, rig: Rig, server: NatsServer, target: BusAway) -> None:
    """Keep the server away; the connector goes on receiving at the full rate."""
    row.note(rss_before_mb=rig.rss_mb(CONNECTOR))
    server.kill()
    before, watch = await rig.samples(CONNECTOR), Stopwatch()
    await trio.sleep(target.away_s)
    after = await rig.samples(CONNECTOR)
    if after.total(EVENTS) != before.total(EVENTS):
        row.missed.append("events were published while the bus was away")
    received_per_s = (after.total(FRAMES) - before.total(FRAMES)) / watch.elapsed_s
    row.at_least("received_per_s_while_away", received_per_s, target.received_at_least * target.rate_per_s)
    row.note(rss_away_mb=rig.rss_mb(CONNECTOR))


async def _come_back(row: Row, rig: Rig, server: NatsServer, target: BusAway, live_per_s: float) -> None:
    await server.start()
    back = Stopwatch()
    before = await rig.total(CONNECTOR, EVENTS)

    async def has_begun() -> bool:
        return await rig.total(CONNECTOR, EVENTS) > before

    async def has_caught_up() -> bool:
        samples = await rig.samples(CONNECTOR)
        return samples.total(EVENTS) > before and samples.total(LAG) < CAUGHT_UP_S

    row.note(reconnected_s=await until(has_begun, LATE_S, "events are published again"))
    catching_up = Stopwatch()
    began = await rig.total(CONNECTOR, EVENTS)
    await until(has_caught_up, 2 * target.away_s + LATE_S, "the connector has caught up")
    caught_up_per_s = (await rig.total(CONNECTOR, EVENTS) - began) / catching_up.elapsed_s
    row.note(caught_up_s=back.elapsed_s, catch_up_events_per_s=caught_up_per_s)
    row.at_least("catch_up_rate", caught_up_per_s / live_per_s, target.catch_up_at_least)
