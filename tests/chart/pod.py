"""The Deployment's pod as a process: its own arguments, environment and mounts, and its ServiceAccount's token.

What only a kubelet could provide is mapped: the port to a free one, and mount paths to folders with the same files.
"""

import base64
import json
from pathlib import Path

from tests.chart.helm import NAMESPACE

from pipebell.demo.process import OperatorProcess


def get(plane, kind, name, namespace):
    return json.loads(plane.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout)


def operator_of(plane, folder: Path, *, release="pipebell", namespace=NAMESPACE) -> OperatorProcess:
    """The operator of a release, not started yet."""
    pod = get(plane, "deployment", f"{release}-operator", namespace)["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["args"] == ["run"], "what OperatorProcess runs"
    environment = _environment(plane, container, namespace)
    for mount, directory in _mounts(plane, pod, container, folder, namespace).items():
        environment = {name: value.replace(mount, str(directory)) for name, value in environment.items()}
    assert environment.pop("PIPEBELL_HTTP_PORT") == str(container["ports"][0]["containerPort"])
    kubeconfig = plane.kubeconfig_for_service_account(namespace, pod["serviceAccountName"])
    return OperatorProcess(kubeconfig, environment, folder / "operator.log")


def _environment(plane, container, namespace):
    found = {}
    for source in container.get("envFrom", ()):
        reference = source["secretRef"]
        secret = plane.kubectl("get", "secret", reference["name"], "-n", namespace, "-o", "json", check=False)
        if secret.returncode:
            assert reference["optional"], secret.stderr
            continue
        data = json.loads(secret.stdout)["data"]
        found |= {key: base64.b64decode(value).decode() for key, value in data.items()}
    for item in container["env"]:
        if "value" in item:
            found[item["name"]] = item["value"]
        else:
            assert item["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"
            found[item["name"]] = namespace
    return found


def _mounts(plane, pod, container, folder, namespace):
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    made = {}
    for number, mount in enumerate(container["volumeMounts"]):
        volume = volumes[mount["name"]]
        if "configMap" not in volume:
            continue
        directory = folder / f"mount-{number}"
        directory.mkdir(exist_ok=True)
        data = get(plane, "configmap", volume["configMap"]["name"], namespace)["data"]
        for item in volume["configMap"]["items"]:
            (directory / item["path"]).write_text(data[item["key"]], encoding="utf-8")
        made[mount["mountPath"]] = directory
    return made
