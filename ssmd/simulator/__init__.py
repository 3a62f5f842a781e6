"""A simulated exchange to run clients against: synthetic or recorded markets, and faults on demand."""

from ssmd.simulator.config import Endpoints, SimulatorConfig, check_config, parse_speed
from ssmd.simulator.exchange import SimulatorActor, serve
from ssmd.simulator.faults import FAULTS, Fault, describe_faults, parse_fault

__all__ = [
    "FAULTS",
    "Endpoints",
    "Fault",
    "SimulatorActor",
    "SimulatorConfig",
    "check_config",
    "describe_faults",
    "parse_fault",
    "parse_speed",
    "serve",
]
