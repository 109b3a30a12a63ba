"""What `pip install pipebell` gives where nothing else is: SDK and plain commands, against a real API server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pythons import interpreter

REPOSITORY = Path(__file__).parents[2]
NEWEST = f"{sys.version_info.major}.{sys.version_info.minor}"
PROGRAM = """
import json, sys, time
began = time.process_time()
import pipebell
spent = time.process_time() - began
from pipebell import get_sync_notification_service
service = get_sync_notification_service(timeout=10)
receipt = service.notify_pipeline_failure("acme_corp", "daily", "r1", ValueError("boom"))
foreign = sorted({name.partition(".")[0] for name, module in sys.modules.items()
                  if "site-packages" in (getattr(module, "__file__", None) or "")})
print(json.dumps({"state": receipt.state, "reason": receipt.reason, "spent": spent, "packages": foreign}))
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def bare(wheel, tmp_path_factory):
    """An environment with the wheel and nothing else; no index could help."""
    made = {}

    def make(version):
        if version not in made:
            folder = tmp_path_factory.mktemp("bare") / "venv"
            subprocess.run([interpreter(version), "-m", "venv", "--without-pip", folder], check=True)
            python = folder / "bin" / "python"
            pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", wheel]
            subprocess.run([str(part) for part in pip], check=True, capture_output=True)
            made[version] = python
        return made[version]

    return make


def execute(command, tmp_path, **environ):
    clean = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PIPEBELL_SPOOL_DIR": str(tmp_path / "spool"),
        **environ,
    }
    return subprocess.run(
        [str(part) for part in command],
        env=clean,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("version", ["3.10", NEWEST])
def test_the_bare_wheel_sends_to_a_real_cluster(version, bare, cluster, namespace, tmp_path):
    python, kubeconfig = bare(version), str(cluster.kubeconfig)
    place = {"KUBECONFIG": kubeconfig, "PIPEBELL_NAMESPACE_FOR_EVENTS": namespace}
    done = execute([python, "-I", "-W", "error", "-c", PROGRAM], tmp_path, **place)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["state"], told["packages"]) == ("sent", ["pipebell"]), told
    assert told["spent"] < 0.1

    pipebell = python.parent / "pipebell"
    sent = execute([pipebell, "send", "--org", "acme_corp", "-n", namespace, "--message", "by hand"], tmp_path, **place)
    assert sent.returncode == 0, sent.stderr
    ended = execute([pipebell, "exec", "--org", "a", "--pipeline", "p", "--", "sh", "-c", "exit 5"], tmp_path, **place)
    assert (ended.returncode, ended.stderr) == (5, "")
    found = cluster.request("GET", f"/apis/pipebell.io/v1alpha1/namespaces/{namespace}/pipelineevents")["items"]
    assert sorted(item["spec"]["errorMessage"] for item in found) == ["ValueError: boom", "by hand", "exit code 5"]

    other = execute([pipebell, "history"], tmp_path)
    assert other.returncode == 1
    assert other.stderr.startswith("Error: `history` needs ")
    assert not list((tmp_path / "spool").glob("*.json"))
