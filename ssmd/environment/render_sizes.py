"""How large things are in a cluster: what a workload asks for, its volume, and the time it may take to end.

No size depends on the symbols: a symbol change reaches running pods through NATS and must touch nothing else, and many
storage classes cannot make a volume larger.
"""

import math
from typing import Final

from msgspec import Struct

from ssmd.environment.spec import FOREVER_DAYS, BucketEntry, Environment
from ssmd.settings import DeploySettings, JournalSettings, parse_size

FOREVER_PLANNED_DAYS: Final = 365
"""No volume holds for ever what is kept for ever; it has room for a year."""
NORMALIZED_SHARE: Final = 0.6
"""Normalized data compared with raw data, both compressed."""
FREE_SHARE: Final = 0.2
"""What stays empty: a full disk stops capture, and a full JetStream store stops until NATS restarts."""
FILE_STORE_HEADROOM: Final = 1.5
"""What the server may use compared with the stream's limit, at least: the key-value bucket, files not yet cleaned up."""
LEAST_NATS_GIB: Final = 8
GIB: Final = 2**30


class Resources(Struct, frozen=True):
    """requests: the table of the original design. limits: room for a burst, and an end to a leak."""

    cpu_m: int
    memory_mib: int
    cpu_limit_m: int
    memory_limit_mib: int

    def block(self) -> dict[str, dict[str, str]]:
        return {
            "requests": {"cpu": f"{self.cpu_m}m", "memory": f"{self.memory_mib}Mi"},
            "limits": {"cpu": f"{self.cpu_limit_m}m", "memory": f"{self.memory_limit_mib}Mi"},
        }


CONNECTOR: Final = Resources(100, 64, 1000, 256)
ARCHIVER: Final = Resources(100, 128, 1000, 512)
GATEWAY: Final = Resources(200, 128, 1000, 512)
NATS: Final = Resources(500, 512, 2000, 1024)
GARAGE: Final = Resources(300, 256, 1000, 1024)


def go_memory_limit(resources: Resources) -> str:
    """Return the limit that Go's garbage collector keeps to: below the one that kills the container."""
    return f"{resources.memory_limit_mib * 8 // 10}MiB"


# how long a drain may take: above the sum of the deadlines in ssmd/trees/roles.py, which a test compares -------------


def connector_grace_s(shards: int) -> int:
    return 85 + 3 * shards


def archiver_grace_s(feeds: int) -> int:
    return 25 + 25 * feeds


GATEWAY_GRACE_S: Final = 70


# volumes -------------------------------------------------------------------------------------------------------------


def connector_volume() -> str:
    """The journal at its limit."""
    return _volume(parse_size(JournalSettings().max_bytes, "journal.max_bytes"))


ARCHIVER_VOLUME: Final = "1Gi"
"""Files of the run only; what it archives goes to the store."""


GATEWAY_VOLUME: Final = "5Gi"
"""Clients and counters: a row for each client, series and minute."""


def nats_volume(environment: Environment) -> str:
    return f"{_nats_volume_gib(environment)}Gi"


def file_store_bytes(environment: Environment) -> int:
    """Return what JetStream may use on disk: what its volume can take.

    It goes by the volume because it must not shrink with the stream's limit: a server whose streams have more reserved
    than it may use refuses to change any of them, also to make them smaller (2.15.1, tried).
    """
    return int(_nats_volume_gib(environment) * GIB * (1 - FREE_SHARE))


def _nats_volume_gib(environment: Environment) -> int:
    """In powers of two, so that most changes of the stream's limit neither restart NATS nor touch its claim."""
    limit_bytes = parse_size(environment.spec.jetstream.max_bytes, "spec.jetstream.max_bytes")
    least_gib = _gib(limit_bytes * FILE_STORE_HEADROOM)
    return max(LEAST_NATS_GIB, 1 << (least_gib - 1).bit_length())


def garage_volume(environment: Environment, deploy: DeploySettings) -> str:
    """Both archives of all feeds."""
    per_feed_bytes = _raw_bytes(environment, deploy) + _normalized_bytes(environment, deploy)
    return _volume(per_feed_bytes * len(environment.spec.feeds))


def _raw_bytes(environment: Environment, deploy: DeploySettings) -> int:
    return _days(environment.spec.storage.raw) * parse_size(deploy.raw_per_day, "deploy.raw_per_day")


def _normalized_bytes(environment: Environment, deploy: DeploySettings) -> int:
    per_day_bytes = parse_size(deploy.raw_per_day, "deploy.raw_per_day") * NORMALIZED_SHARE
    return int(_days(environment.spec.storage.normalized) * per_day_bytes)


def _days(entry: BucketEntry) -> int:
    return FOREVER_PLANNED_DAYS if entry.retention_days == FOREVER_DAYS else entry.retention_days


def _volume(content_bytes: float) -> str:
    return f"{_gib(content_bytes)}Gi"


def _gib(content_bytes: float) -> int:
    """Return the size of a volume that holds this and has room left."""
    return max(1, math.ceil(content_bytes / (1 - FREE_SHARE) / GIB))
