"""The embedded server: its configuration, its ports, its readiness."""

import subprocess
import sys
from pathlib import Path

import pytest
import trio

from ssmd.bus.nats import NatsDialer
from ssmd.bus.server import ServerSettings, endpoints_of, find_nats_server, server_argv, wait_ready, write_config
from ssmd.errors import BusDown, ConfigError
from tests.bus.conftest import RunningServer


def fake_server(folder: Path, version: str) -> Path:
    folder.mkdir()
    path = folder / "nats-server"
    path.write_text(f"#!/bin/sh\necho 'nats-server: v{version}'\n")
    path.chmod(0o755)
    return path


def test_the_server_beside_this_python_is_found(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_nats_server() == Path(sys.executable).parent / "nats-server"


def test_a_server_on_the_path_goes_first_if_it_is_new_enough(monkeypatch, tmp_path):
    path = fake_server(tmp_path / "new", "2.14.0")
    monkeypatch.setenv("PATH", f"{path.parent}:/bin:/usr/bin")
    assert find_nats_server() == path


def test_a_server_without_the_security_fixes_is_passed_over(monkeypatch, tmp_path):
    path = fake_server(tmp_path / "old", "2.10.29")
    monkeypatch.setenv("PATH", f"{path.parent}:/bin:/usr/bin")
    assert find_nats_server() != path


def test_the_error_says_what_was_found_and_what_is_needed(monkeypatch, tmp_path):
    path = fake_server(tmp_path / "old", "2.10.29")
    monkeypatch.setenv("PATH", f"{path.parent}:/bin:/usr/bin")
    monkeypatch.setattr("sysconfig.get_path", lambda _: "/nowhere")
    with pytest.raises(ConfigError, match=rf"2\.14\.0 or later is needed \({path} is 2\.10\.29\)"):
        find_nats_server()


def test_nats_server_accepts_the_configuration_and_it_syncs_every_message(tmp_path):
    config = write_config(ServerSettings(tmp_path / 'with "quotes" and spaces', max_file_store_bytes=12_345_678))
    subprocess.run([find_nats_server(), "-t", "-c", config], check=True, capture_output=True)
    text = config.read_text()
    assert "sync_interval: always" in text
    assert "max_file_store: 12345678" in text
    assert text.count("127.0.0.1:") == 2


def test_the_same_ports_are_taken_at_the_next_start(tmp_path):
    settings = ServerSettings(tmp_path)
    write_config(settings)
    first = endpoints_of(settings)
    write_config(settings)
    assert endpoints_of(settings) == first


async def test_a_new_port_is_taken_when_somebody_has_the_old_one(tmp_path):
    settings = ServerSettings(tmp_path)
    write_config(settings)
    first = endpoints_of(settings)
    listeners = await trio.open_tcp_listeners(int(first.url.rpartition(":")[2]), host="127.0.0.1")
    write_config(settings)
    assert endpoints_of(settings).url != first.url
    await listeners[0].aclose()


def test_a_port_that_was_asked_for_is_used(tmp_path):
    settings = ServerSettings(tmp_path, port=4567)
    write_config(settings)
    assert endpoints_of(settings).url == "nats://127.0.0.1:4567"


async def test_readiness_is_refused_after_the_deadline(tmp_path):
    settings = ServerSettings(tmp_path)
    write_config(settings)
    with pytest.raises(BusDown, match="not ready"):
        await wait_ready(settings, within_s=0.2)


async def test_a_stranger_on_the_port_is_not_our_server(nats_server: RunningServer, tmp_path):
    port = int(nats_server.url.rpartition(":")[2])
    settings = ServerSettings(tmp_path, port=port)
    write_config(settings)
    with pytest.raises(BusDown, match="belongs to another"):
        await wait_ready(settings, within_s=2)


async def test_a_server_that_runs_is_ready_and_known_by_its_pid(nats_server: RunningServer):
    endpoints = await wait_ready(nats_server.settings)
    assert endpoints.pid == nats_server.process.pid
    assert endpoints.url == nats_server.url


@pytest.mark.slow
async def test_after_a_kill_the_server_is_back_at_the_same_port(own_server: RunningServer):
    async with NatsDialer(own_server.url).connect() as bus:
        revision = await bus.kv_put("bucket", "key", b"value")
    own_server.kill()
    own_server.argv = server_argv(own_server.settings)
    own_server.start()
    endpoints = await wait_ready(own_server.settings)
    assert endpoints.url == own_server.url
    async with NatsDialer(endpoints.url).connect() as bus:
        entry = await bus.kv_get("bucket", "key")
    assert entry is not None
    assert (entry.value, entry.revision) == (b"value", revision)


def test_a_smaller_environment_does_not_shrink_the_store_under_its_streams(tmp_path):
    """Mutant: size the store by today's settings; an older stream's reservation then left no room, and nothing was kept."""
    write_config(ServerSettings(tmp_path, max_file_store_bytes=3_000_000_000))
    text = write_config(ServerSettings(tmp_path, max_file_store_bytes=1_500_000_000)).read_text()
    assert "max_file_store: 3000000000" in text
