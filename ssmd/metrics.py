"""Every metric of ssmd, declared once: unit in the name, bounded labels.

The first block of names is public (dashboards and alerts rely on it). Beside those, no metric carries a symbol.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

REGISTRY: Final = CollectorRegistry(auto_describe=True)


def _counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


class Latency(Collector):
    """A histogram that costs a bisect and an addition per value; seconds, few and fixed buckets."""

    BOUNDS_S: Final = (
        0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075,
        0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0,
    )  # fmt: skip

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self.clear()
        REGISTRY.register(self)

    def clear(self) -> None:
        self.counts = [0] * (len(self.BOUNDS_S) + 1)
        self._sum_s = 0.0

    def observe(self, value_s: float) -> None:
        self.counts[bisect_left(self.BOUNDS_S, value_s)] += 1
        self._sum_s += value_s

    def collect(self) -> Iterable[HistogramMetricFamily]:
        family = HistogramMetricFamily(self._name, self._text)
        total, buckets = 0, []
        for bound, count in zip((*map(str, self.BOUNDS_S), "+Inf"), self.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([], buckets, self._sum_s)
        return (family,)


# Public names ------------------------------------------------------------------------------------------------

MESSAGES_RECEIVED: Final = _counter(
    "ssmd_connector_messages_received_total", "Market data messages understood, by symbol.", ("feed", "symbol")
)
WEBSOCKET_RECONNECTS: Final = _counter(
    "ssmd_connector_websocket_reconnects_total", "Connections made after the first one.", ("feed",)
)
CONNECTOR_LAG: Final = _gauge(
    "ssmd_connector_lag_seconds", "Age of the oldest received frame that the bus has not acknowledged.", ("feed",)
)
ARCHIVER_BYTES_WRITTEN: Final = _counter(
    "ssmd_archiver_bytes_written_total", "Bytes of stored objects, by bucket (raw or normalized).", ("bucket",)
)
ARCHIVER_LAG: Final = _gauge("ssmd_archiver_lag_seconds", "Age of the oldest message that is not archived yet.")

CLIENTS_CONNECTED: Final = _gauge("ssmd_gateway_clients_connected", "Live connections, by type of client.", ("type",))
MESSAGES_DELIVERED: Final = _counter(
    "ssmd_gateway_messages_delivered_total", "Messages and rows handed to a client.", ("client",)
)

# Connector ---------------------------------------------------------------------------------------------------

FRAMES_RECEIVED: Final = _counter("ssmd_connector_frames_received_total", "Frames kept in the journal.", ("feed",))
BYTES_RECEIVED: Final = _counter("ssmd_connector_received_bytes_total", "Text received from the exchange.", ("feed",))
CONNECTED: Final = _gauge("ssmd_connector_connections_open", "Open connections to the exchange.", ("feed",))
EXCHANGE_OPEN: Final = _gauge("ssmd_connector_exchange_open", "1 while the exchange says it is open.", ("feed",))
LAST_FRAME: Final = _gauge("ssmd_connector_last_message_timestamp_seconds", "When the last frame arrived.", ("feed",))
DISCONNECTS: Final = _counter("ssmd_connector_disconnects_total", "Connections ended, by cause.", ("feed", "reason"))
SYMBOLS: Final = _gauge("ssmd_connector_symbols", "Symbols by state: live, pending or refused.", ("feed", "state"))
REJECTS: Final = _counter("ssmd_connector_rejected_frames_total", "Frames kept raw but not usable.", ("feed", "reason"))
CHECKSUMS: Final = _counter("ssmd_connector_checksums_total", "Book checksums by result.", ("feed", "result"))
DUPLICATE_TRADES: Final = _counter("ssmd_connector_duplicate_trades_total", "Trade ids seen before.", ("feed",))
TRADE_ID_GAPS: Final = _counter(
    "ssmd_connector_trade_id_gaps_total", "Jumps between consecutive trade ids, reconnects included.", ("feed",)
)
RESYNCS: Final = _counter("ssmd_connector_resyncs_total", "Books that had to be asked for again.", ("feed", "reason"))
GAPS: Final = _counter("ssmd_connector_gaps_total", "Spans in which frames may be missing.", ("feed", "reason"))
CONFIG_REFUSED: Final = _counter("ssmd_connector_config_refused_total", "Symbol maps refused.", ("feed", "reason"))
CONFIG_REVISION: Final = _gauge("ssmd_connector_config_revision", "Revision of the symbol map in force.", ("feed",))
EVENTS_PUBLISHED: Final = _counter("ssmd_connector_events_published_total", "Events the bus has stored.", ("feed",))
PUBLISH_DUPLICATES: Final = _counter(
    "ssmd_connector_publish_duplicates_total", "Events the bus had stored before.", ("feed",)
)
JOURNAL_BACKLOG: Final = _gauge("ssmd_connector_journal_backlog_bytes", "Segments on disk, unsealed ones included.")
JOURNAL_PENDING: Final = _gauge("ssmd_connector_journal_pending_bytes", "Lines that wait for the disk.")
TORN_BYTES: Final = _counter("ssmd_connector_torn_bytes_total", "Bytes of half-written lines cut off after a crash.")
RECEIVE_TO_ACK: Final = Latency("ssmd_connector_receive_to_ack_seconds", "From receiving a frame to the bus's ack.")
MINUTES_SEALED: Final = _counter("ssmd_connector_minutes_sealed_total", "Raw objects stored with manifest.", ("feed",))

# Candidate normalizer ----------------------------------------------------------------------------------------

CANDIDATE_UP: Final = _gauge("ssmd_candidate_up", "1 while the candidate's process runs.", ("feed", "version"))
CANDIDATE_CURSOR_AGE: Final = _gauge(
    "ssmd_candidate_cursor_age_seconds", "Since the candidate last got on; high while it hangs or is down.", ("feed",)
)
CANDIDATE_EVENTS: Final = _counter(
    "ssmd_candidate_events_total",
    "Events of the candidate compared with the normalizer's: same, changed, added, removed.",
    ("feed", "version", "type", "verdict"),
)
CANDIDATE_SKIPPED: Final = _counter(
    "ssmd_candidate_skips_total", "Times that segments were deleted before the candidate had read them.", ("feed",)
)

# Archiver ----------------------------------------------------------------------------------------------------

ARCHIVED: Final = _counter("ssmd_archiver_events_total", "Events stored in objects.", ("feed", "type"))
ARCHIVER_DUPLICATES: Final = _counter("ssmd_archiver_duplicates_total", "Events seen before by identity.", ("feed",))
ARCHIVER_POISON: Final = _counter("ssmd_archiver_poison_messages_total", "Messages that cannot be read.", ("feed",))
ARCHIVER_DISCARDED: Final = _counter(
    "ssmd_archiver_discarded_messages_total", "At most so many messages left the stream unarchived.", ("feed",)
)
ARCHIVER_UNARCHIVED: Final = _counter(
    "ssmd_archiver_unarchived_events_total", "Events found missing in the archive; the raw data has them.", ("feed",)
)
OBJECTS_STORED: Final = _counter("ssmd_archiver_objects_total", "Objects stored.", ("feed",))

RETENTION_DELETED: Final = _counter(
    "ssmd_retention_deleted_objects_total", "Objects deleted because of their age, by bucket.", ("bucket",)
)
RETENTION_DELETED_BYTES: Final = _counter(
    "ssmd_retention_deleted_bytes_total", "Bytes deleted because of their age, by bucket.", ("bucket",)
)
RETENTION_HELD: Final = _gauge("ssmd_retention_held_objects", "Objects past their age that a hold keeps, last sweep.")
RETENTION_SWEPT: Final = _gauge("ssmd_retention_last_sweep_timestamp_seconds", "When the last whole sweep ended.")

# Gateway, the server -----------------------------------------------------------------------------------------

GATEWAY_CONNECTIONS: Final = _gauge("ssmd_gateway_connections_open", "Open connections of any kind.")
GATEWAY_TURNED_AWAY: Final = _counter(
    "ssmd_gateway_turned_away_connections_total", "Connections ended to make room, by limit.", ("limit",)
)
GATEWAY_BUGS: Final = _counter("ssmd_gateway_failed_connections_total", "Connections that a bug has ended.")
GATEWAY_REQUESTS: Final = _counter(
    "ssmd_gateway_requests_total", "Requests answered, by route and status.", ("route", "status")
)
GATEWAY_REQUEST: Final = Latency("ssmd_gateway_request_seconds", "From a request to the first byte of its answer.")

# Gateway -----------------------------------------------------------------------------------------------------

KEYS_REFUSED: Final = _counter("ssmd_gateway_keys_refused_total", "API keys that did not count, and tries too many.")
DATABASE_UP: Final = _gauge(
    "ssmd_gateway_database_up", "1 while the database of clients answers; 0: nobody new gets in."
)
USAGE_UNWRITTEN: Final = _gauge("ssmd_gateway_usage_unwritten_rows", "Usage counters that are not in the database yet.")
GATEWAY_LAGGED: Final = _counter(
    "ssmd_gateway_lagged_messages_total", "Quotes and books left out because a client was slow.", ("client",)
)
GATEWAY_CLOSED: Final = _counter("ssmd_gateway_sessions_closed_total", "WebSocket sessions ended, by code.", ("code",))
GATEWAY_UNREADABLE: Final = _counter("ssmd_gateway_unreadable_messages_total", "Messages that cannot be read.")

# Every role --------------------------------------------------------------------------------------------------

RESTARTS: Final = _counter("ssmd_actor_restarts_total", "Children started again.", ("actor", "cause"))
MAILBOX_USED: Final = _gauge("ssmd_mailbox_items", "Items waiting in a mailbox.", ("mailbox",))
MAILBOX_DROPPED: Final = _gauge("ssmd_mailbox_dropped_items", "Items dropped by a mailbox's policy.", ("mailbox",))
RESIDENT_BYTES: Final = _gauge("ssmd_process_resident_bytes", "Memory of the process.")
CPU_SECONDS: Final = _gauge("ssmd_process_cpu_seconds", "User and system time of the process.")


def render() -> bytes:
    """Return everything in Prometheus' text format."""
    return generate_latest(REGISTRY)
