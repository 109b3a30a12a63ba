"""The webhook's own, judged by libraries that are not ours: `standardwebhooks` verifies, `cloudevents` reads."""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime

import pytest
import standardwebhooks
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.messages import CASES, make

from pipebell.core.destinations.http import Response, classify_response
from pipebell.core.destinations.webhook import (
    RESERVED,
    WEBHOOK,
    Signature,
    WebhookTarget,
    request,
)
from pipebell.core.errors import NotReady
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationConfigSpec, RootSpec
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.placeholders import Environment, OrgSecrets, references_of, secrets_of
from pipebell.core.render.programs import LIMIT, Format, percent_encoded
from pipebell.core.vocabulary import Severity

URL = "https://hooks.example.com/pipebell?token=confidential"
NEW, OLD = "whsec_cGlwZWJlbGwtc2lnbmluZy1rZXktb2Ytbm93", "whsec_cGlwZWJlbGwtc2lnbmluZy1rZXktYmVmb3Jl"
TOKEN = "Bearer confidential-token"
BUILT_IN = [style for style in Format if style is not Format.TEMPLATE]
EMPTY = {"error_message": None, "details": None, "links": None}


def attempt(now=None):
    return Attempt("0b54f1c2-11aa.on-call", now=time.time() if now is None else now, installation="4f1c-uid")


def org(secrets=None, **webhook):
    spec = {"orgSlug": "acme", "secretRef": {"name": "s"}, "webhook": {"url": URL} | webhook}
    keys = {"s": secrets or {}}
    return Layer(NotificationConfigSpec.model_validate(spec), OrgSecrets("s", keys))


def target(secrets=None, **webhook):
    return Layers(org(secrets, **webhook), None).target("webhook")


# ---------------------------------------------------------------------------- signatures


def verified(key, made, body=None):
    return standardwebhooks.Webhook(key).verify(made.body if body is None else body, dict(made.headers))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("style", BUILT_IN)
def test_the_library_verifies_a_signature_by_either_key(case, style):
    made = request(make(**CASES[case]), target(signingSecret=NEW, previousSigningSecret=OLD, format=style), attempt())
    for key in (NEW, OLD):
        assert verified(key, made) == json.loads(made.body)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verified("whsec_c29tZWJvZHktZWxzZXMtc2lnbmluZy1rZXk=", made)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verified(NEW, made, made.body + b" ")


@pytest.mark.parametrize("key", [NEW, NEW.removeprefix("whsec_"), "whsec_" + "QUFB" * 21 + "QQ=="])
def test_keys_are_read_as_the_library_reads_them(notify, key):
    verified(key, request(notify(), target(signingSecret=key), attempt()))


def test_the_identity_stays_and_the_time_is_this_attempts(notify):
    first, second = (request(notify(), target(signingSecret=NEW), attempt(now)) for now in (1_000.9, 2_000.0))
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "0b54f1c2-11aa_on-call"
    assert (first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]) == ("1000", "2000")
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    with pytest.raises(standardwebhooks.WebhookVerificationError, match="too old"):
        verified(NEW, first)


def test_fluxs_signature(notify):
    made = request(notify(), target(signingSecret="any text at all", signature="flux"), attempt())
    expected = hmac.new(b"any text at all", made.body, hashlib.sha256).hexdigest()
    assert made.headers["X-Signature"] == f"sha256={expected}"
    assert not [name for name in made.headers if name.startswith("webhook-")]


def test_without_a_key_there_is_no_signature(notify):
    for webhook in ({}, {"signature": "none"}, {"signature": "none", "signingSecret": NEW}):
        assert set(request(notify(), target(**webhook), attempt()).headers) == {"Content-Type"}


@pytest.mark.parametrize(
    "key",
    [
        "short",
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_" + "QUFB" * 22,
        "whsec_not base64 at all",
        "whsk_" + "A" * 44,
        "größe",
    ],
)
@pytest.mark.parametrize("name", ["signingSecret", "previousSigningSecret"])
def test_a_key_that_is_none_names_its_field(key, name):
    with pytest.raises(NotReady, match=rf"webhook\.{name} must be whsec_ and 24 to 64 bytes") as caught:
        target(**{"signingSecret": NEW, name: key})
    assert key not in caught.value.message or key == "whsec_"


