"""Lines of the log: what they carry, and what they must not."""

from __future__ import annotations

import json
import logging

import pytest
import structlog
from tests.cli.test_terminal import HOSTILE, harmless

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
    structlog.get_logger("x").warning("notification_failed", _event="team/e1", org="acme")
    line = json.loads(capsys.readouterr().err)
    assert (line["msg"], line["event"], line["org"], line["level"]) == (
        "notification_failed",
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


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_terminal_obeys_nothing_that_others_wrote(configured, capsys, log_format, text):
    configured(log_format, "info")
    structlog.get_logger("x").warning("notification_failed", _event=text, error=f"550 {text}")
    logging.getLogger("kopf").error("failed: %s", text)
    try:
        int(f"{text} is no number")
    except ValueError as error:
        error.add_note(text)
        structlog.get_logger("x").exception("failed")
    shown = capsys.readouterr().err
    assert "notification_failed" in shown
    assert harmless(shown)


def test_nobody_writes_a_line_of_the_log_by_a_line_break(configured, capsys):
    configured("text", "info")
    structlog.get_logger("x").warning("failed", error="a\n2026-01-01 [info] all is well")
    assert len(capsys.readouterr().err.splitlines()) == 1
