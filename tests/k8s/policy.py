"""What must hold for everything that we put into a cluster, as rules over built documents: each gives complaints."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from ssmd import settings
from ssmd.errors import ConfigError
from ssmd.store.s3_access import s3_access
from tests.k8s.overlays import ROOT, Document, name_of, of_kind, templates

Documents = tuple[Document, ...]
Rule = Callable[[Documents], Iterator[str]]

SECRET_NAME: Final = re.compile(r"secret|passw|token|api_?key|access_?key|credential", re.IGNORECASE)
SECRET_TEXT: Final = re.compile(r"^\s*[\w.-]*(secret|passw|token|api_?key)[\w.-]*\s*[:=]\s*\S", re.IGNORECASE)
SECRET_VALUE: Final = re.compile(r"\b([0-9a-f]{32,}|GK[0-9a-f]{24}|[A-Za-z0-9+/]{40,}={0,2})\b")
CLUSTER_WIDE: Final = ("Namespace",)


def documented_secrets() -> set[tuple[str, str]]:
    """Return (secret, key) of every Secret that docs/kubernetes.md tells how to make."""
    text = (ROOT / "docs/kubernetes.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"create secret generic ([\w-]+)(.*)", text)
    return {(name, key) for name, rest in commands for key in re.findall(r"--from-\w+=([\w.-]+)", rest)}


def containers(documents: Documents, *kinds: str) -> Iterator[tuple[str, Document]]:
    for workload, template in templates(documents).items():
        for container in template["spec"]["containers"] if workload.startswith(kinds) else ():
            yield f"{workload}: {container['name']}", container


def secret_files(documents: Documents) -> Iterator[tuple[str, Document, dict[str, tuple[str, str]]]]:
    """Give each container with the files that a Secret gives it: path -> (secret, key)."""
    for workload, template in templates(documents).items():
        volumes = {each["name"]: each["secret"] for each in template["spec"].get("volumes", ()) if "secret" in each}
        for container in template["spec"]["containers"]:
            files = {
                f"{mount['mountPath']}/{item['path']}": (secret["secretName"], item["key"])
                for mount in container.get("volumeMounts", ())
                if (secret := volumes.get(mount["name"]))
                for item in secret["items"]
            }
            yield f"{workload}: {container['name']}", container, files


def texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for each in value.values():
                yield from texts(each)
        case list():
            for each in value:
                yield from texts(each)
        case str():
            yield value


def no_secret(documents: Documents) -> Iterator[str]:
    for document in documents:
        if document["kind"] == "Secret":
            yield f"{name_of(document)}: a Secret is made by hand, never rendered"
        for line in (line for text in texts(document) for line in text.splitlines() if not line.startswith("#")):
            if SECRET_VALUE.search(line) or (document["kind"] == "ConfigMap" and SECRET_TEXT.search(line)):
                yield f"{name_of(document)}: looks like a secret: {line[:40]}"
    for where, container, files in secret_files(documents):
        for variable in container.get("env", ()):
            names_file = variable["name"].endswith("_FILE") and variable.get("value") in files
            if SECRET_NAME.search(variable["name"]) and "value" in variable and not names_file:
                yield f"{where}: {variable['name']} has its value in plain sight"


def references_resolve(documents: Documents) -> Iterator[str]:
    known = {name_of(document) for document in documents}
    for workload, template in templates(documents).items():
        spec = template["spec"]
        for volume in spec.get("volumes", ()):
            if "configMap" in volume and f"ConfigMap/{volume['configMap']['name']}" not in known:
                yield f"{workload}: no ConfigMap {volume['configMap']['name']}"
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and f"PersistentVolumeClaim/{claim}" not in known:
                yield f"{workload}: no PersistentVolumeClaim {claim}"
        account = spec.get("serviceAccountName")
        if account and f"ServiceAccount/{account}" not in known:
            yield f"{workload}: no ServiceAccount {account}"
        mounted = {volume["name"] for volume in spec.get("volumes", ())}
        mounted |= {f"{claim['metadata']['name']}" for claim in _claim_templates(documents, workload)}
        wanted = {mount["name"] for container in spec["containers"] for mount in container.get("volumeMounts", ())}
        yield from (f"{workload}: no volume {name}" for name in sorted(wanted - mounted))


def secrets_are_documented(documents: Documents) -> Iterator[str]:
    documented = documented_secrets()
    for where, container, files in secret_files(documents):
        variables = (each.get("valueFrom", {}).get("secretKeyRef") for each in container.get("env", ()))
        used = [*((each["name"], each["key"]) for each in variables if each), *files.values()]
        for name, key in used:
            if (name, key) not in documented:
                yield f"{where}: docs/kubernetes.md does not say how to make {name}/{key}"


def claims_of_templates_are_made(documents: Documents) -> Iterator[str]:
    """A template cannot grow, so the claim that it stands for is made under the same name."""
    known = {name_of(document) for document in documents}
    for workload in of_kind(documents, "StatefulSet"):
        for claim in workload["spec"].get("volumeClaimTemplates", ()):
            for ordinal in range(workload["spec"]["replicas"]):
                name = f"{claim['metadata']['name']}-{workload['metadata']['name']}-{ordinal}"
                if f"PersistentVolumeClaim/{name}" not in known:
                    yield f"{name_of(workload)}: no PersistentVolumeClaim {name}"


def _claim_templates(documents: Documents, workload: str) -> list[Document]:
    return [
        claim
        for document in of_kind(documents, "StatefulSet")
        if name_of(document) == workload
        for claim in document["spec"].get("volumeClaimTemplates", ())
    ]


def services_meet_one_workload(documents: Documents) -> Iterator[str]:
    pods = templates(documents)
    for service in of_kind(documents, "Service"):
        met = {workload for workload, template in pods.items() if _matches(service["spec"]["selector"], template)}
        if len(met) != 1:
            yield f"{name_of(service)}: its selector matches {sorted(met) or 'no pod'}"
        ports = {port["name"] for workload in met for port in _ports(pods[workload])}
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"{name_of(service)}: no port {port['targetPort']}"


def workloads_own_their_pods(documents: Documents) -> Iterator[str]:
    pods = templates(documents)
    services = {document["metadata"]["name"] for document in of_kind(documents, "Service")}
    for workload in of_kind(documents, "StatefulSet", "Deployment"):
        selector = workload["spec"]["selector"]["matchLabels"]
        met = sorted(name for name, template in pods.items() if _matches(selector, template))
        if met != [name_of(workload)]:
            yield f"{name_of(workload)}: its selector matches {met}"
        if workload["kind"] == "StatefulSet" and workload["spec"]["serviceName"] not in services:
            yield f"{name_of(workload)}: no Service {workload['spec']['serviceName']}"


def _matches(selector: dict[str, str], template: Document) -> bool:
    return bool(selector) and selector.items() <= template["metadata"]["labels"].items()


def _ports(template: Document) -> Iterator[Document]:
    return (port for container in template["spec"]["containers"] for port in container.get("ports", ()))


def images_are_pinned(documents: Documents) -> Iterator[str]:
    for where, container in containers(documents, ""):
        image, colon, tag = container["image"].rpartition(":")
        if not colon or tag == "latest" or not any(map(str.isdigit, tag)):
            yield f"{where}: image {container['image']} names no version"
        if "." in image.split("/")[0]:
            yield f"{where}: image {container['image']} names a registry"


def resources_are_stated(documents: Documents) -> Iterator[str]:
    for where, container in containers(documents, ""):
        for kind in ("requests", "limits"):
            if container.get("resources", {}).get(kind, {}).keys() < {"cpu", "memory"}:
                yield f"{where}: no {kind} of cpu and memory"


def health_is_probed(documents: Documents) -> Iterator[str]:
    for where, container in containers(documents, "StatefulSet", "Deployment"):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe not in container:
                yield f"{where}: no {probe}"
        path = container.get("livenessProbe", {}).get("httpGet", {}).get("path", "")
        if path.endswith("/ready"):
            yield f"{where}: would be restarted because something else is away"


def pods_are_confined(documents: Documents) -> Iterator[str]:
    for workload, template in templates(documents).items():
        spec, pod = template["spec"], template["spec"].get("securityContext", {})
        if spec.get("automountServiceAccountToken") is not False or spec.get("enableServiceLinks") is not False:
            yield f"{workload}: gets a token or variables of other services"
        if pod.get("runAsNonRoot") is not True or pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{workload}: not confined to a user that is not root"
    for where, container in containers(documents, ""):
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        if container.get("securityContext") != wanted:
            yield f"{where}: its securityContext is not {wanted}"


def acknowledged_means_on_disk(documents: Documents) -> Iterator[str]:
    """`nats-server -t` says nothing of this, and the default loses what was acknowledged."""
    found = [text for document in of_kind(documents, "ConfigMap") for text in texts(document) if "jetstream {" in text]
    for text in found or [""]:
        if not re.search(r"^\s*sync_interval: always\b", text, re.MULTILINE):
            yield "nats.conf: no sync_interval: always"


def our_variables_are_settings(documents: Documents) -> Iterator[str]:
    for where, container, files in secret_files(documents):
        ours = dict(_settings_of(container, files))
        if not ours:
            continue
        try:
            loaded = settings.load(variables=ours)
            s3_access(loaded.storage)
        except ConfigError as error:
            yield f"{where}: {error}"
            continue
        ports = {port["containerPort"] for port in container.get("ports", ()) if port["name"] == "ops"}
        http = {f"0.0.0.0:{port['containerPort']}" for port in container.get("ports", ()) if port["name"] == "http"}
        if "SSMD_GATEWAY_LISTEN" in ours and http != {loaded.gateway.listen}:
            yield f"{where}: the gateway listens on {loaded.gateway.listen}, the port named http is {sorted(http)}"
        if "SSMD_OPS_PORT" in ours and ports != {loaded.ops.port}:
            yield f"{where}: /health is on {loaded.ops.port}, the port named ops is {sorted(ports)}"


def _settings_of(container: Document, files: dict[str, tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Give our variables as a container sees them; what comes from a Secret is some word."""
    for variable in container.get("env", ()):
        if variable["name"].startswith("SSMD_"):
            is_there = variable.get("value") in files
            name = variable["name"].removesuffix("_FILE") if is_there else variable["name"]
            yield name, "from-a-secret" if is_there or "valueFrom" in variable else variable["value"]


