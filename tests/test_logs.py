"""Lines of the log: what they carry, and what they must not."""

from __future__ import annotations

import json
import logging

import pytest
import structlog

from pipebell.logs import set_up_logging


@pytest.fixture
def configured():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield set_up_logging
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


PASSWORD = "hunter" + "2"  # so that the line of code does not hold it


def fail(password):
    raise RuntimeError("it broke")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_shows_no_local_variables(configured, capsys, log_format):
    configured(log_format, "info")
    try:
        fail(PASSWORD)
    except RuntimeError:
        structlog.get_logger("x").exception("failed")
        logging.getLogger("y").exception("failed too")
    shown = capsys.readouterr().err
    assert "it broke" in shown
    assert PASSWORD not in shown


def test_event_is_the_pipeline_events_name(configured, capsys):
    configured("json", "info")
    structlog.get_logger("x").warning("notification failed", _event="team/e1", org="acme")
    line = json.loads(capsys.readouterr().err)
    assert (line["msg"], line["event"], line["org"], line["level"]) == (
        "notification failed",
        "team/e1",
        "acme",
        "warning",
    )


def test_the_levels_count_for_both_kinds_of_loggers(configured, capsys):
    configured("json", "error")
    structlog.get_logger("x").warning("no")
    logging.getLogger("y").warning("no")
    logging.getLogger("y").error("yes")
    assert [json.loads(line)["msg"] for line in capsys.readouterr().err.splitlines()] == ["yes"]
