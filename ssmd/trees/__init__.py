"""The composition root: roles as trees of actors, the system as a tree of processes.

roles      what one connector or archiver is made of
system     `ssmd up`: every role as a supervised process beside an embedded nats-server
running    one tree in this process, from start to signal
live       read and change what a running system captures, and ask its connectors
"""

from ssmd.actors.report import ConnectorReport, RefusedConfig, RefusedSymbol, digest_of
from ssmd.bus.base import StreamUsage
from ssmd.bus.server import find_nats_server
from ssmd.run_files import (
    Endpoints,
    add_role,
    claim,
    keep_apart,
    remove_role,
    run_dir,
    wait_for_run_file,
    write_run_file,
)
from ssmd.trees.listening import listen
from ssmd.trees.live import LiveCopy, LiveLink, Waited, live_link
from ssmd.trees.role_process import role_argv, role_environment, write_role_spec
from ssmd.trees.role_spec import RoleName, RoleSpec
from ssmd.trees.roles import archiver, connector, role
from ssmd.trees.running import run_tree
from ssmd.trees.system import System, UpSpec
from ssmd.trees.world import World, feed_entry, local_world, observe, stream_spec

__all__ = [
    "ConnectorReport",
    "Endpoints",
    "LiveCopy",
    "LiveLink",
    "RefusedConfig",
    "RefusedSymbol",
    "RoleName",
    "RoleSpec",
    "StreamUsage",
    "System",
    "UpSpec",
    "Waited",
    "World",
    "add_role",
    "archiver",
    "claim",
    "connector",
    "digest_of",
    "feed_entry",
    "find_nats_server",
    "keep_apart",
    "listen",
    "live_link",
    "local_world",
    "observe",
    "remove_role",
    "role",
    "role_argv",
    "role_environment",
    "run_dir",
    "run_tree",
    "stream_spec",
    "wait_for_run_file",
    "write_role_spec",
    "write_run_file",
]
