"""The demo as a whole, once, on real parts; then every kind of claim, on evidence that was tampered with."""

import copy
import io
from dataclasses import replace

import pytest
from rich.console import Console

from pipebell.demo import Stage, hostility
from pipebell.demo.cast import (
    AFTER_BURST,
    BURST_EVENTS,
    BY_ROOT,
    DISABLED,
    EVERYWHERE,
    FULL,
    HOSTILE,
    NO_ROOT,
    PARTIAL,
    RECOVERED,
    RETRIED,
    STOOD_IN,
    VENDORS,
)
from pipebell.demo.claims import GROUPS, Claim, judge
from pipebell.demo.evidence import OPERATOR, Evidence, Refusal
from pipebell.demo.main import present
from pipebell.demo.scenario import Scenario
from pipebell.demo.show import Show

pytestmark = pytest.mark.cluster


def show():
    return Show(Console(file=io.StringIO(), width=160))


@pytest.fixture(scope="module")
def evidence():
    with Stage() as stage:
        stage.start()
        return Scenario(stage, show().step).play()


def broken(evidence):
    return [claim.text for claim in judge(evidence) if not claim.holds]


def without(items, lost):
    return [item for item in items if item is not lost]


def with_status(evidence, event, **changes):
    events = copy.deepcopy(dict(evidence.events))
    events[event]["status"].update(changes)
    return replace(evidence, events=events)


def test_everything_that_the_demo_claims_is_true(evidence):
    assert broken(evidence) == []
    assert len(judge(evidence)) >= 40


def test_the_operator_came_with_its_own_account_only(evidence):
    assert {entry["user"]["username"] for entry in evidence.audit} == {OPERATOR}


@pytest.mark.parametrize("event", [BY_ROOT, FULL, HOSTILE, RETRIED, PARTIAL, AFTER_BURST, "acme/platform-worker-lost"])
def test_an_email_that_did_not_arrive_is_missed(evidence, event):
    lost = evidence.mails_of(event)[0]
    assert "e-mails that arrived, for each event" in broken(
        replace(evidence, attempts=without(evidence.attempts, lost))
    )


def test_an_email_that_came_twice_is_noticed(evidence):
    twice = replace(evidence, attempts=[*evidence.attempts, evidence.mails_of(FULL)[0]])
    assert "e-mails in all: nothing twice, nothing unasked" in broken(twice)


def test_a_number_in_the_metrics_that_is_wrong_is_noticed(evidence):
    lost = evidence.posts_of("globex/orders-quality")[0]
    told = broken(replace(evidence, requests=without(evidence.requests, lost)))
    assert {"/metrics counts what was delivered, to the number", "and what was attempted"} <= set(told)
    assert "and how events ended" in broken(with_status(evidence, DISABLED, phase="Delivered"))


def test_a_slack_message_that_did_not_arrive_is_missed(evidence):
    lost = evidence.posts_of("globex/orders-quality")[0]
    assert "Slack messages in all" in broken(replace(evidence, requests=without(evidence.requests, lost)))


@pytest.mark.parametrize("kind", VENDORS)
def test_a_request_to_a_vendor_that_is_missing_or_unasked_is_noticed(evidence, kind):
    for posts in (evidence.vendors[kind][1:], [*evidence.vendors[kind], evidence.vendors[kind][0]]):
        told = broken(replace(evidence, vendors={**evidence.vendors, kind: posts}))
        assert {"and its success to PagerDuty", "/metrics counts what was delivered, to the number"} <= set(told)


def test_an_alert_that_is_still_open_is_noticed(evidence):
    alert = replace(evidence.alerts[0], log=["trigger"])
    assert "PagerDuty has one alert, which the success resolved" in broken(replace(evidence, alerts=[alert]))


def test_a_handle_of_another_message_is_noticed(evidence):
    events = copy.deepcopy(dict(evidence.events))
    for entry in events[EVERYWHERE]["status"]["deliveries"]:
        entry["handle"] = "C0DATA/1.1/#data"
    assert "Slack's handle for a thread is on the delivery" in broken(replace(evidence, events=events))


def test_a_stand_in_that_was_none_is_noticed(evidence):
    events = copy.deepcopy(dict(evidence.events))
    for entry in events[STOOD_IN]["status"]["deliveries"]:
        entry.pop("failoverFor", None)
    assert "for PagerDuty, as the delivery says" in broken(replace(evidence, events=events))
    lost = evidence.mails_of(STOOD_IN)[0]
    assert "with the message that PagerDuty would have had" not in broken(evidence)
    assert "e-mails that arrived, for each event" in broken(
        replace(evidence, attempts=without(evidence.attempts, lost))
    )


