"""`pipebell run` starts where it has to run: in a container, whose user has no name."""

import kopf
import pytest
from click.testing import CliRunner

from pipebell.cli.main import main
from pipebell.cli.run import run
from pipebell.kube import connection


@pytest.fixture(autouse=True)
def _logging_stays_as_it_is(monkeypatch):
    monkeypatch.setattr("pipebell.logs.set_up_logging", lambda *_: None)


def test_kopf_is_told_who_it_is_and_asks_no_operating_system(monkeypatch):
    asked = []

    async def operator(**options):
        asked.append(options)

    monkeypatch.setattr(kopf, "operator", operator)
    monkeypatch.setattr(connection, "connect", lambda: None)
    assert CliRunner().invoke(run, []).exit_code == 0
    assert asked[0]["identity"] == "pipebell"


def test_a_kubeconfig_that_is_not_there_stops_the_start_with_one_line(monkeypatch, capsys):
    monkeypatch.setenv("KUBECONFIG", "/not/there")
    monkeypatch.setattr("sys.argv", ["pipebell", "run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1] == "Error: KUBECONFIG=/not/there: there is no such file"
