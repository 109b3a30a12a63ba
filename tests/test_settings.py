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


@pytest.mark.parametrize(
    "text",
    ["user:S3cret@proxy:3128", "http://user:S3cret@", "http://u:S3cret@[::1", "http://u:S3cret@h:99999"],
)
def test_a_proxys_password_is_in_no_error_and_no_repr(text):
    with pytest.raises(SettingsError, match="PIPEBELL_HTTPS_PROXY: is not a proxy's URL") as caught:
        Settings.from_env({"PIPEBELL_HTTPS_PROXY": text})
    assert "S3cret" not in str(caught.value)
    settings = Settings.from_env({"PIPEBELL_HTTPS_PROXY": "http://user:S3cret@proxy:3128"})
    assert "S3cret" not in repr(settings)


@pytest.mark.parametrize("variable", ["NAMESPACE", "WATCH_NAMESPACES", "SHARED_NAMESPACES"])
@pytest.mark.parametrize("text", ["Data", "a.b", "a" * 64, "-a", "a/b"])
def test_what_is_no_namespace_is_refused(variable, text):
    with pytest.raises(SettingsError, match=f"PIPEBELL_{variable}=.*no namespace's name"):
        Settings.from_env({f"PIPEBELL_{variable}": text})


@pytest.mark.parametrize("kind", ["googleChat", "google_chat"])
def test_hosts_of_a_kind_in_either_spelling(kind):
    settings = Settings.from_env({"PIPEBELL_ALLOWED_HOSTS": f"{kind}=chat.example"})
    assert settings.hosts.allowed == {"googleChat": ("chat.example",)}


def test_hosts_of_a_kind_that_there_is_not():
    with pytest.raises(SettingsError, match=r"'opsgenie' is no kind of destination; there are: .*jsm"):
        Settings.from_env({"PIPEBELL_ALLOWED_HOSTS": "opsgenie=api.opsgenie.com"})
