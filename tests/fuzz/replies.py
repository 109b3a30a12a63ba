"""What servers answer: SMTP replies through the tables and outcomes, HTTP answers through every kind's rules."""

from __future__ import annotations

import json

from hypothesis import strategies as st
from multidict import CIMultiDict
from tests.core.messages import make
from tests.fuzz.area import SECRET, keeps_secret, one_line, plain
from tests.fuzz.judges import ATTEMPT, CASES
from tests.fuzz.texts import hostile, json_value, short

from pipebell.core.destinations.email import EmailTarget
from pipebell.core.destinations.http import HttpKind, Response, Sent, classify_response
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.providers import smtp_answers, smtp_outcomes

_TO = tuple(f"{who}@example.com" for who in "abcd")
_MAIL = EmailTarget(
    "mail.example", 587, True, False, "x@example.com", None, _TO, username=f"user-{SECRET}", password=SECRET
)
_WORDS = st.sampled_from(
    [
        *(
            "4.7.0 Try again later",
            "5.1.1 User unknown",
            "Throttling failure",
            "too many recipients",
            "5.5.3 x",
            "4.5.3",
        ),
        *("greylisted", "rate limit exceeded", "not verified", "relay", "a" * 30_000, "9" * 30_000, "limit " * 5_000),
        *(SECRET, f"user-{SECRET} {SECRET}", "grey-" * 4_000, "connection limit limit limit ", "sender " * 5_000),
    ]
)
_reply = st.builds(
    smtp_answers.Reply,
    st.one_of(st.integers(-2, 1_000), st.sampled_from([421, 432, 450, 451, 452, 454, 535, 550, 552, 554])),
    st.lists(st.one_of(_WORDS, hostile(9_000)), max_size=3).map(" ".join),
)
_refused = st.dictionaries(st.sampled_from(_TO), _reply, max_size=4)
_conversation = st.tuples(
    st.sampled_from(list(smtp_answers.Stage)),
    _reply,
    _refused,
    st.lists(st.sampled_from(_TO), max_size=2, unique=True),
    st.booleans(),
)


def judge_outcome(outcome: Outcome, *secrets: str) -> None:
    """An outcome that people and the status can take."""
    assert isinstance(outcome.kind, OutcomeKind)
    one_line(outcome.message)
    assert len(outcome.message) < 8_000
    assert outcome.reason.isalnum() or not outcome.reason
    assert outcome.retry_after is None or 0 <= outcome.retry_after <= 3600
    keeps_secret(repr(outcome), secrets=secrets or (SECRET,))


def _check_smtp(given):
    stage, reply, refused, accepted, handed_over = given
    receipt = smtp_outcomes.Receipt(
        _TO, list(accepted), {who: said for who, said in refused.items() if who not in accepted}
    )
    receipt.handed_over = handed_over
    smtp_answers.throttled(reply)
    smtp_answers.too_many_recipients(reply)
    smtp_answers.too_many_connections(reply)
    assert smtp_answers.rule_for(stage, reply).kind
    one_line(smtp_answers.hint_for(stage, reply))
    assert not set(receipt.lost()) & set(receipt.left())
    for outcome in (
        smtp_outcomes.answered(stage, reply, receipt, "<id@x>", _MAIL),
        smtp_outcomes.settled(receipt, "<id@x>", _MAIL),
        smtp_outcomes.broken(ConnectionError(reply.text[:100].replace(SECRET, "")), receipt, "<id@x>", _MAIL),
        smtp_outcomes.misunderstood(receipt, "<id@x>", _MAIL),
    ):
        judge_outcome(outcome)
        served = {*accepted, *outcome.refused, *outcome.retry_recipients}
        assert served <= set(_TO)
        assert not set(accepted) & {*outcome.refused, *outcome.retry_recipients}, "who has it gets it twice"


_HTTP = [case for case in CASES if isinstance(case.kind, HttpKind)]
_FIELDS = (
    "ok",
    "success",
    "error",
    "errors",
    "message",
    "description",
    "retry_after",
    "parameters",
    "ts",
    "channel",
    "result",
    "message_id",
    "name",
    "thread",
    "status",
    "dedup_key",
    "code",
    "id",
    "global",
    "requestId",
)
_inner = st.dictionaries(st.sampled_from(_FIELDS), json_value, max_size=3)
_body = st.one_of(
    st.dictionaries(st.sampled_from(_FIELDS), json_value | _inner, max_size=5).map(
        lambda value: json.dumps(value).encode()
    ),
    hostile(60_000).map(lambda text: text.encode(errors="replace")),
    st.binary(max_size=300),
    st.sampled_from([b"ok", b"1", b"", b"<html>", b'{"ok":true}', b"[" * 50_000, b'{"ok":' * 20_000, b"9" * 50_000]),
)
_headers = st.dictionaries(
    st.sampled_from(["Retry-After", "Content-Type", "X-RateLimit-Reset-After", "X-Slack-Failure", "Location", "x"]),
    st.one_of(
        short,
        st.integers().map(str),
        st.sampled_from(["inf", "nan", "1e400", "Mon, 01 Jan 0001 00:00:00 -2359", "9" * 400]),
    ),
    max_size=3,
)
_answer = st.tuples(
    st.sampled_from(_HTTP),
    st.one_of(st.integers(100, 999), st.sampled_from([200, 201, 202, 204, 302, 400, 403, 404, 413, 429, 500, 503])),
    _headers,
    _body,
    st.booleans(),
)


def _check_http(given):
    case, status, headers, body, echo = given
    secrets = tuple(word for word in case.target.secrets if len(word) > 8)
    if echo:
        body += " ".join(secrets).encode()
    response = Response(status, CIMultiDict(headers), body, case.target.host)
    judge_outcome(classify_response(case.kind, response, case.target, ATTEMPT.now), *secrets)
    message = make()
    sent = Sent(message, case.target, ATTEMPT, case.kind.request(message, case.target, ATTEMPT))
    following = case.kind.then(sent, response)
    if following is not None:
        assert following.url.isprintable()


AREAS = [
    plain("SMTP replies", 14_000, _conversation, _check_smtp),
    plain("HTTP answers", 13_000, _answer, _check_http),
]