@pytest.mark.parametrize(
    ("webhook", "words"),
    [
        ({"signature": "standard"}, "webhook.signingSecret is not set, but signature is standard"),
        ({"signature": "flux"}, "webhook.signingSecret is not set, but signature is flux"),
        ({"previousSigningSecret": OLD}, "webhook.signingSecret is not set, but previousSigningSecret is"),
        ({"headers": [{"name": "X"}]}, "webhook.headers[0].value is not set"),
    ],
)
def test_what_is_missing_is_named(webhook, words):
    with pytest.raises(NotReady) as caught:
        target(**webhook)
    assert words in caught.value.message


# ---------------------------------------------------------------------------- formats


def test_the_standard_format(notify):
    made = json.loads(request(notify(suppressed=4, attempt=2, max_attempts=3), target(), attempt()).body)
    assert (made["type"], made["timestamp"]) == ("pipeline.failure", "2026-11-23T04:15:42.000Z")
    shown = made["data"]
    assert shown["details"] == {"step": "load_orders", "attempt": 2, "tables": ["orders", "order_items"]}
    assert (shown["suppressed"], shown["attempt"], shown["maxAttempts"]) == (4, 2, 3)
    assert shown["source"] == {"namespace": "data", "name": "acme-7f3a9", "uid": "uid-1"}
    assert "test" not in shown


def read(made):
    """As the library reads it; it knows no batches, so each event of one is read as an event alone."""
    kind = made.headers["Content-Type"]
    if not kind.startswith("application/cloudevents-batch+json"):
        return from_http_event(HTTPMessage(dict(made.headers), made.body))
    (single,) = json.loads(made.body)
    headers = {"content-type": "application/cloudevents+json"}
    return from_http_event(HTTPMessage(headers, json.dumps(single).encode()))


@pytest.mark.parametrize("case", CASES)
def test_the_library_reads_all_three_modes_alike(case):
    message = make(**CASES[case])
    events = [read(request(message, target(format=style), attempt())) for style in BUILT_IN if style != "standard"]
    standard = json.loads(request(message, target(), attempt()).body)
    for event in events:
        assert event.get_data() == standard["data"]
        assert event.get_specversion() == "1.0"
        assert event.get_type() == f"io.pipebell.{standard['type']}"
        assert event.get_id() == "0b54f1c2-11aa.on-call"
        assert event.get_source() == "/pipebell/4f1c-uid/data"
        assert event.get_subject() == standard["data"].get("pipeline")
        assert event.get_time() == datetime(2026, 11, 23, 4, 15, 42, tzinfo=UTC)


@pytest.mark.parametrize("style", BUILT_IN)
def test_a_trace_is_passed_on_alike_as_header_and_attribute(notify, style):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    made = request(notify(traceparent=trace), target(format=style), attempt())
    assert made.headers["traceparent"] == trace
    if style is not Format.STANDARD:
        assert read(made).get_attributes()["traceparent"] == trace
    assert "traceparent" not in request(notify(), target(format=style), attempt()).headers


@settings(deadline=None, max_examples=100)
@given(name=st.text(min_size=1, max_size=40))
def test_a_header_says_what_the_document_says(notify, raw, name):
    message = notify(pipeline_id=raw(name), error_message=None)
    made = request(message, target(format="cloudeventsBinary"), attempt())
    for value in made.headers.values():
        assert all(0x20 <= ord(sign) <= 0x7E for sign in value)
    assert read(made).get_subject() == read(made).get_data().get("pipeline")


def test_percent_encoding():
    assert percent_encoded('Euro € 😀 "%" ~!') == "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22%25%22%20~!"


# ---------------------------------------------------------------------------- limits


def size(made):
    """As CloudEvents reckons it: of a binary event, the attributes too."""
    return len(made.body) + sum(len(name + value) for name, value in made.headers.items() if name.startswith("ce-"))


@pytest.mark.parametrize("unit", ["😀", "é", "x", '"', "\\"])
@pytest.mark.parametrize("style", BUILT_IN)
def test_the_limit_is_kept_to_the_byte_and_cut_in_the_middle(notify, unit, style):
    text = "BEGIN" + unit * 100_000 + "END"
    made = request(
        notify(details={"log": text}, error_message="first" + "x" * 9_000 + "last"), target(format=style), attempt()
    )
    widest = len(json.dumps(json.dumps(unit, ensure_ascii=False), ensure_ascii=False).encode())
    assert LIMIT - 4 * widest <= size(made) <= LIMIT
    document = json.loads(made.body)
    document = document[0] if isinstance(document, list) else document
    shown = document if style is Format.BINARY else document["data"]
    assert isinstance(shown["details"], str)
    assert "BEGIN" in shown["details"]
    assert "END" in shown["details"]
    assert "… (cut off: " in shown["details"]
    assert shown["message"].startswith("first")
    assert shown["message"].endswith("last")


