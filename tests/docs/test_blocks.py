"""The README's shell blocks do what it says, typed one after the other; those of every page are at least valid shell.

What is Python compiles. Other pages' blocks: `test_pages.py`.
"""

import ast
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.blocks import PAGES, README, ROOT, blocks

from pipebell.cluster import Cluster, tools
from pipebell.free_port import free_port


@pytest.mark.parametrize("name", PAGES)
def test_shell_blocks_are_shell(name):
    for block in blocks(PAGES[name].read_text(encoding="utf-8"), "bash", "sh"):
        done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block.text}\n{done.stderr}"


@pytest.mark.parametrize("name", PAGES)
def test_python_blocks_compile(name):
    for block in blocks(PAGES[name].read_text(encoding="utf-8"), "python"):
        compile(block.text, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


class Reader:
    """Somebody with a checkout and its virtual environment, who types what the README says."""

    def __init__(self, folder):
        self.folder, self.home = folder / "checkout", folder / "home"
        programs = folder / "programs"
        for made in (self.home, programs):
            made.mkdir()
        leave = shutil.ignore_patterns(".git", ".venv", "build", "dist", ".*_cache", "__pycache__", ".hypothesis")
        shutil.copytree(ROOT, self.folder, ignore=leave)
        for name, program in (("kubectl", tools.kubectl()), ("helm", tools.helm())):
            (programs / name).symlink_to(program)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIPEBELL_", "KUBE", "HELM"))}
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
        self.env = kept | {
            "PATH": os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"])),
            "HOME": str(self.home),
            "XDG_CACHE_HOME": cache,
            "XDG_STATE_HOME": str(folder / "state"),
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say that it should use what is installed
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def type(self, section, **env):
        """Type the blocks of a section into one shell; what they printed."""
        found = [block for block in blocks(README.read_text(encoding="utf-8"), "bash") if block.section == section]
        assert found, f"README.md has no section {section!r} with a block"
        text = "\n".join(block.text for block in found if not block.why_not).replace("8025", str(self.port))
        script = f"set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{text}\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.env | env, capture_output=True, text=True, timeout=400,
            check=False,
        )  # fmt: skip
        log = self.folder / "build" / "operator.log"
        told = log.read_text(encoding="utf-8")[-3000:] if log.exists() else ""
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{told}"
        return done.stdout

    port = free_port()


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return Reader(tmp_path_factory.mktemp("reader"))


def test_every_block_is_run_or_says_why_not():
    run = {"Get it", "Try it on this machine", "Install on your cluster"}
    for block in blocks(README.read_text(encoding="utf-8"), "bash"):
        assert block.section in run or block.why_not, block.text


def test_get_it(reader):
    assert "dist/pipebell-" in reader.type("Get it")


def test_try_it_on_this_machine(reader):
    try:
        printed = reader.type("Try it on this machine")
    finally:
        with contextlib.suppress(OSError):
            subprocess.run(["pipebell", "cluster", "down"], env=reader.env, capture_output=True, check=False)
    assert "Subject: [pipeline_failure]" in printed or "daily-sales" in printed
    assert "email: Delivered" in printed
    assert "X-Pipebell-Delivery" in printed, "the mail server printed the message"
    assert "hold 24 of 24 shards" in printed
    assert "wrong" not in printed


def test_install_on_your_cluster(reader):
    with Cluster.start() as cluster:
        printed = reader.type("Install on your cluster", KUBECONFIG=str(cluster.kubeconfig))
        secret = cluster.kubectl("get", "secret", "-n", "pipebell-system", "pipebell-root-variables", "-o", "json")
        assert "SMTP_PASSWORD" in secret.stdout
        assert cluster.kubectl("get", "-n", "pipebell-system", "deployment/pipebell-operator", "-o", "name").stdout
    assert "STATUS: deployed" in printed
