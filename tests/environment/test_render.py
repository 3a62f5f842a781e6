import pathlib
from typing import get_type_hints

import msgspec
import pytest
from msgspec.structs import replace
from ruamel.yaml import YAML

from ssmd import __version__
from ssmd.actors import symbol_watcher
from ssmd.environment import load
from ssmd.environment import render_sizes as sizes
from ssmd.environment.render import HOT_FIELDS, StaleFile, render, stale_files
from ssmd.environment.render_yaml import on_one_line, to_yaml
from ssmd.environment.spec import Environment, JetStreamEntry, SymbolEntry
from ssmd.errors import ConfigError
from ssmd.records import FeedConfig
from ssmd.settings import DeploySettings, Settings
from ssmd.supervisor import HealthBoard
from ssmd.supervisor.spec import longest_drain_s
from ssmd.trees import RoleSpec, archiver, connector, local_world
from ssmd.trees.system import STORE_HEADROOM
from tests.actors.fakes import BTC

DEPLOY = DeploySettings()


def environment(**feed: object) -> Environment:
    """Return an environment with one feed and one symbol; `feed` are further fields of the feed."""
    symbols = [{"name": "BTC/USD", "internal": "BTCUSD", "depth": "l2"}]
    buckets = {
        "raw": {"bucket": "ssmd-test-raw", "retention_days": 7},
        "normalized": {"bucket": "ssmd-test-normalized"},
    }
    client = {"client_id": "bot", "name": "A bot", "type": "trading", "feeds": ["kraken"], "symbols": ["*"]}
    spec = {
        "feeds": {"kraken": {"symbols": symbols, **feed}},
        "storage": buckets,
        "jetstream": {"max_bytes": "2GB"},
        "entitlements": [client],
    }
    content = {"apiVersion": "ssmd/v1", "kind": "Environment", "metadata": {"name": "test"}, "spec": spec}
    return msgspec.convert(content, Environment)


def with_feed(before: Environment, **changes: object) -> Environment:
    entry = replace(before.spec.feeds["kraken"], **changes)
    return replace(before, spec=replace(before.spec, feeds={"kraken": entry}))


def named(feed: str) -> Environment:
    one = environment()
    return replace(one, spec=replace(one.spec, feeds={feed: one.spec.feeds["kraken"]}))


def changed_files(after: Environment) -> set[str]:
    old, new = render(environment(), DEPLOY), render(after, DEPLOY)
    return {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}


def documents(text: str) -> list[dict]:
    return list(YAML(typ="safe").load_all(text))


# the texts -----------------------------------------------------------------------------------------------------------


def test_the_same_environment_gives_the_same_bytes():
    again = msgspec.json.decode(msgspec.json.encode(environment()), type=Environment)
    assert render(environment(), DEPLOY) == render(again, DEPLOY)


def test_every_file_says_that_it_is_generated_by_which_command_and_from_what():
    for text in render(environment(), DEPLOY).values():
        first = text.splitlines()[0]
        assert "`ssmd env apply test` from environments/test.yaml" in first
        assert "Do not edit" in first
        assert text.endswith("\n")
        assert "\r" not in text


def test_the_rendered_environment_reads_back_as_the_same_environment(tmp_path):
    path = tmp_path / "environment.yaml"
    path.write_text(render(environment(), DEPLOY)["environment.yaml"])
    assert load.load(str(path)) == environment()


def test_a_symbol_is_one_line_of_the_rendered_environment():
    assert (
        "        - {name: BTC/USD, internal: BTCUSD, depth: l2}\n" in render(environment(), DEPLOY)["environment.yaml"]
    )


@pytest.mark.parametrize(
    "text", ["NO", "on", "y", "1e5", "0x1F", "1:30", "010", "", "~", "null", "a: b", "- a", "*", "#a"]
)
def test_a_text_stays_a_text_for_every_reader_of_yaml(text):
    old = YAML(typ="safe", pure=True)
    old.version = (1, 1)
    written = to_yaml({"key": text, "list": [on_one_line({"a": text})]})
    for reader in (old, YAML(typ="safe", pure=True)):
        assert reader.load(written) == {"key": text, "list": [{"a": text}]}


def test_what_stands_twice_is_written_twice():
    twice = {"a": "b"}
    assert to_yaml({"one": twice, "two": twice}) == "one:\n  a: b\ntwo:\n  a: b\n"


