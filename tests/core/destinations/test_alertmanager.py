import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from tests.core.destinations.huge import HEAD, TAIL, WIDE, answer, hostile, huge, loud, sized
from tests.core.destinations.test_kinds import org, root
from tests.core.messages import make

from pipebell.core.destinations.alertmanager import ALERTMANAGER, DESCRIPTION, AlertmanagerTarget, form, request
from pipebell.core.errors import NotReady
from pipebell.core.layers import Layers
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.vocabulary import Severity

URL = "https://alertmanager.example.com"
TARGET = AlertmanagerTarget(f"{URL}/api/v2/alerts", where="alertmanager", labels=(("team", "data"),))
NOW = 1_795_407_400.0  # 58 seconds after the typical event


def sent(message, target=TARGET, **options):
    options = {"now": NOW, "expires": NOW + 3600} | options
    return json.loads(request(message, target, Attempt("uid.alertmanager", **options)).body)


def target(**spec):
    return Layers(org({"alertmanager": {"url": URL} | spec}), None).target("alertmanager")


def test_an_alert_is_known_by_labels_that_are_the_same_at_every_run():
    (first,) = sent(make())
    (again,) = sent(make(pipeline_logging_id="another", error_message="another", attempt=3), now=NOW + 9)
    assert first["labels"] == again["labels"]
    assert first["labels"] == {
        "alertname": "PipelineFailure",
        "namespace": "data",
        "org": "acme_corp",
        "pipeline": "nightly-orders-load",
        "severity": "error",
        "team": "data",
    }
    assert first["generatorURL"] == "https://console.example.com/runs/7?tab=logs&level=error"
    assert first["annotations"]["summary"] == "Pipeline failed: nightly-orders-load (acme_corp)"


def test_it_fires_until_its_event_is_history():
    (alert,) = sent(make())
    assert (alert["startsAt"], alert["endsAt"]) == ("2026-11-23T04:15:42.000000Z", "2026-11-23T05:16:40.000000Z")
    (early,) = sent(make(occurred_at="2099-01-01T00:00:00Z"))
    assert early["startsAt"] == "2026-11-23T04:16:40.000000Z", "never later than its end"
    (started,) = sent(make(event="pipeline_started"))
    assert started["endsAt"] == "2026-11-23T04:21:40.000000Z"
    (late,) = sent(make(), expires=NOW - 10)
    assert late["endsAt"] > late["startsAt"]


def test_a_success_ends_the_failure_of_whatever_severity():
    ended = sent(make(event="pipeline_success", severity=Severity.INFO, error_message=None))
    labels = [alert["labels"] for alert in ended]
    for severity in Severity:
        (failure,) = sent(make(severity))
        assert failure["labels"] in labels
    assert all(alert["startsAt"] < alert["endsAt"] == "2026-11-23T04:16:40.000000Z" for alert in ended)
    (other,) = sent(make(event="data_quality_failure"))
    assert other["labels"] not in labels


def test_a_test_is_an_alert_of_its_own_and_ends_nothing():
    (test,) = sent(make(test=True))
    assert test["labels"]["test"] == "true"
    assert len(sent(make(event="pipeline_success", test=True))) == 1


def test_pipebells_own_labels_win():
    (alert,) = sent(make(), replace(TARGET, labels=(("severity", "page"), ("empty", ""), ("a_b", "x"))))
    assert (alert["labels"]["severity"], alert["labels"]["a_b"]) == ("error", "x")
    assert "empty" not in alert["labels"]


@pytest.mark.parametrize("sign", [WIDE, "x"])
def test_the_largest_event_fits_and_shows_its_beginning_and_end(sign):
    (alert,) = sent(huge(sign))
    annotations = alert["annotations"]
    assert all(len(text.encode()) <= DESCRIPTION for text in annotations.values())
    assert HEAD in annotations["description"]
    assert TAIL in annotations["description"]
    assert "cut off" in annotations["description"]
    assert len(alert["labels"]["pipeline"].encode()) <= 1024