@pytest.mark.parametrize("style", BUILT_IN)
def test_what_just_fits_is_whole(notify, style):
    room = LIMIT - size(request(notify(details={"log": "x"}), target(format=style), attempt())) + 1
    room -= 2 if style is Format.STRUCTURED else 0  # it fits into a batch as well
    for excess in (0, 1):
        made = request(notify(details={"log": "x" * (room + excess)}), target(format=style), attempt())
        assert size(made) <= LIMIT
        assert ("cut off" in made.body.decode()) is bool(excess)


def test_everything_at_its_longest_fits(notify):
    face = "😀"
    message = notify(
        severity=Severity.CRITICAL,
        suppressed=10**9,
        pipeline_id=face * 512,
        pipeline_logging_id='"' * 512,
        owner=face * 256,
        labels={f"{number:02}" + face * 61: face * 256 for number in range(32)},
        error_message=face * 32_768,
        details={face * 200: [face * 9_000]},
        links=[{"title": face * 200, "url": "https://x/" + '"' * 2_038}] * 10,
    )
    for style in BUILT_IN:
        made = request(message, target(format=style), attempt())
        assert size(made) <= LIMIT
        document = json.loads(made.body)
        document = document[0] if isinstance(document, list) else document
        shown = document if style is Format.BINARY else document["data"]
        assert shown["linksLeftOut"] + len(shown.get("links", [])) == 10
        assert all("cut off" in shown[name] for name in ("message", "details"))


@settings(deadline=None, max_examples=60)
@given(text=st.text(max_size=60), detail=st.text(max_size=20))
@pytest.mark.parametrize("style", BUILT_IN)
def test_hostile_text_is_neither_a_header_nor_a_control_character(notify, raw, style, text, detail):
    message = notify(
        pipeline_id=raw(text + "\r\nX-Evil: 1"), error_message=raw(text), details={detail: [detail, {detail: None}]}
    )
    made = request(message, target(signingSecret=NEW, format=style), attempt())
    assert not any("\r" in value or "\n" in value for value in made.headers.values())
    assert not set(made.body.decode()) & {"\x1b", "\u202e", "\u200b"}
    verified(NEW, made)


# ---------------------------------------------------------------------------- headers, layers and secrets


def test_headers_are_filled_each_from_its_source(notify):
    reference = {"name": "Authorization", "valueSecretRef": {"name": "s", "key": "TOKEN"}}
    headers = [reference, {"name": "X-Env", "value": "${ENV}"}, {"name": "X-Plain", "value": "a$b"}]
    layer = org({"TOKEN": TOKEN + "\n", "ENV": "prod"}, headers=headers)
    made = request(notify(), Layers(layer, None).target("webhook"), attempt())
    assert made.headers["Authorization"] == TOKEN
    assert (made.headers["X-Env"], made.headers["X-Plain"]) == ("prod", "a$b")
    assert [path for path, _ in references_of(layer.spec)] == ["webhook.headers[0].valueSecretRef"]
    assert secrets_of(layer.spec) == {"s"}


@pytest.mark.parametrize("value", ["two\nlines", "größe", "tab\tbed", " "])
def test_a_filled_header_meets_the_same_rule(value):
    with pytest.raises(NotReady, match=r"webhook\.headers\[0\]\.value: the value of \$\{T\} is not one line"):
        target({"T": "x" + value + "y"}, headers=[{"name": "X", "value": "${T}"}]) if value != " " else target(
            {"T": " x"}, headers=[{"name": "X", "value": "${T}"}]
        )


def test_roots_headers_do_not_follow_an_organisation_elsewhere(notify):
    root_spec = {"webhook": {"url": "https://root.example/", "headers": [{"name": "Authorization", "value": "${T}"}]}}
    root = Layer(
        RootSpec.model_validate({**root_spec, "default_provider": "webhook"}), Environment({"T": TOKEN}), root=True
    )
    own = Layers(org(), root).target("webhook")
    assert own.headers == {}
    empty = Layer(NotificationConfigSpec.model_validate({"orgSlug": "acme"}), OrgSecrets(None, {}))
    assert Layers(empty, root).target("webhook").headers == {"Authorization": TOKEN}
    more = {"orgSlug": "acme", "webhook": {"headers": [{"name": "X", "value": "y"}]}}
    meddling = Layer(NotificationConfigSpec.model_validate(more), OrgSecrets(None, {}))
    with pytest.raises(NotReady, match=r"webhook\.headers may not be set on the platform's webhook"):
        Layers(meddling, root).target("webhook")


