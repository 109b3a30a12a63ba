import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.core.destinations.huge import HEAD, TAIL, WIDE, answer, hostile, huge, loud, sized
from tests.core.messages import make

from pipebell.core.destinations.jsm import DESCRIPTION, JSM, MESSAGE, URL, JsmTarget, Responder, request
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.vocabulary import Severity

TARGET = JsmTarget(URL, where="jsm", api_key="hidden-key-of-it")


def sent(message, target=TARGET, installation="one", delivery="uid.jsm"):
    return request(message, target, Attempt(delivery, installation=installation))


def alert(message, **options):
    return json.loads(sent(message, **options).body)


def size(text):
    return len(text.encode())


def within_limits(made):
    """https://docs.opsgenie.com/docs/alert-api#create-alert, in bytes."""
    assert 1 <= size(made["message"]) <= MESSAGE
    assert size(made["alias"]) <= 512
    assert size(made["description"]) <= DESCRIPTION
    assert size(made["entity"]) <= 512
    assert size(made["source"]) <= 100
    assert sum(size(key) + size(value) for key, value in made["details"].items()) <= 8000


@pytest.mark.parametrize("sign", [WIDE, "x", "é"])
def test_the_largest_event_fits_and_shows_its_beginning_and_end(sign):
    made = alert(huge(sign))
    within_limits(made)
    assert "…" in made["message"]
    assert HEAD in made["description"]
    assert made["description"].count(TAIL) == 2
    assert re.search(r"… \(cut off: [\d,]+ characters\) …", made["description"])
    assert size(made["description"]) > DESCRIPTION - 100, "the room is used"


def test_the_title_is_cut_at_the_exact_byte():
    around = size("Pipeline failed:  (acme_corp)")
    most = (MESSAGE - around) // 4
    whole, cut = (alert(make(pipeline_id=WIDE * length))["message"] for length in (most, most + 1))
    assert whole == f"Pipeline failed: {WIDE * most} (acme_corp)"
    assert "…" in cut
    assert size(cut) <= MESSAGE


def test_the_description_is_cut_at_the_exact_byte():
    links = size(alert(sized(0))["description"])
    most = (DESCRIPTION - links - len("\n\n")) // 4
    for length, whole in ((most, True), (most + 1, False)):
        made = alert(sized(length))
        assert size(made["description"]) <= DESCRIPTION
        assert ("cut off" not in made["description"]) is whole


@settings(deadline=None, max_examples=60)
@given(pipeline=hostile, run=hostile, message=hostile, detail=hostile, title=hostile)
def test_hostile_text_fits(pipeline, run, message, detail, title):
    made = alert(loud(pipeline, run, message, detail, title))
    within_limits(made)
    assert not any(ord(sign) < 32 for sign in made["message"] + made["entity"])


def test_one_alert_for_a_pipelines_failures_closed_by_its_success():
    first = alert(make())
    assert first["alias"] == alert(make(), delivery="other.jsm")["alias"]
    done = sent(make(event="pipeline_success", error_message=None), delivery="third.jsm")
    assert done.url == f"{URL}/{first['alias']}/close?identifierType=alias"
    assert json.loads(done.body) == {
        "source": "data/acme-7f3a9",
        "note": "Pipeline succeeded: nightly-orders-load (acme_corp)",
    }
    others = [
        alert(make(pipeline_id="other")),
        alert(make(event="data_quality_failure")),
        alert(make(), installation="two"),
        alert(make(test=True)),
    ]
    assert len({first["alias"], *(other["alias"] for other in others)}) == 5


def test_a_test_closes_nothing():
    assert sent(make(event="pipeline_success", test=True)).url == URL


@pytest.mark.parametrize(
    ("severity", "priority"),
    [(Severity.CRITICAL, "P1"), (Severity.ERROR, "P2"), (Severity.WARNING, "P3"), (Severity.INFO, "P5")],
)
def test_severities_are_priorities(severity, priority):
    assert alert(make(severity))["priority"] == priority


def test_who_is_called():
    assert not {"tags", "responders"} & set(alert(make()))
    people = (Responder(type="team", name="Data"), Responder(type="user", name="a@example.com"))
    made = alert(make(), target=replace(TARGET, tags=("a", "b"), responders=people))
    assert made["tags"] == ["a", "b"]
    assert made["responders"] == [{"type": "team", "name": "Data"}, {"type": "user", "username": "a@example.com"}]


def test_the_key_is_sent_and_never_shown():
    assert sent(make()).headers["Authorization"] == "GenieKey hidden-key-of-it"
    assert "hidden" not in repr(TARGET)
    said = answer(JSM, 401, '{"message": "Key format of hidden-key-of-it is bad"}', target=TARGET).message
    assert "Key format of *** is bad" in said
    assert TARGET.endpoint != replace(TARGET, api_key="other").endpoint


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (202, '{"result": "Request will be processed", "requestId": "1"}', OutcomeKind.DELIVERED, ""),
        (401, '{"message": "Could not authenticate", "took": 0.0}', OutcomeKind.PERMANENT, "check apiKey"),
        (402, "", OutcomeKind.PERMANENT, "plan"),
        (403, '{"message": "You are not authorized"}', OutcomeKind.PERMANENT, "check apiKey"),
        (404, "", OutcomeKind.PERMANENT, "no such integration"),
        (
            422,
            '{"message": "Request body is not processable.", "errors": {"responders": "no team"}}',
            OutcomeKind.PERMANENT,
            "check tags and responders (Request body is not processable.; responders: no team)",
        ),
        (429, '{"message": "You are making too many requests!"}', OutcomeKind.PAUSE, "too many"),
        (500, "", OutcomeKind.RETRY, "has a problem"),
        (503, "", OutcomeKind.RETRY, "has a problem"),
        (200, "<html>", OutcomeKind.RETRY, "no success"),
    ],
)
def test_what_answers_mean(status, body, kind, says):
    outcome = answer(JSM, status, body, target=TARGET)
    assert outcome.kind is kind
    assert says in outcome.message
