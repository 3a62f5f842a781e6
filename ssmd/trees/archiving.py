"""What archives an edition, in the archiver and in a candidate's process."""

from functools import partial

from ssmd.actors.batcher import ArchiveFeed
from ssmd.actors.stock_book import Kept
from ssmd.actors.stocktaker import Stock, Stocktaker
from ssmd.archive.position import position_key
from ssmd.supervisor import ChildSpec
from ssmd.trees.role_spec import RoleSpec
from ssmd.trees.world import BUS_BACKOFF, World


def stocktaker(archive: ArchiveFeed, spec: RoleSpec, world: World) -> ChildSpec:
    edition = archive.edition
    key = position_key(spec.environment.name, edition.version, edition.durable)
    stock = Stock(key, Kept(spec.environment.spec.storage.normalized.retention_days))
    make = partial(Stocktaker, archive, stock, world.dialer, world.store, world.now)
    return ChildSpec(f"stocktaker-{edition.feed}", make, BUS_BACKOFF, drain_within_s=5)