def test_secrets_show_nowhere():
    made = target({"T": TOKEN}, signingSecret=NEW, previousSigningSecret=OLD, headers=[{"name": "A", "value": "${T}"}])
    assert isinstance(made, WebhookTarget)
    assert made.signature is Signature.STANDARD
    for secret in (NEW, OLD, TOKEN, "confidential"):
        assert secret not in repr(made)
        outcome = classify_response(WEBHOOK, Response(400, {}, f"bad {secret}".encode()), made, 0.0)
        assert secret not in outcome.message


@pytest.mark.parametrize("name", [*RESERVED, "Content-Type", "WEBHOOK-ID"])
def test_reserved_headers_are_refused(name):
    with pytest.raises(ValueError, match="must be another header"):
        org(headers=[{"name": name, "value": "x"}])


# ---------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("status", "text", "headers", "kind", "words"),
    [
        (200, "anything", {}, OutcomeKind.DELIVERED, ""),
        (204, "", {}, OutcomeKind.DELIVERED, ""),
        (301, "", {}, OutcomeKind.PERMANENT, "redirects"),
        (400, "", {}, OutcomeKind.PERMANENT, "refused"),
        (401, "", {}, OutcomeKind.PERMANENT, "signingSecret"),
        (403, "", {}, OutcomeKind.PERMANENT, "signingSecret"),
        (404, "", {}, OutcomeKind.PERMANENT, "URL"),
        (410, "", {}, OutcomeKind.PERMANENT, "gone"),
        (413, "", {}, OutcomeKind.PERMANENT, "shorter"),
        (415, "", {}, OutcomeKind.PERMANENT, "format"),
        (429, "", {"retry-after": "7"}, OutcomeKind.PAUSE, "too many"),
        (500, "", {}, OutcomeKind.RETRY, "problem"),
        (502, "", {}, OutcomeKind.RETRY, "problem"),
        (503, "", {"retry-after": "7"}, OutcomeKind.PAUSE, "pause"),
        (504, "", {}, OutcomeKind.RETRY, "problem"),
    ],
)
def test_what_answers_mean(status, text, headers, kind, words):
    outcome = classify_response(WEBHOOK, Response(status, headers, text.encode()), target(), 0.0)
    assert outcome.kind is kind
    assert words in outcome.message
    if kind is OutcomeKind.PAUSE:
        assert outcome.retry_after == 7.0


def test_a_pause_is_of_one_login_for_many_share_a_receivers_url():
    url = "https://alerts.example.com/v1/events"
    first, second = (target(url=url, headers=[{"name": "Authorization", "value": f"Bearer {who}"}]) for who in "ab")
    assert first.endpoint != second.endpoint
    assert first.endpoint == target(url=url, headers=[{"name": "Authorization", "value": "Bearer a"}]).endpoint
    assert target(url=url).endpoint != target(url=url, signingSecret="x" * 24, signature="flux").endpoint
    hash(first.endpoint)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("Bearer token-of-root", "token-of-root"),
        ("Bearer token-of-root", "Bearer token-of-root"),
        ("token-of-root", "token-of-root"),
        ('Token id="of-root", key="x"', 'id="of-root",'),
        ("Basic cm9vdDpwYXNzLW9mLXJvb3Q=", "pass-of-root"),
        ("Basic cm9vdDpwYXNzLW9mLXJvb3Q=", "root:pass-of-root"),
        ("Basic cm9vdDpwYXNzLW9mLXJvb3Q=", "cm9vdDpwYXNzLW9mLXJvb3Q="),
        ("Basic not-base64", "not-base64"),
    ],
)
def test_what_a_server_quotes_of_a_header_is_struck_out(value, quoted):
    made = target(headers=[{"name": "Authorization", "value": value}])
    outcome = classify_response(WEBHOOK, Response(401, {}, f"who is {quoted} here".encode()), made, 0.0)
    assert quoted not in outcome.message
    assert "who is *** here" in outcome.message
