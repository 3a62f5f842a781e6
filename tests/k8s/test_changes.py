"""What a change of the environment does to what runs: seen on the documents that reach the cluster."""

import pytest
from msgspec.structs import replace

from ssmd.environment.spec import Environment, SymbolEntry
from ssmd.settings import DeploySettings
from tests.environment.test_render import environment, with_feed
from tests.k8s.overlays import Document, build, templates, written
from tests.k8s.policy import RULES

pytestmark = pytest.mark.slow

ETH = SymbolEntry("ETH/USD", "ETHUSD", "l2")


@pytest.fixture
def workloads(tmp_path):
    """Return a function that gives the workloads of an environment, by name: their whole specifications."""

    def of(wanted: Environment, case: str) -> dict[str, Document]:
        return templates(build(written(tmp_path / case, wanted)))

    return of


def test_an_added_symbol_starts_the_bootstrap_job_and_restarts_nothing(workloads):
    before = workloads(environment(), "before")
    after = workloads(with_feed(environment(), symbols=(*environment().spec.feeds["kraken"].symbols, ETH)), "after")
    (old_job,), (new_job,) = before.keys() - after.keys(), after.keys() - before.keys()
    assert old_job.startswith("Job/bootstrap-")
    assert new_job.startswith("Job/bootstrap-")
    assert before.pop(old_job) == after.pop(new_job)
    assert before == after


@pytest.mark.parametrize(
    ("change", "restarts"), [({"shards": 2}, {"connector"}), ({"normalizer": "v2"}, {"connector", "archiver"})]
)
def test_what_a_process_reads_only_at_its_start_restarts_it(workloads, change, restarts):
    before = workloads(environment(), "before")
    after = workloads(with_feed(environment(), **change), "after")
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert changed == {f"StatefulSet/{'connector-kraken' if role == 'connector' else role}" for role in restarts}


def test_two_feeds_are_two_connectors_that_share_nothing(tmp_path):
    one = environment()
    feeds = {"kraken": one.spec.feeds["kraken"], "coin_base": one.spec.feeds["kraken"]}
    documents = build(written(tmp_path, replace(one, spec=replace(one.spec, feeds=feeds))))
    labels = {
        name: pod["metadata"]["labels"]["ssmd/feed"]
        for name, pod in templates(documents).items()
        if "connector" in name
    }
    assert labels == {"StatefulSet/connector-kraken": "kraken", "StatefulSet/connector-coin-base": "coin_base"}
    assert [complaint for rule in RULES for complaint in rule(documents)] == []


ELSEWHERE = DeploySettings(s3_endpoint="https://s3.example.org", s3_region="eu-1")


def test_a_store_outside_of_the_cluster_takes_the_place_of_garage(tmp_path):
    documents = build(written(tmp_path, environment(), ELSEWHERE))
    assert [complaint for rule in RULES for complaint in rule(documents)] == []
    ours = [pod["spec"]["containers"][0]["env"] for name, pod in templates(documents).items() if "nats" not in name]
    told = {
        (each["name"], each.get("value")) for env in ours for each in env if each["name"].startswith("SSMD_STORAGE")
    }
    assert len(ours) == 4
    assert {
        ("SSMD_STORAGE_ENDPOINT", "https://s3.example.org"),
        ("SSMD_STORAGE_REGION", "eu-1"),
        ("SSMD_STORAGE_ACCESS_KEY_ID", None),
        ("SSMD_STORAGE_SECRET_ACCESS_KEY_FILE", "/etc/ssmd-s3/secret-access-key"),
    } == told
    assert not [name for each in documents if "garage" in (name := each["metadata"]["name"])]


def test_another_store_is_another_job_and_restarts_whoever_writes_to_it(workloads, tmp_path):
    before = workloads(environment(), "before")
    after = templates(build(written(tmp_path / "after", environment(), ELSEWHERE)))
    assert {name.partition("-")[0] for name in before.keys() - after.keys()} == {"Job/bootstrap", "StatefulSet/garage"}
    changed = {name for name in before.keys() & after.keys() if before[name] != after[name]}
    assert changed == {"StatefulSet/connector-kraken", "StatefulSet/archiver", "StatefulSet/gateway"}