def test_an_end_in_a_conversation_of_its_own_is_noticed(evidence):
    (last,) = evidence.mails_of(RECOVERED)
    alone = replace(last, raw=last.raw.replace(b"In-Reply-To:", b"X-Was:"))
    attempts = [alone if mail is last else mail for mail in evidence.attempts]
    assert broken(replace(evidence, attempts=attempts)) == ["its e-mails are one conversation"]


def test_a_reply_elsewhere_in_slack_is_noticed(evidence):
    *_, last = (each for each in evidence.shown if "(cyberdyne)" in each.text)
    alone = [*without(evidence.shown, last), replace(last, thread=None)]
    assert broken(replace(evidence, shown=alone)) == [
        "in Slack, everything after the first message is in its thread",
    ]


def test_a_first_message_that_still_says_failed_is_noticed(evidence):
    parent = next(each for each in evidence.shown if "(cyberdyne)" in each.text)
    same = [replace(each, edits=0) if each is parent else each for each in evidence.shown]
    assert broken(replace(evidence, shown=same)) == ["which says now that it has recovered"]


def test_an_incident_whose_alert_stays_open_is_noticed(evidence):
    *others, alert = evidence.alerts
    assert "(cyberdyne)" in alert.summary
    still = [*others, replace(alert, log=["trigger", "acknowledge"])]
    assert broken(replace(evidence, alerts=still)) == ["in PagerDuty it is one alert"]


def test_an_incident_that_is_still_open_is_noticed(evidence):
    ((name, incident),) = evidence.incidents.items()
    status = incident["status"] | {"phase": "Open"}
    still = {name: incident | {"status": status}}
    told = ["three failures of cyberdyne were one incident, taken over and recovered"]
    assert broken(replace(evidence, incidents=still)) == told


def test_a_slack_that_was_asked_again_after_its_404_is_noticed(evidence):
    again = evidence.posts_of(PARTIAL, refused=True)[0]
    assert "Slack was asked once, said 404 and was not asked again" in broken(
        replace(evidence, requests=[*evidence.requests, again])
    )


def test_a_wrong_phase_is_noticed(evidence):
    assert "phases and reasons" in broken(with_status(evidence, DISABLED, reason="NoConfig"))
    assert "phases and reasons" in broken(with_status(evidence, NO_ROOT, phase="Delivered"))


def test_an_attempt_that_came_too_early_is_noticed(evidence):
    first, second, third = evidence.mails_of(RETRIED, refused=True)
    early = replace(third, time=second.time + 1.9)
    attempts = [early if mail is third else mail for mail in evidence.attempts]
    assert broken(replace(evidence, attempts=attempts)) == ["the attempts came after at least 1 s and 2 s"]
    assert second.time - first.time >= 1.0


def test_a_status_that_kept_the_retries_to_itself_is_noticed(evidence):
    assert broken(replace(evidence, seen=evidence.seen[-1:])) == [
        "in between, status showed the attempts and the next one's time"
    ]


def test_a_second_delivery_of_the_burst_is_noticed(evidence):
    other = next(key for key in BURST_EVENTS if evidence.status(key).get("phase") == "Suppressed")
    told = broken(with_status(evidence, other, phase="Delivered", reason=""))
    assert "of 50 failures, one was sent" in told


def test_a_wrong_sender_of_the_burst_is_noticed(evidence):
    other = next(key for key in BURST_EVENTS if evidence.status(key).get("phase") == "Suppressed")
    assert broken(with_status(evidence, other, suppressedBy="somebody")) == ["the others name it"]


def test_a_message_to_whom_nobody_wanted_to_tell_is_noticed(evidence):
    mail = evidence.mails_of(FULL)[0]
    uid = evidence.events[FULL]["metadata"]["uid"].encode()
    raw = mail.raw.replace(uid, evidence.events[DISABLED]["metadata"]["uid"].encode())
    told = broken(replace(evidence, attempts=[*evidence.attempts, replace(mail, raw=raw)]))
    assert "disabled: not even root is told" in told


@pytest.mark.parametrize("refusal", [Refusal(0, ""), Refusal(1, "no such file"), Refusal(1, "spec.event is wrong")])
def test_a_typo_that_is_not_explained_is_noticed(evidence, refusal):
    assert broken(replace(evidence, typo=refusal)) == [
        "a mistyped event is rejected by a message that names field and value"
    ]


