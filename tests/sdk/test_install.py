"""What `pip install pipebell` gives where nothing else is: SDK and plain commands, against a real API server."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pythons import interpreter

from pipebell.certificates import Authority
from pipebell.cluster import Cluster
from pipebell.kubeconfig.context import read

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
        timeout=180,
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
    assert told["spent"] < 0.3

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


RUNS = """
import asyncio, json, signal, sys
from pipebell import pipeline_run

class Slow:
    def __str__(self):
        import time
        time.sleep(30)

async def late():
    async with pipeline_run("acme_corp", "late", timeout=0.2):
        await asyncio.sleep(30)

async def cancelled():
    async with pipeline_run("acme_corp", "cancelled", timeout=30):
        await asyncio.sleep(30)

async def main():
    ended = []
    try:
        await late()
    except TimeoutError:
        ended.append("late")
    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0.1)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        ended.append("cancelled")
    async with pipeline_run("acme_corp", "good", timeout=30, on_success=True, details={"frame": Slow()}):
        pass
    print(json.dumps(ended))

asyncio.run(main())
"""


@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_runs_time_out_on_every_python(version, bare, tmp_path):
    done = execute([bare(version), "-I", "-W", "error", "-c", RUNS], tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["late", "cancelled"]
    specs = [json.loads(path.read_text())["spec"] for path in sorted((tmp_path / "spool").glob("*.json"))]
    assert [(spec["pipelineId"], spec["event"], spec["details"].get("reason")) for spec in specs] == [
        ("late", "pipeline_failure", "timeout"), ("cancelled", "pipeline_failure", "cancelled"),
        ("good", "pipeline_success", None),
    ]  # fmt: skip


@pytest.mark.cluster
@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_a_cluster_whose_certificates_lack_identifiers(version, bare, odd_cluster, tmp_path):
    """Python 3.13 refuses such a CA by default; an unknown one is refused by all."""
    python, path = bare(version), tmp_path / "config"
    path.write_text(odd_cluster.kubeconfig.read_text())
    place = {"KUBECONFIG": str(path)}
    done = execute([python, "-I", "-W", "error", "-c", PROGRAM], tmp_path, **place)
    # The definitions are not there: that the server said so is all that is asked for.
    assert "the cluster does not know PipelineEvents" in done.stdout, (done.stdout, done.stderr)
    stranger = Authority("pipebell-local-cluster", identifiers=False).certificate
    ours = read(str(path)).cluster["certificate-authority-data"]
    path.write_text(path.read_text().replace(ours, base64.b64encode(stranger).decode()))
    done = execute([python, "-I", "-W", "error", "-c", PROGRAM], tmp_path, **place)
    assert "CERTIFICATE_VERIFY_FAILED" in done.stdout or "certificate verify failed" in done.stdout, done.stdout


@pytest.fixture(scope="module")
def odd_cluster():
    with Cluster.start(identifiers=False) as cluster:
        yield cluster
