import email
import os
import re
from dataclasses import replace
from email.policy import default
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.core.messages import make

from pipebell.core.fields import EMAIL
from pipebell.core.outcome import Action, Attempt, OutcomeKind
from pipebell.providers.email import build_message

GOLDEN = Path(__file__).parent / "golden" / "email.eml"
NOW = 1_795_407_342.0
HEADERS = [
    "Subject",
    "From",
    "To",
    "Cc",
    "Reply-To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "X-Pipebell-Delivery",
    "MIME-Version",
    "Content-Type",
]


def test_golden(notification, at, attempt):
    target = at(587, reply_to="team@acme.example", subject_prefix="[CloudAct]")
    raw = build_message(notification, target, attempt, now=NOW).as_bytes()
    if os.environ.get("PIPEBELL_WRITE_GOLDEN"):
        GOLDEN.write_bytes(raw)
    assert raw == GOLDEN.read_bytes()


def test_headers(notification, at, attempt):
    target = at(587, reply_to="team@acme.example", subject_prefix="[CloudAct]")
    raw = build_message(notification, target, attempt, now=NOW).as_bytes()
    message = email.message_from_bytes(raw, policy=default)
    assert message.keys() == HEADERS
    assert message["Subject"] == "[CloudAct] ERROR: Pipeline failed: nightly-orders-load (acme_corp)"
    assert message["From"] == "CloudAct Platform <noreply@cloudact.io>"
    assert message["To"] == "a@example.com, b@example.com"
    assert message["Cc"] == "c@example.com"
    assert message["Reply-To"] == "team@acme.example"
    assert message["Message-ID"] == "<0b54f1c2.email@pipebell.io>"
    assert message["X-Pipebell-Delivery"] == "0b54f1c2.email"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.timestamp() == NOW
    assert message.get_content_type() == "multipart/alternative"
    assert "Größe überschritten" in message.get_body(("plain",)).get_content()
    assert "Größe überschritten" in message.get_body(("html",)).get_content()


def test_everybody_is_named_whoever_is_still_to_be_served(notification, at):
    message = build_message(notification, at(587), Attempt("x", recipients=("c@example.com",)), now=NOW)
    assert message["To"] == "a@example.com, b@example.com"
    assert message["Cc"] == "c@example.com"


def test_neither_cc_nor_reply_to_nor_name_unless_given(notification, at, attempt):
    message = build_message(notification, at(587, cc=(), from_name=None), attempt, now=NOW)
    assert {"Cc", "Reply-To"}.isdisjoint(message.keys())
    assert message["From"] == "noreply@cloudact.io"


def test_an_identity_of_any_letters_makes_one_header(notification, at):
    message = build_message(notification, at(587), Attempt("a\r\nBcc: x@y>.email"), now=NOW)
    assert message["Message-ID"] == "<a--Bcc--x-y-.email@pipebell.io>"


hostile = st.lists(
    st.sampled_from(
        ["\r\n", "\n", "\r", "Bcc: x@example.com", "=?utf-8?q?=0d=0aBcc:_y?=", "\x00", "\ud800", "é", "😀", " "]
    )
    | st.text(max_size=30),
    max_size=30,
).map("".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(pipeline=hostile, message=hostile, sender=st.from_regex(f"^{EMAIL}$", fullmatch=True))
def test_hostile_text_brings_no_header(notification, at, attempt, pipeline, message, sender):
    spec = notification.event.spec.model_copy(update={"pipeline_id": pipeline, "error_message": message})
    told = replace(notification, event=replace(notification.event, spec=spec))
    raw = build_message(told, at(587, from_email=sender, to=(sender,)), attempt, now=NOW).as_bytes()
    assert raw.isascii()
    head, _, _ = raw.partition(b"\r\n\r\n")
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", raw)
    names = re.findall(rb"^([^\s:]+):", head, re.MULTILINE)
    assert [name.decode() for name in names] == [name for name in HEADERS if name != "Reply-To"]
    subject = str(email.message_from_bytes(raw, policy=default)["Subject"])
    assert "\n" not in subject
    assert "\r" not in subject


async def test_nobody_left_to_serve(email, notification, at, sink):
    outcome = await email.send(notification, at(sink.port), Attempt("x", recipients=("gone@example.com",)))
    assert outcome.kind is OutcomeKind.DELIVERED
    assert sink.connections == 0


@pytest.mark.parametrize(
    ("recipients", "served"),
    [
        (None, ("a@example.com", "b@example.com", "c@example.com")),
        (("c@example.com", "a@example.com"), ("a@example.com", "c@example.com")),
        (("c@example.com", "gone@example.com"), ("c@example.com",)),
    ],
)
async def test_the_envelope_is_what_is_left(email, notification, at, sink, recipients, served):
    target = at(sink.port, cc=("c@example.com", "a@example.com"))
    outcome = await email.send(notification, target, Attempt("x", recipients))
    assert outcome.kind is OutcomeKind.DELIVERED
    assert sink.mails[0].recipients == served


def test_a_reply_is_of_the_conversation_of_what_it_answers(at, attempt):
    again = make(replay_of={"name": "first"})
    whole = build_message(make(), at(587), attempt, now=NOW)
    later = replace(attempt, delivery_id="later.email", action=Action.REPLY, handle=whole["Message-ID"])
    reply = build_message(again, at(587), later, now=NOW)
    assert reply["In-Reply-To"] == reply["References"] == whole["Message-ID"] == "<0b54f1c2.email@pipebell.io>"
    assert reply["Subject"] == f"Re: {whole['Subject']}"
    assert "REPLAY of the event first" in reply.get_body(("plain",)).get_content()


@pytest.mark.parametrize("handle", [None, "", "x", "<a@elsewhere.example>", "<a@pipebell.io>\r\nBcc: x@example.com"])
def test_what_is_no_message_of_ours_is_not_answered(at, attempt, handle):
    reply = build_message(make(), at(587), replace(attempt, action=Action.REPLY, handle=handle), now=NOW)
    assert "In-Reply-To" not in reply
    assert not reply["Subject"].startswith("Re:")


async def test_roots_addresses_reach_nobodys_status_and_are_served_all_the_same(email, notification, at, sink):
    target = at(sink.port, hidden=("b@example.com", "c@example.com"))
    sink.refuse("b@example.com", "550 5.1.1 <B@Example.com>: unknown", None)
    sink.refuse("c@example.com", "450 4.2.0 <c@example.com>: greylisted", 1)
    first = await email.send(notification, target, Attempt("x"))
    assert (first.kind, first.accepted) == (OutcomeKind.RETRY, True)
    (late,), (lost,) = first.retry_recipients, first.refused
    assert late.startswith("platform-")
    assert lost != late
    assert not re.search(r"[bc]@example", f"{first}", re.IGNORECASE)
    assert late in first.message
    second = await email.send(notification, target, Attempt("x", recipients=first.retry_recipients))
    assert second.kind is OutcomeKind.DELIVERED
    assert [mail.recipients for mail in sink.mails] == [("a@example.com",), ("c@example.com",)]


async def test_an_organisations_own_addresses_stay_as_they_are(email, notification, at, sink):
    sink.refuse("a@example.com", 450, 1)
    outcome = await email.send(notification, at(sink.port, hidden=("c@example.com",)), Attempt("x"))
    assert outcome.retry_recipients == ("a@example.com",)
