"""Actors under supervision, and what passes between them. Knows Trio and nothing about market data."""

from ssmd.supervisor.cell import Cell, Versioned
from ssmd.supervisor.health import Check, CheckHealth, ChildHealth, ChildState, HealthBoard
from ssmd.supervisor.mailbox import Mailbox, MailboxStatistics, Overflow
from ssmd.supervisor.pacing import Backoff, Intensity
from ssmd.supervisor.process import ChildProcess, ProcessFailed, ProcessSpec
from ssmd.supervisor.spec import (
    Actor,
    ChildChanged,
    ChildSpec,
    Restart,
    Strategy,
    Surroundings,
    longest_drain_s,
)
from ssmd.supervisor.supervisor import Supervisor
from ssmd.supervisor.temporary import contain

__all__ = [
    "Actor",
    "Backoff",
    "Cell",
    "Check",
    "CheckHealth",
    "ChildChanged",
    "ChildHealth",
    "ChildProcess",
    "ChildSpec",
    "ChildState",
    "HealthBoard",
    "Intensity",
    "Mailbox",
    "MailboxStatistics",
    "Overflow",
    "ProcessFailed",
    "ProcessSpec",
    "Restart",
    "Strategy",
    "Supervisor",
    "Surroundings",
    "Versioned",
    "contain",
    "longest_drain_s",
]