@pytest.mark.parametrize("place", ["log", "status", "message", "notice"])
def test_a_secret_is_found_wherever_it_shows(evidence, place):
    secret = evidence.secrets[0]
    tampered = {
        "log": lambda: replace(evidence, log=f"{evidence.log} {secret}"),
        "status": lambda: with_status(evidence, FULL, message=f"535 {secret}"),
        "notice": lambda: replace(
            evidence, notices=[*evidence.notices, evidence.notices[0] | {"message": f"at {evidence.secrets[-1]}"}]
        ),
        "message": lambda: replace(
            evidence,
            requests=[
                replace(post, body=post.body + secret.encode()) if post is evidence.requests[0] else post
                for post in evidence.requests
            ],
        ),
    }[place]()
    assert "no password and no webhook URL in statuses, Events, logs or messages" in broken(tampered)


def test_a_right_too_many_and_one_too_few_are_noticed(evidence):
    assert broken(replace(evidence, rights=evidence.rights | {"list secrets": True})) == ["and no more"]
    refused = copy.deepcopy(evidence.audit[0]) | {"responseStatus": {"code": 403}}
    assert broken(replace(evidence, audit=[*evidence.audit, refused])) == ["which may all that it needs"]
    assert "the operator worked under its own account" in broken(replace(evidence, audit=[]))


def test_a_second_write_is_noticed(evidence):
    written = next(entry for entry in evidence.audit if entry["objectRef"].get("name") == BY_ROOT.partition("/")[2])
    assert broken(replace(evidence, audit=[*evidence.audit, written])) == [
        "a happy event costs the API server one write (events with one destination)"
    ]


def test_no_evidence_proves_nothing():
    empty = Evidence({}, {}, [], [], Refusal(0, ""), [], [], [], {}, "", "", (), "")
    assert len(broken(empty)) > len(GROUPS)


def test_hostile_text_that_got_through_is_found(evidence):
    (mail,), (post,) = evidence.mails_of(HOSTILE), evidence.posts_of(HOSTILE)
    assert hostility.in_headers(replace(mail, recipients=("everyone@evil.example",)))
    assert hostility.in_headers(replace(mail, raw=b"Bcc: everyone@evil.example\r\n" + mail.raw))
    assert hostility.in_html("<p>&lt;script&gt;</p><script>alert(1)</script>") == ["<script>"]
    assert hostility.in_html('<p onclick="x()">') == ["onclick"]
    payload = copy.deepcopy(post.payload)
    payload["attachments"][0]["blocks"].append({"type": "section", "text": {"text": "<!channel>"}})
    assert hostility.in_slack(payload, allowed="<@U123456>") == ["<!channel>"]
    assert hostility.in_slack(post.payload, allowed="") != []


def test_people_see_what_happened_and_what_did_not(evidence, tmp_path):
    seen = show()
    present(seen, evidence, judge(evidence), tmp_path)
    text = seen.console.file.getvalue()
    for words in (
        "$ kubectl get nc,pe -A",
        "more like these",
        "Subject: [Globex] ERROR: Pipeline failed",
        '"channel": "#pipeline-alerts"',
        "49 of stark/nightly-load-…",
        "Skipped/ConfigDisabled",
        'Unsupported value: "pipeline_failed"',
    ):
        assert words in text
    assert "✗" not in text
    assert not any(secret in text for secret in evidence.secrets)
    assert "<html" in (tmp_path / "email.html").read_text(encoding="utf-8")
    assert (tmp_path / "email.eml").exists()
    assert (tmp_path / "slack.json").exists()


def test_people_see_a_claim_that_does_not_hold_with_both_sides(evidence, tmp_path):
    seen = show()
    lost = replace(evidence, attempts=without(evidence.attempts, evidence.mails_of(FULL)[0]))
    present(seen, lost, judge(lost), tmp_path)
    text = seen.console.file.getvalue()
    assert "✗ e-mails that arrived, for each event" in text
    assert "expected: {'globex/orders-failed': 1}" in text
    assert "seen:     {'globex/orders-failed': 0}" in text


def test_nothing_hostile_reaches_the_terminal():
    seen = show()
    seen.verdict([Claim("x", "good", "\x1b[2J\u202e bad")])
    assert "\x1b" not in seen.console.file.getvalue()
    assert "\u202e" not in seen.console.file.getvalue()
