"""What `ssmd run` does: one role, as a container runs it."""

import os
from pathlib import Path

from ssmd import settings
from ssmd.environment import load as environment
from ssmd.errors import ConfigError
from ssmd.trees import RoleName, RoleSpec, feed_entry, role_argv, role_environment, run_dir, write_role_spec

DEFAULT_NATS_URL = "nats://127.0.0.1:4222"


def start_role(role: RoleName, env: str, feed: str, data_dir: Path, config: Path | None) -> None:
    """Become the role: same pid, and nothing of the CLI stays in its memory."""
    spec = _spec(role, env, feed, data_dir, config)
    argv = role_argv(write_role_spec(run_dir(data_dir), spec))
    os.execve(argv[0], argv, role_environment())  # noqa: S606  # arguments of our own making, no shell


def _spec(role: RoleName, env: str, feed: str, data_dir: Path, config: Path | None) -> RoleSpec:
    loaded = environment.load(env)
    values = settings.load(config)
    feeds = list(loaded.spec.feeds)
    if role == "connector" and not feed:
        if len(feeds) != 1:
            raise ConfigError(f"environment {loaded.name} has the feeds {', '.join(feeds)}; name one with --feed")
        feed = feeds[0]
    if feed and role == "gateway":
        raise ConfigError("a gateway serves every feed of its environment; leave out --feed")
    if feed:
        feed_entry(loaded, feed)
    nats_url = values.nats.url or DEFAULT_NATS_URL
    run_file = run_dir(data_dir) / "endpoints.json"
    return RoleSpec(role, feed, loaded, values, nats_url, str(data_dir), str(run_file))