def test_the_specification_has_no_place_for_a_secret():
    structs, names = [Environment], set()
    while structs:
        struct = structs.pop()
        for name, hint in get_type_hints(struct).items():
            names.add(name)
            structs += [part for part in _parts(hint) if isinstance(part, type) and issubclass(part, msgspec.Struct)]
    assert {"feeds", "client_id", "bucket"} <= names  # it did look
    assert not [name for name in names if any(word in name for word in ("secret", "key", "token", "password"))]


def _parts(hint: object) -> list[object]:
    inner = [part for each in getattr(hint, "__args__", ()) for part in _parts(each)]
    return inner or [hint]


# what a change touches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"symbols": ()},
        {"symbols": (SymbolEntry("ETH/USD", "ETHUSD"),)},
        {"enabled": False},
        {"book_depth": 25},
        {"book_interval_ms": 0},
        {"candidate_normalizer": "v2"},
    ],
)
def test_a_hot_change_touches_only_the_config_map_and_the_name_of_the_job(change):
    assert changed_files(with_feed(environment(), **change)) == {"environment.yaml", "bootstrap/kustomization.yaml"}


@pytest.mark.parametrize("change", [{"shards": 2}, {"normalizer": "v2"}])
def test_any_other_field_of_a_feed_restarts_its_connector(change):
    assert "feeds/kraken/connector.yaml" in changed_files(with_feed(environment(), **change))


def test_a_client_reaches_nobody_but_the_config_map():
    one = environment()
    assert changed_files(replace(one, spec=replace(one.spec, entitlements=()))) == {"environment.yaml"}


def test_a_limit_of_the_stream_reaches_whoever_writes_it_and_nats_only_when_its_volume_must_grow():
    one = environment()
    small = replace(one, spec=replace(one.spec, jetstream=JetStreamEntry(max_bytes="4GB")))
    large = replace(one, spec=replace(one.spec, jetstream=JetStreamEntry(max_bytes="40GB")))
    writers = {"environment.yaml", "bootstrap/kustomization.yaml", "workloads.yaml", "feeds/kraken/connector.yaml"}
    assert changed_files(small) == writers
    assert changed_files(large) == {*writers, "limits.conf", "volumes.yaml"}


def test_hot_is_what_the_symbol_watcher_takes():
    before = FeedConfig(symbols=())
    others = replace(
        before,
        symbols=(BTC,),
        enabled=False,
        book_depth=25,
        book_interval_ms=0,
        normalizer="v2",
        shards=2,
        serve_version="v2",
        candidate_normalizer="v2",
    )
    fields = set(FeedConfig.__struct_fields__) - {"revision"}
    assert not [field for field in fields if getattr(others, field) == getattr(before, field)]  # a new one belongs here
    assert {field for field in fields if taken(before, field, others)} == HOT_FIELDS


def taken(before: FeedConfig, field: str, others: FeedConfig) -> bool:
    try:
        symbol_watcher._check_successor(before, replace(before, **{field: getattr(others, field)}))
    except ConfigError:
        return False
    return True


# names, images, sizes ------------------------------------------------------------------------------------------------


def test_a_feed_with_an_underscore_has_a_name_in_kubernetes_and_keeps_its_own():
    files = render(named("my_feed"), DEPLOY)
    patch, _ = documents(files["feeds/my-feed/connector.yaml"])
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "FEED", "value": "my_feed"}]


def test_two_feeds_with_one_name_in_kubernetes_are_refused():
    one = environment()
    entry = one.spec.feeds["kraken"]
    with pytest.raises(ConfigError, match="my_feed, my-feed have one name"):
        render(replace(one, spec=replace(one.spec, feeds={"my_feed": entry, "my-feed": entry})), DEPLOY)


@pytest.mark.parametrize("feed", ["_", "-a", "a_"])
def test_a_feed_that_kubernetes_cannot_name_is_refused(feed):
    with pytest.raises(ConfigError, match=f"feed '{feed}' cannot be a name in Kubernetes"):
        render(named(feed), DEPLOY)


def test_the_image_is_this_version_unless_settings_say_otherwise():
    for deploy, image in (
        (DEPLOY, {"name": "ssmd", "newName": "ssmd", "newTag": __version__}),
        (DeploySettings("example/ssmd", "1.2.3"), {"name": "ssmd", "newName": "example/ssmd", "newTag": "1.2.3"}),
    ):
        (overlay,) = documents(render(environment(), deploy)["kustomization.yaml"])
        assert overlay["images"] == [image]


