"""A wrong setting stops the start with one clear line."""

import subprocess
import sys

import pytest

from pipebell.certificates import Authority
from pipebell.core.errors import SettingsError
from pipebell.settings import Settings


def test_a_ca_file_that_cannot_be_used_is_refused_by_its_variable(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(Authority("a").certificate[:200])
    with pytest.raises(SettingsError, match=r"PIPEBELL_CA_FILE='.*ca\.pem': is cut short"):
        Settings.from_env({"PIPEBELL_CA_FILE": str(path)})
    path.write_bytes(Authority("a").certificate)
    assert Settings.from_env({"PIPEBELL_CA_FILE": str(path)}).ca_file == str(path)


def test_the_start_stops_with_one_line(tmp_path):
    path = tmp_path / "ca.pem"
    path.write_bytes(Authority("a").server().key)
    done = subprocess.run(
        [sys.executable, "-m", "pipebell.cli.main", "run", "--ca-file", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "PIPEBELL_CA_FILE" in line
    assert "holds a key and no certificate" in line


@pytest.mark.parametrize("variable", ["PIPEBELL_SLACK_HOSTS", "PIPEBELL_PRIVATE_HOSTS"])
@pytest.mark.parametrize("text", ["*.example.com", "mail.example.com, *", "10.0.*"])
def test_a_wildcard_in_a_list_of_hosts_is_refused(variable, text):
    with pytest.raises(SettingsError, match=f"{variable}=.*wildcard"):
        Settings.from_env({variable: text})
