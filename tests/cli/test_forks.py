"""Forked commands end as processes of their own would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from tests.cli.forks import Forks

from pipebell.version import __version__


@pytest.fixture(scope="module")
def forks():
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture(scope="module")
def environ():
    return {key: value for key, value in os.environ.items() if not key.startswith(("PIPEBELL_", "KUBE"))}


@pytest.mark.parametrize("arguments", [["--version"], ["no-such"], ["validate", "-"], ["history", "--nothing"]])
def test_code_and_output_are_those_of_a_process_of_its_own(forks, environ, arguments, tmp_path):
    given = "kind: Nothing\n"
    command = [sys.executable, "-m", "pipebell.cli.main", *arguments]
    own = subprocess.run(
        command, env=environ, input=given, capture_output=True, text=True, cwd=tmp_path, timeout=90, check=False
    )
    found = forks.run(arguments, env=environ, stdin=given, cwd=tmp_path)
    assert found == (own.returncode, own.stdout, own.stderr)
    assert own.stdout + own.stderr


def test_none_leaves_anything_for_the_next(forks, environ, tmp_path):
    no_home = environ | {"HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "none")}
    code, _, said = forks.run(["history"], env=no_home)
    assert (code, str(tmp_path / "none") in said) == (1, True)
    assert str(tmp_path) not in "".join(forks.run(["history"], env=environ | {"HOME": "/nonexistent"})[1:])
    assert forks.run(["--version"], env=environ)[1] == f"pipebell {__version__}\n"


def test_one_that_hangs_is_ended(forks, environ, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        path = tmp_path / "kubeconfig"
        path.write_text(
            f"clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{server.getsockname()[1]}'}}}}]\n"
            "users: [{name: a, user: {}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n"
        )
        with pytest.raises(subprocess.TimeoutExpired):
            forks.run(["history", "--kubeconfig", path.as_posix()], env=environ, timeout=5)
        server.settimeout(1)
        try:
            asked, _ = server.accept()
        except TimeoutError:  # it was ended before it could ask
            return
        with asked:
            asked.settimeout(60)
            while asked.recv(4096):  # until the command is no more
                pass