def the_store_is_one(documents: Documents) -> Iterator[str]:
    """Whoever writes must write where the others read, and a server in the namespace must be there."""
    services = {document["metadata"]["name"] for document in of_kind(documents, "Service")}
    found = {
        where: {each["name"]: each for each in container["env"] if each["name"].startswith("SSMD_STORAGE_")}
        for where, container in containers(documents, "")
        if container.get("command") == ["ssmd"]
    }
    stores = list(found.values())
    for where, store in found.items():
        if store != stores[0]:
            yield f"{where}: another store than that of the others"
        host = urlsplit(store.get("SSMD_STORAGE_ENDPOINT", {}).get("value", "")).hostname or ""
        if not host or ("." not in host and host not in services):
            yield f"{where}: no store, or no Service {host!r}"


def everything_is_in_the_namespace(documents: Documents) -> Iterator[str]:
    namespaces = {document["metadata"]["name"] for document in of_kind(documents, "Namespace")}
    for document in documents:
        if document["kind"] not in CLUSTER_WIDE and {document["metadata"].get("namespace")} != namespaces:
            yield f"{name_of(document)}: not in {namespaces}"


RULES: Final[tuple[Rule, ...]] = (
    no_secret,
    references_resolve,
    secrets_are_documented,
    claims_of_templates_are_made,
    services_meet_one_workload,
    workloads_own_their_pods,
    images_are_pinned,
    resources_are_stated,
    health_is_probed,
    pods_are_confined,
    acknowledged_means_on_disk,
    our_variables_are_settings,
    the_store_is_one,
    everything_is_in_the_namespace,
)
