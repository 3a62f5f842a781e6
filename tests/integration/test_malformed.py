"""What no exchange should send: kept verbatim, counted by reason, and nobody but the frame's own symbol notices."""

import json
from collections import Counter

import pytest

from chaos.check import check
from ssmd.archive.reading import archived_events
from ssmd.records import Disconnected, Record, Resync
from tests.integration.rig import System, environment, gaps_of, gauge, raw_of, running, synthetic

NAMES = ("BTC/USD", "ETH/USD", "SOL/USD")
REJECTED = {
    "garbage": "not_one_line",  # it begins with a control character
    "nan:BTC/USD": "not_one_line",  # NaN is not JSON, so the raw line escapes it
    "deep_json": "not_one_line",
    "huge_int:BTC/USD": "bad_shape",
    "unknown_channel": "unknown_channel",
    "unknown_symbol": "unknown_symbol",
    "bad_utf8": "not_one_line",  # a text frame that is no text: its bytes are kept
    "oversize": "unknown_channel",  # 17 MB of valid JSON
}
HARMLESS = ("unknown_field:BTC/USD", "wrong_type:BTC/USD", "absurd_price:BTC/USD")
CUT_OFF = {"oversize:40000000": "oversize"}
"""More than the venue's limit of ours: the connection ends, and the span is a recorded gap."""


LONGEST_INT64 = 19


def trades_in(records: list[Record], name: str) -> list[str]:
    """Return the ids of the trades of a symbol that the raw frames hold, read without our own code."""
    frames = [json.loads(record.frame, parse_int=str) for record in records if record.frame is not None]
    updates = [frame for frame in frames if frame.get("channel") == "trade" and frame["type"] == "update"]
    ids = [entry["trade_id"] for frame in updates for entry in frame["data"] if entry["symbol"] == name]
    return [trade_id for trade_id in ids if len(trade_id) <= LONGEST_INT64]


async def until_more_books(system: System, symbol: str) -> None:
    """Wait until the symbol goes on."""
    at = system.count("connector_messages_received_total", symbol=symbol)
    await system.until(
        lambda: system.count("connector_messages_received_total", symbol=symbol) > at + 5, f"{symbol} goes on"
    )


async def survive(system: System) -> None:
    for fault, reason in REJECTED.items():
        before = system.count("connector_rejected_frames_total", reason=reason)
        await system.inject(fault)
        await system.until(
            lambda: system.count("connector_rejected_frames_total", reason=reason) > before,  # noqa: B023  awaited here
            f"{fault} is counted as {reason}",
        )
        await until_more_books(system, "ETHUSD")
    for fault in HARMLESS:
        await system.inject(fault)
        await until_more_books(system, "BTCUSD")
    assert system.count("connector_disconnects_total") == 0


async def be_cut_off(system: System) -> None:
    for fault, reason in CUT_OFF.items():
        await system.inject(fault)
        await system.until(lambda: system.count("connector_disconnects_total", reason=reason) == 1, reason)  # noqa: B023
        await system.until(lambda: gauge("connector_symbols", state="live") == len(NAMES), "all are live again")
    await system.inject("maintenance:0.2:0.1")
    await system.until(lambda: any(log.get("state") == "maintenance" for log in system.logs), "maintenance is seen")
    await system.until(lambda: system.count("connector_disconnects_total") == 2, "the exchange closes")


@pytest.mark.slow
async def test_malformed_input_costs_nothing_but_itself(tmp_path, storage):
    async with running(tmp_path, environment(NAMES), synthetic(NAMES, 300), storage) as system:
        await until_more_books(system, "SOLUSD")
        await survive(system)
        await be_cut_off(system)
        await system.stop()
        rejected = {r: system.count("connector_rejected_frames_total", reason=r) for r in set(REJECTED.values())}
        failed = system.count("connector_checksums_total", result="failed")
        restarts = system.count("actor_restarts_total") - system.count("actor_restarts_total", actor="session-0")

    records = await raw_of(system.store)
    verdict = await check(system.store, "kraken", system.ledger)
    ends = [record.note.reason for record in records if isinstance(record.note, Disconnected)]
    gaps = await gaps_of(system.store)
    print(f"\nmalformed: rejected {rejected}, disconnects {ends}, {len(gaps)} gaps; {verdict.text()}")  # noqa: T201  shown by -s
    assert verdict.ok, verdict.text()  # with the ledger: every frame byte for byte, the malformed ones too
    assert rejected == Counter(REJECTED.values())
    assert (failed, restarts) == (0, 0)
    assert not [record for record in records if isinstance(record.note, Resync)]
    assert {gap.reason for gap in gaps} >= {*CUT_OFF.values()}
    assert [*CUT_OFF.values()] == ends[:1]
    assert len([record for record in records if record.data is not None]) == 1
    assert max(len(record.frame or "") for record in records) > 16_900_000
    for name in NAMES:
        kept = trades_in(records, name)
        archived = await archived_events(system.store, "v1", "kraken", "trade")
        assert Counter(t.trade_id for t in archived if t.symbol == name.replace("/", "")) == Counter(set(kept))
