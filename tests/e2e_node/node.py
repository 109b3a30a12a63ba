"""The cluster that the end-to-end tests use, and how images are built and brought into it.

Any cluster: KUBECONFIG, PIPEBELL_E2E_BUILD (default `docker build`; gets the arguments of `docker build`) and
PIPEBELL_E2E_LOAD (for example `kind load docker-image`; gets the image's name). Without these, the one-node Kubernetes
of PIPEBELL_E2E_NODE (default ../shared/node, if it is there and has been built) is started, and ended afterwards.
"""

import json
import os
import shlex
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
OPERATOR, SINKS = "pipebell-e2e:1", "pipebell-e2e-sinks:1"


class CommandError(Exception):
    """What a command said when it failed."""


def run(*command, check=True, text=None, env=None):
    done = subprocess.run(
        [str(part) for part in command],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=REPOSITORY,
    )
    if check and done.returncode != 0:
        raise CommandError(f"{' '.join(map(str, command))}: {done.stderr[-3000:]}{done.stdout[-1000:]}")
    return done


class AnyCluster:
    """A cluster that somebody else brought up."""

    def __init__(self):
        self.kubeconfig = os.environ["KUBECONFIG"]
        self._build = shlex.split(os.environ.get("PIPEBELL_E2E_BUILD", "docker build"))
        self._load = shlex.split(os.environ["PIPEBELL_E2E_LOAD"])

    def build(self, *arguments):
        run(*self._build, *arguments)

    def load(self, image):
        run(*self._load, image)

    def close(self):
        """It is not ours to end."""


class Node:
    """The one-node Kubernetes of a folder, started here."""

    def __init__(self, program):
        self._program = program
        run(program, "base")
        said = run(program, "up").stdout
        self.kubeconfig = said.strip().removeprefix("export KUBECONFIG=")

    def build(self, *arguments):
        run(self._program, "bud", *arguments)

    def load(self, image):
        run(self._program, "load", image)

    def close(self):
        run(self._program, "down")


def find():
    """The cluster to use, or why there is none."""
    if os.environ.get("PIPEBELL_E2E_LOAD"):
        return AnyCluster()
    folder = Path(os.environ.get("PIPEBELL_E2E_NODE", REPOSITORY.parent / "shared" / "node"))
    home = Path(os.environ.get("NODE_HOME", Path.home() / ".cache" / "k8s-node"))
    if not (folder / "node").exists():
        return f"no cluster: set KUBECONFIG and PIPEBELL_E2E_LOAD, or PIPEBELL_E2E_NODE ({folder} is not there)"
    if os.geteuid() != 0:
        return f"{folder} needs root"
    if not (home / "images" / "coredns.tar").exists():
        return f"not built yet: {folder}/node build"
    if run(folder / "node", "status", check=False).returncode == 0:
        return "a node is up already, and is somebody else's"
    return Node(folder / "node")


class Kube:
    """kubectl against the cluster."""

    def __init__(self, kubectl, kubeconfig):
        self._command = (kubectl, "--kubeconfig", kubeconfig)

    def __call__(self, *arguments, text=None, check=True):
        return run(*self._command, *arguments, text=text, check=check).stdout

    def json(self, *arguments):
        return json.loads(self(*arguments, "-o", "json"))

    def apply(self, *documents):
        """Apply objects in one go."""
        return self("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))
