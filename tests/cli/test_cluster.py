"""`pipebell cluster` as a shell sees it: stdout, stderr, exit code, and what is left behind."""

import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A state folder of one's own, emptied at the end."""
    folder = tmp_path_factory.mktemp("state")
    yield folder
    run(folder, "down", "--all")


def run(home, *arguments, script=None):
    environment = os.environ | {"XDG_STATE_HOME": str(home)}
    command = ["sh", "-c", script] if script else [sys.executable, "-m", "pipebell.cli.main", "cluster", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_up_is_made_for_eval_and_down_leaves_nothing(home):
    pipebell = f"{sys.executable} -m pipebell.cli.main"
    done = run(home, script=f'eval "$({pipebell} cluster up)" && kubectl get namespace default -o name')
    assert (done.returncode, done.stdout) == (0, "namespace/default\n"), done.stderr
    assert "is ready" in done.stderr

    env = run(home, "env")
    assert (env.returncode, env.stderr) == (0, "")
    assert env.stdout == f"export KUBECONFIG={home}/pipebell/clusters/default/kubeconfig\n"

    again = run(home, "up")
    assert (again.returncode, again.stdout) == (0, env.stdout)

    down = run(home, "down")
    assert (down.returncode, down.stdout) == (0, "")
    assert [path for path in home.rglob("*") if path.is_file() or path.is_socket()] == []
    assert str(home) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_without_a_cluster_the_mend_is_one_line(home):
    done = run(home, "env", "--name", "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: there is no cluster 'none': start one with `pipebell cluster up --name none`\n"


def test_down_without_a_cluster_is_no_error(home):
    done = run(home, "down", "--name", "none")
    assert (done.returncode, done.stderr) == (0, "there is no cluster 'none'\n")


def test_a_wrong_name_is_told(home):
    done = run(home, "up", "--name", "My Cluster")
    assert done.returncode == 1
    assert "cannot name a cluster: use lower-case letters" in done.stderr
