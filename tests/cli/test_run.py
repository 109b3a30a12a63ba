"""`pipebell run` starts where it has to run: in a container, whose user has no name."""

import kopf
from click.testing import CliRunner

from pipebell.cli.run import run


def test_kopf_is_told_who_it_is_and_asks_no_operating_system(monkeypatch):
    asked = []

    async def operator(**options):
        asked.append(options)

    monkeypatch.setattr(kopf, "operator", operator)
    assert CliRunner().invoke(run, []).exit_code == 0
    assert asked[0]["identity"] == "pipebell"
