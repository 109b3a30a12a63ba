"""Helm, as users run it, and what it renders."""

import copy
import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path

import yaml

from pipebell.cluster import tools

#: libyaml: the definitions are long, and Python's own parser takes six times as long for them.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "pipebell"
NAMESPACE = "pipebell-system"
OLDEST = "1.32.0"


class HelmError(Exception):
    """What helm said on standard error."""


def helm(*arguments, values=None, kubeconfig=None):
    """Run helm; what it printed. Raises HelmError."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "HELM"))}
    if kubeconfig:
        environment["KUBECONFIG"] = str(kubeconfig)
    command = [str(tools.helm()), *map(str, arguments)]
    if values is not None:
        command += ["--values", "-"]
    done = subprocess.run(
        command, env=environment, input=yaml.safe_dump(values or {}), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise HelmError(done.stderr + done.stdout)
    return done.stdout


def render_text(values=None, *arguments, **options):
    return _rendered(json.dumps(values or {}), *arguments, **options)


@cache
def _rendered(values, *arguments, release="pipebell", namespace=NAMESPACE):
    return helm(
        "template",
        release,
        CHART,
        "--namespace",
        namespace,
        "--kube-version",
        OLDEST,
        *arguments,
        values=json.loads(values),
    )


def documents(text):
    """Each document's text, the same ones of several renderings once."""
    return list(dict.fromkeys(re.split(r"^---$", text, flags=re.MULTILINE)))


@cache
def _document(text):
    """Nearly all of a rendering are the definitions, which are the same each time; nobody changes what was parsed."""
    return yaml.load(text, Loader=LOADER)


class Rendering:
    """Rendered objects, found by kind and name."""

    def __init__(self, text):
        self.objects = [found for found in map(_document, documents(text)) if found]

    def all(self, kind):
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind, name=None):
        found = [item for item in self.all(kind) if name in (None, item["metadata"]["name"])]
        assert len(found) == 1, f"{kind} {name or ''}: {[item['metadata']['name'] for item in self.all(kind)]}"
        return found[0]

    @property
    def kinds(self):
        return {item["kind"] for item in self.objects}

    @property
    def template(self):
        return self.one("Deployment")["spec"]["template"]

    @property
    def pod(self):
        return self.template["spec"]

    @property
    def container(self):
        return self.pod["containers"][0]

    @property
    def env(self):
        return {item["name"]: item.get("value", item.get("valueFrom")) for item in self.container["env"]}

    @property
    def test_pod(self):
        return self.one("Pod")


def render(values=None, **options):
    return Rendering(render_text(values, **options))


def nested(path, value):
    """`nested("a.b", 1)` is `{"a": {"b": 1}}`."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def defaults():
    return copy.deepcopy(_defaults())


@cache
def _defaults():
    return yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
