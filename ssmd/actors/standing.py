"""What a connector really runs, as its sessions and its symbol watcher tell it; kept by the tree, not by an actor."""

from msgspec import Struct
from msgspec.structs import replace

from ssmd.actors.report import RefusedConfig, RefusedSymbol, for_people, value_digest
from ssmd.bus.base import KvEntry
from ssmd.clock import NowNs, now_ns
from ssmd.protocols.sharding import share_of
from ssmd.records import FeedConfig
from ssmd.supervisor import Cell


class SlotState(Struct, frozen=True):
    """What one session runs.

    version: of the configuration cell that it has applied; unlike a revision it never starts anew. 0 is nothing yet.
    config: the whole configuration of that version, not only the session's share.
    """

    version: int
    config: FeedConfig
    live: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    refused: tuple[RefusedSymbol, ...] = ()
    leaving: tuple[str, ...] = ()


class Stand(Struct, frozen=True):
    """All of it at one moment."""

    slots: tuple[SlotState, ...]
    refused_config: RefusedConfig | None = None

    @property
    def in_force(self) -> FeedConfig:
        """The newest configuration that every session has applied, or a later one."""
        return min(self.slots, key=lambda slot: slot.version).config


class Standing:
    """Takes what actors tell, never waits, and wakes whoever watches `cell` when something is different."""

    def __init__(self, config: FeedConfig, now: NowNs = now_ns) -> None:
        self.cell = Cell(Stand(tuple(_waiting(SlotState(0, config), slot) for slot in range(config.shards))))
        self._now = now

    def tell(self, slot: int, state: SlotState) -> None:
        """Note what a session runs from now on."""
        slots = list(self.cell.get().slots)
        slots[slot] = state
        self._set(replace(self.cell.get(), slots=tuple(slots)))

    def lose(self, slot: int) -> None:
        """Note that a session has no connection any more: what it should capture waits for the next one."""
        self.tell(slot, _waiting(self.cell.get().slots[slot], slot))

    def refuse(self, entry: KvEntry, reason: str) -> None:
        """Note that a live copy cannot be used."""
        refused = RefusedConfig(entry.revision, for_people(reason), self._now(), value_digest(entry.value))
        self._set(replace(self.cell.get(), refused_config=refused))

    def accept(self) -> None:
        """Note that a good live copy was taken: what was refused before it is of no interest any more."""
        self._set(replace(self.cell.get(), refused_config=None))

    def _set(self, stand: Stand) -> None:
        if stand != self.cell.get():
            self.cell.set(stand)


def _waiting(state: SlotState, slot: int) -> SlotState:
    wanted = tuple(spec.symbol for spec in share_of(state.config, slot).symbols)
    return replace(state, live=(), pending=wanted, refused=(), leaving=())
