"""The committed overlays, built as `kubectl apply -k` builds them."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from ruamel.yaml import YAML

from ssmd.environment import load as environment
from ssmd.environment.render import OVERLAYS, render
from ssmd.environment.spec import Environment
from ssmd.settings import DeploySettings

ROOT: Final = Path(__file__).resolve().parents[2]
BASE: Final = ROOT / "k8s/kustomize/base"
NAMES: Final = sorted(path.stem for path in (ROOT / "environments").glob("*.yaml") if path.stem != "demo")
"""Every environment that ships, apart from the one that runs against an invented exchange."""

Document = dict[str, Any]


def shipped(name: str) -> Environment:
    return environment.load(str(ROOT / f"environments/{name}.yaml"))


def overlay(name: str) -> Path:
    return ROOT / OVERLAYS / name


@cache
def built(name: str) -> tuple[Document, ...]:
    """Return the documents of a committed overlay."""
    return build(overlay(name))


def build(folder: Path) -> tuple[Document, ...]:
    done = subprocess.run((*kustomize(), str(folder)), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(YAML(typ="safe").load_all(done.stdout))


def kustomize() -> tuple[str, ...]:
    if shutil.which("kubectl"):
        return ("kubectl", "kustomize")
    if shutil.which("kustomize"):
        return ("kustomize", "build")
    pytest.skip("NO OVERLAY WAS BUILT: neither kubectl nor kustomize is on PATH")


def written(folder: Path, wanted: Environment, deploy: DeploySettings | None = None) -> Path:
    """Write an overlay beside a copy of the base; return its folder."""
    shutil.copytree(BASE, folder / "base")
    target = folder / "overlays" / wanted.name
    for path, text in render(wanted, deploy or DeploySettings()).items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text)
    return target


def of_kind(documents: tuple[Document, ...], *kinds: str) -> Iterator[Document]:
    return (document for document in documents if document["kind"] in kinds)


def name_of(document: Document) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


def templates(documents: tuple[Document, ...]) -> dict[str, Document]:
    """Return the pod template of every workload, by the workload's name."""
    return {name_of(each): each["spec"]["template"] for each in of_kind(documents, "StatefulSet", "Deployment", "Job")}
