"""The table of commands: light, complete, and never a traceback."""

import importlib
import json
import subprocess
import sys

import click
import pytest

from pipebell.cli import group, main
from pipebell.core.errors import PipebellError


@pytest.mark.parametrize("name", list(main.COMMANDS))
def test_every_entry_leads_to_a_command(name):
    if importlib.util.find_spec(main.COMMANDS[name].module) is None:
        pytest.skip("not delivered yet")
    command = group.pipebell.get_command(click.Context(group.pipebell), name)
    assert isinstance(command, click.Command)
    assert command.get_short_help_str()


@pytest.mark.parametrize("name", [None, "send", "exec", "history", "test", "replay", "migrate", "validate", "verify"])
def test_help_exits_with_0_and_says_how(cli, name):
    done = cli(*([name] if name else []), "--help")
    assert done.code == 0
    assert "Usage: pipebell" in done.out


HEAVY = "{'click', 'argparse', 'kopf', 'kubernetes', 'pydantic', 'aiohttp', 'rich', 'jinja2', 'yaml', 'ssl'}"


def test_help_is_light():
    code = (
        "import sys\nfrom pipebell.cli.main import run\nrun(['--help'])\n"
        f"heavy = {HEAVY} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    "arguments",
    [["nope"], ["history", "--nope"], ["send"], ["exec", "--org", "a"], ["replay"], ["validate"], ["preview"]],
)
def test_wrong_usage_exits_with_2(cli, arguments):
    done = cli(*arguments)
    assert done.code == 2
    assert "Error:" in done.err


def test_expected_errors_are_one_line(monkeypatch, capsys):
    def fail(*_):
        raise PipebellError("it is\nso")

    monkeypatch.setattr(group, "run", fail)
    assert main.run(["history"]) == 1
    assert capsys.readouterr().err == "Error: it is so\n"


def test_a_missing_extra_is_one_line_with_the_mend(monkeypatch, capsys):
    monkeypatch.setitem(main.COMMANDS, "run", main.Entry("kopf_is_not_there", "", "operator"))
    assert main.run(["run"]) == 1
    assert capsys.readouterr().err == (
        "Error: `run` needs the package kopf_is_not_there: pip install 'pipebell[operator]'\n"
    )


PLAIN = [name for name, entry in main.COMMANDS.items() if entry.plain]
LIGHT = ["history", "test", "replay", "migrate", "validate", "verify", "completion"]
OPERATOR = {"kopf", "aiohttp", "aiosmtplib", "jinja2", "prometheus_client", "structlog", "aiosmtpd", "cryptography"}
WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from pipebell.cli.main import run
for name in sys.argv[2:]:
    assert run([name, "--help"]) == 0, name
sys.exit(run([sys.argv[1], "--help"]))
"""


def without(packages, *names):
    code = WITHOUT.format(packages=packages)
    return subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)


def test_commands_of_the_cli_extra_need_no_other():
    done = without(OPERATOR, "preview", *LIGHT, *PLAIN)
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("Error: `preview` needs the package ")
    assert done.stderr.endswith(": pip install 'pipebell[operator]'\n")


def test_plain_commands_need_no_package_at_all():
    packages = OPERATOR | {"click", "pydantic", "rich", "yaml", "kubernetes", "httpx", "tenacity"}
    assert {"send", "exec"} <= set(PLAIN)
    done = without(packages, "history", *PLAIN)
    assert done.returncode == 1, done.stderr
    assert done.stderr == "Error: `history` needs the package click: pip install 'pipebell[cli]'\n"


def test_options_may_stand_before_the_command(cli, tmp_path):
    done = cli("-n", "team-x", "--context=c", "--kubeconfig", "/nowhere", "send", "--org", "a", "--spool")
    assert done.code == 0, done.err
    (path,) = (tmp_path / "spool").glob("*.json")
    assert json.loads(path.read_text())["namespace"] == "team-x"


def test_a_value_may_begin_with_a_dash(cli, tmp_path):
    done = cli("send", "--org", "a", "--message", "--boom", "--pipeline", "-1", "--spool", "--kubeconfig", "/nowhere")
    assert done.code == 0, done.err
    (path,) = (tmp_path / "spool").glob("*.json")
    spec = json.loads(path.read_text())["spec"]
    assert (spec["errorMessage"], spec["pipelineId"]) == ("--boom", "-1")


def test_a_mistyped_command_is_guessed(cli):
    done = cli("hystory")
    assert (done.code, done.err.splitlines()[-1]) == (2, "Error: No such command 'hystory'. Did you mean 'history'?")


def test_completion_knows_commands_and_options(cli):
    assert "_pipebell_completion" in cli("completion", "bash").out
    env = {"_PIPEBELL_COMPLETE": "bash_complete", "COMP_WORDS": "pipebell rep", "COMP_CWORD": "1"}
    assert cli(env=env).out.split() == ["plain,replay"]
    env |= {"COMP_WORDS": "pipebell send --ev"}
    env["COMP_CWORD"] = "2"
    assert cli(env=env).out.split() == ["plain,--event"]


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -m pipebell.cli.main --help | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_it_is_a_plugin_of_kubectl(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/kubectl-pipebell"])
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("kubectl pipebell ")