@pytest.mark.parametrize("deploy", [DeploySettings(tag="latest"), DeploySettings(tag="a b"), DeploySettings("Ssmd")])
def test_an_image_that_may_change_under_its_name_is_refused(deploy):
    with pytest.raises(ConfigError, match=r"deploy\.(tag|image)"):
        render(environment(), deploy)


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("s3.example.org", "eu-1"),
        ("http://key:s3cr3t@host:3900", "garage"),
        ("https://host/bucket", "eu-1"),
        ("https://host?x=1", "eu-1"),
        ("https://host", ""),
        ("https://host", "eu 1"),
        ("", "eu-1"),
    ],
)
def test_half_a_store_and_what_is_no_endpoint_are_refused_without_being_repeated(endpoint, region):
    with pytest.raises(ConfigError, match=r"deploy\.s3_(endpoint|region)") as refused:
        render(environment(), DeploySettings(s3_endpoint=endpoint, s3_region=region))
    assert "s3cr3t" not in str(refused.value)


def test_another_image_is_another_job():
    suffixes = set()
    for tag in ("1.0", "1.1"):
        (job,) = documents(render(environment(), DeploySettings(tag=tag))["bootstrap/kustomization.yaml"])
        suffixes.add(job["nameSuffix"])
    assert len(suffixes) == 2


def test_no_volume_depends_on_the_symbols():
    many = tuple(SymbolEntry(f"S{n}/USD", f"S{n}USD", "l2") for n in range(500))
    assert "volumes.yaml" not in changed_files(with_feed(environment(), symbols=many))


def test_a_volume_holds_what_is_kept_and_has_room_left():
    week = environment()
    assert sizes.connector_volume() == "12Gi"  # 10 GB journal / 0.8
    assert sizes.garage_volume(week, DEPLOY) == "264Gi"  # (7 x 1 GB raw + normalized for ever: 365 x 0.6 GB) / 0.8
    assert sizes.garage_volume(week, DeploySettings(raw_per_day="10GB")) == "2631Gi"


@pytest.mark.parametrize(("limit", "volume"), [("10MB", "8Gi"), ("2GB", "8Gi"), ("5GB", "16Gi"), ("10GB", "32Gi")])
def test_jetstream_may_use_more_than_the_stream_and_less_than_its_volume(limit, volume):
    one = environment()
    limited = replace(one, spec=replace(one.spec, jetstream=JetStreamEntry(max_bytes=limit)))
    assert sizes.nats_volume(limited) == volume
    store_bytes = sizes.file_store_bytes(limited)
    assert store_bytes < int(volume.removesuffix("Gi")) * 2**30
    assert store_bytes >= int(limit[:-2]) * {"MB": 10**6, "GB": 10**9}[limit[-2:]] * STORE_HEADROOM


@pytest.mark.parametrize("shards", [1, 8, 64])
async def test_kubernetes_waits_longer_than_a_drain_may_take(tmp_path, shards):
    wanted = environment(shards=shards)
    spec = RoleSpec("connector", "kraken", wanted, Settings(), "nats://127.0.0.1:1", str(tmp_path), "")
    world, ops_s = local_world(spec), 5
    drains_s = longest_drain_s(connector(spec, world, HealthBoard())) + ops_s
    assert sizes.connector_grace_s(shards) >= drains_s + 5
    drains_s = longest_drain_s(archiver(replace(spec, role="archiver"), world, HealthBoard())) + ops_s
    assert sizes.archiver_grace_s(len(wanted.spec.feeds)) >= drains_s + 5


# stale files ---------------------------------------------------------------------------------------------------------


def test_missing_changed_and_left_over_files_are_stale(tmp_path: pathlib.Path):
    (tmp_path / "feeds/gone").mkdir(parents=True)
    (tmp_path / "feeds/gone/connector.yaml").write_text("x\n")
    (tmp_path / "same.yaml").write_text("a\n")
    (tmp_path / "other.yaml").write_text("b\r\n")
    assert stale_files({"same.yaml": "a\n", "other.yaml": "b\n", "new.yaml": "c\n"}, tmp_path) == (
        StaleFile("feeds/gone/connector.yaml", "extra"),
        StaleFile("new.yaml", "missing"),
        StaleFile("other.yaml", "different"),
    )


def test_everything_is_missing_from_a_folder_that_is_not_there(tmp_path: pathlib.Path):
    assert stale_files({"a.yaml": "a\n"}, tmp_path / "no") == (StaleFile("a.yaml", "missing"),)