def test_the_description_is_cut_at_the_exact_byte():
    most = DESCRIPTION // 4
    whole, cut = (sent(sized(length))[0]["annotations"]["description"] for length in (most, most + 1))
    assert whole == WIDE * most
    assert "cut off" in cut
    assert len(cut.encode()) <= DESCRIPTION


@settings(deadline=None, max_examples=60)
@given(pipeline=hostile, run=hostile, message=hostile, detail=hostile, title=hostile)
def test_hostile_text_is_text(pipeline, run, message, detail, title):
    (alert,) = sent(loud(pipeline, run, message, detail, title))
    assert all(text and not re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", text) for text in alert["labels"].values())


def test_where_it_is_posted():
    for url in (URL, f"{URL}/", f"{URL}/api/v2/alerts"):
        assert target(url=url).url == f"{URL}/api/v2/alerts"
    assert target(url=f"{URL}:9093/prefix/").url == f"{URL}:9093/prefix/api/v2/alerts"
    assert form(target().url) is None
    assert "v1" in form(target(url=f"{URL}/api/v1/alerts").url)


def test_logins():
    def authorization(**spec):
        return request(make(), target(**spec), Attempt("x")).headers.get("Authorization")

    assert authorization() is None
    assert authorization(username="me", password="hidden") == "Basic bWU6aGlkZGVu"
    assert authorization(bearerToken="hidden") == "Bearer hidden"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"username": "me"}, "password is not set"),
        ({"password": "x"}, "username is not set"),
        ({"username": "me", "password": "x", "bearerToken": "y"}, "not both"),
        ({"bearerToken": "a\nX-Evil: b"}, "printable ASCII"),
        ({"username": "mé", "password": "x"}, "printable ASCII"),
        ({"url": "http://am", "username": "me", "password": "x"}, "never sent without TLS"),
        ({"url": "http://am", "bearerToken": "x"}, "never sent without TLS"),
    ],
)
def test_logins_that_cannot_be_used_say_why(spec, says):
    with pytest.raises(NotReady) as caught:
        target(**spec)
    assert says in caught.value.message
    assert caught.value.message.startswith("alertmanager")


@pytest.mark.parametrize("echo", ["hidden-password", "bWU6aGlkZGVuLXBhc3N3b3Jk"])
def test_the_login_never_shows(echo):
    found = target(username="me", password="hidden-password")
    outcome = answer(ALERTMANAGER, 401, f"no {echo} here", target=found)
    assert echo not in outcome.message + repr(found)


def test_roots_may_be_http():
    found = Layers(None, root({"alertmanager": {"url": "http://alertmanager.monitoring:9093"}})).target("alertmanager")
    assert (found.url, found.trusted) == ("http://alertmanager.monitoring:9093/api/v2/alerts", True)


# https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml: 200, 400 (a JSON text), 500
@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (200, "", OutcomeKind.DELIVERED, ""),
        (400, '"start time must be before end time"', OutcomeKind.PERMANENT, "(start time must be before end time)"),
        (
            400,
            '{"code": 602, "message": "0.labels in body is required"}',
            OutcomeKind.PERMANENT,
            "(0.labels in body is",
        ),
        (401, "Unauthorized", OutcomeKind.PERMANENT, "login is not valid"),
        (403, "", OutcomeKind.PERMANENT, "may not post"),
        (404, "", OutcomeKind.PERMANENT, "check url"),
        (413, "", OutcomeKind.PERMANENT, "too large"),
        (429, "", OutcomeKind.PAUSE, "too many"),
        (500, '"internal"', OutcomeKind.RETRY, "has a problem"),
        (503, "", OutcomeKind.RETRY, "has a problem"),
        (200, "<html>Sign in</html>", OutcomeKind.RETRY, "no success"),
        (302, "", OutcomeKind.PERMANENT, "redirects"),
    ],
)
def test_what_answers_mean(status, body, kind, says):
    outcome = answer(ALERTMANAGER, status, body, target=TARGET)
    assert outcome.kind is kind
    assert says in outcome.message
