"""The key of an on-call receiver's alert, and which messages end it."""

import pytest
from tests.core.messages import make

from pipebell.core.alerts import alert_key, class_of, resolves
from pipebell.core.outcome import Action, Attempt
from pipebell.core.vocabulary import EventType

ATTEMPT = Attempt("uid.x", installation="here")


def test_an_incidents_key_stands_in_the_pipelines_place():
    one, other = make(pipeline_id="a"), make(pipeline_id="b")
    assert alert_key(one, ATTEMPT) != alert_key(other, ATTEMPT)
    grouped = Attempt("uid.x", installation="here", alert="owner=data")
    assert alert_key(one, grouped) == alert_key(other, grouped)
    assert alert_key(one, grouped) != alert_key(one, ATTEMPT)
    assert alert_key(one, Attempt("uid.y", installation="here", alert="a")) == alert_key(one, ATTEMPT)


@pytest.mark.parametrize(
    ("event", "action", "expected"),
    [
        ("pipeline_success", Action.SEND, True),
        ("pipeline_success", Action.ACKNOWLEDGE, False),
        ("pipeline_failure", Action.SEND, False),
        ("pipeline_failure", Action.RESOLVE, True),
        ("pipeline_failure", Action.REPLY, False),
    ],
)
def test_what_ends_an_alert(event, action, expected):
    assert resolves(make(event=event), Attempt("uid.x", action=action)) is expected


def test_a_test_ends_nothing_by_what_happened():
    assert not resolves(make(event="pipeline_success", test=True), ATTEMPT)


def test_the_types_of_one_trouble():
    assert class_of(EventType.DATA_QUALITY_WARNING) == (
        EventType.DATA_QUALITY_FAILURE,
        EventType.DATA_QUALITY_WARNING,
    )
    assert class_of(EventType.PIPELINE_STARTED) == (EventType.PIPELINE_STARTED,)
