"""What answers mean to every kind that posts."""

from dataclasses import replace

import pytest

from pipebell.core.destinations.http import HTTP_RULES, Response, classify_response, retry_after
from pipebell.core.destinations.slack import SLACK, SlackTarget
from pipebell.core.outcome import OutcomeKind

NOW = 1_795_407_342.0  # Mon, 23 Nov 2026 04:15:42 GMT
DELIVERED, RETRY, PERMANENT, PAUSE = OutcomeKind.DELIVERED, OutcomeKind.RETRY, OutcomeKind.PERMANENT, OutcomeKind.PAUSE
TARGET = SlackTarget("https://chat.example/hooks/secretsecret?token=alsosecret", where="slack")

TABLE = [
    (200, "ok", {}, DELIVERED, ""),
    (200, "", {}, DELIVERED, ""),
    (200, '{"ok": true}', {}, DELIVERED, ""),
    (204, "", {}, DELIVERED, ""),
    (202, "queued", {}, DELIVERED, ""),
    (200, '{"ok": false, "error": "no"}', {}, RETRY, "UnexpectedAnswer"),
    (200, ' \n{"success":false}', {}, RETRY, "UnexpectedAnswer"),
    (200, "<!DOCTYPE html><title>Sign in</title>", {}, RETRY, "UnexpectedAnswer"),
    (200, "\n<html><body>Login</body></html>", {}, RETRY, "UnexpectedAnswer"),
    (200, "Sign in", {"content-type": "text/html; charset=utf-8"}, RETRY, "UnexpectedAnswer"),
    (301, "", {}, PERMANENT, "RedirectRefused"),
    (302, "", {}, PERMANENT, "RedirectRefused"),
    (400, "bad", {}, PERMANENT, "Http400"),
    (401, "", {}, PERMANENT, "Http401"),
    (403, "", {}, PERMANENT, "Http403"),
    (404, "", {}, PERMANENT, "Http404"),
    (408, "", {}, RETRY, "Http408"),
    (410, "", {}, PERMANENT, "Http410"),
    (429, "", {}, PAUSE, "Http429"),
    (500, "", {}, RETRY, "Http500"),
    (503, "", {}, RETRY, "Http503"),
    (503, "", {"retry-after": "7"}, PAUSE, "Http503"),
    (599, "", {}, RETRY, "Http599"),
    (100, "", {}, RETRY, "Http100"),
    (777, "", {}, RETRY, "Http777"),
]


def classify(status, body="", headers=None, host="chat.example", target=TARGET):
    return classify_response(SLACK, Response(status, headers or {}, body.encode(), host), target, NOW)


@pytest.mark.parametrize(("status", "body", "headers", "kind", "reason"), TABLE)
def test_what_answers_mean(status, body, headers, kind, reason):
    outcome = classify(status, body, headers)
    assert (outcome.kind, outcome.reason) == (kind, reason)
    assert "<" not in outcome.message
    assert outcome.message.isprintable()
    assert outcome.message or kind is DELIVERED


def test_a_kind_finds_the_receivers_own_words():
    kind = replace(
        SLACK, said=lambda response: response.document["error"], hints={"no_money": "pay the bill"}, first_pause=30.0
    )
    answer = Response(402, {}, b'{"error": "no_money", "padding": "x"}')
    outcome = classify_response(kind, answer, TARGET, NOW)
    assert outcome.message == "402: pay the bill (no_money)"
    busy = classify_response(kind, Response(429, {}, b'{"error": "slow_down"}'), TARGET, NOW)
    assert (busy.retry_after, busy.first_pause) == (None, 30.0)


def test_the_table_is_whole():
    def row(status, body, headers):
        answer = Response(status, headers, body.encode())
        return next((rule for rule in HTTP_RULES if status in rule.statuses and rule.when(answer)), None)

    assert {row(status, body, headers) for status, body, headers, *_ in TABLE} == {*HTTP_RULES, None}


def test_what_a_server_echoes_is_struck_out():
    message = classify(
        400, "bad token=alsosecret secretsecret alsosecret " + TARGET.url + "\r\n\x1b[31m" + "x" * 9999
    ).message
    assert "secretsecret" not in message
    assert "token=alsosecret" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("30", 30.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("1.5", 1.5),
        ("999999", 3600.0),
        ("inf", 3600.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Mon, 23 Nov 2026 04:16:42 GMT", 60.0),
        ("Mon, 23 Nov 2026 04:16:42", 60.0),
        ("Mon, 23 Nov 2026 04:00:00 GMT", 0.0),
        ("Tue, 24 Nov 2026 04:00:00 GMT", 3600.0),
        ("Mon, 99 Nov 2026 04:00:00 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 -2359", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600.0),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after(value, NOW) == seconds
