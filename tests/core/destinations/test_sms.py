import json
import re
from dataclasses import replace
from urllib.parse import parse_qs, parse_qsl

import phonenumbers
import pytest
from hypothesis import given, settings
from tests.core.destinations.huge import HEAD, TAIL, WIDE, answer, hostile, huge, loud
from tests.core.destinations.test_kinds import org, root
from tests.core.messages import make

from pipebell.core.destinations.http import Response, Sent
from pipebell.core.destinations.sms import SMS, before, masked_number, measures, request, text, then
from pipebell.core.errors import NotReady
from pipebell.core.hosts import HostPolicy
from pipebell.core.layers import Layers, part_of
from pipebell.core.models import NotificationConfigSpec
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.policy.triggers import check_plans, match_trigger
from pipebell.core.render.gsm7 import segments, septets

CREATED = 1_795_407_342.0  # of the typical event
ACCOUNT, KEY, SERVICE = ("AC" + "0a" * 16, "SK" + "1b" * 16, "MG" + "2c" * 16)
NUMBERS = ["+4915112345678", "+447700900123", "+12025550143"]
SPEC = {"accountSid": ACCOUNT, "authToken": "hidden-token", "fromNumber": "+15005550006", "toNumbers": NUMBERS}


def layers(over=None, **changes):
    spec = {name: value for name, value in (SPEC | changes).items() if value is not None}
    return Layers(org({"sms": spec, "defaultProvider": "sms"}), over)


def target(name="sms", **changes):
    return layers(**changes).target(name)


TARGET = target()
ATTEMPT = Attempt("uid.sms/1", now=CREATED + 1, expires=CREATED + 3600)


def sent(message, target=TARGET, attempt=ATTEMPT):
    return dict(parse_qsl(request(message, target, attempt).body.decode(), strict_parsing=True))


def test_what_is_sent():
    made = request(make(), TARGET, ATTEMPT)
    assert made.url == f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    assert made.headers["Content-Type"] == "application/x-www-form-urlencoded; charset=utf-8"
    fields = sent(make())
    assert fields.pop("Body").startswith("Error: Pipeline failed: nightly-orders-load (acme_corp)\nJob 'load_")
    assert fields == {"To": NUMBERS[0], "From": "+15005550006", "ValidityPeriod": "3599"}


@pytest.mark.parametrize(
    ("expires", "validity"),
    [(CREATED + 86_400, 36_000), (CREATED + 61, 60), (CREATED, 1), (CREATED - 99, 1), (None, 36_000)],
)
def test_it_is_valid_for_what_is_left_of_its_events_life(expires, validity):
    assert sent(make(), attempt=replace(ATTEMPT, expires=expires))["ValidityPeriod"] == str(validity)


@pytest.mark.parametrize("sign", [WIDE, "x", "€", "^", "é", "ж"])
def test_the_largest_event_is_two_segments_and_shows_its_beginning_and_end(sign):
    body = text(huge(sign), ATTEMPT)
    assert segments(body) == 2
    assert 290 <= septets(body) <= 306
    assert HEAD in body
    assert TAIL in body
    assert "..." in body


@settings(deadline=None, max_examples=80)
@given(pipeline=hostile, run=hostile, message=hostile, detail=hostile, title=hostile)
def test_whatever_an_event_holds_it_is_gsm_7_and_two_segments(pipeline, run, message, detail, title):
    body = text(loud(pipeline, run, message, detail, title), ATTEMPT)
    assert septets(body) <= 306
    assert segments(body) <= 2
    assert body.count("\n") <= 1
    assert re.search(r" #[a-z2-7]{6}$", body)


def test_the_mark_is_one_deliverys():
    names = ("a.sms/1", "a.sms/2", "b.sms/1")
    marks = {sent(make(), attempt=replace(ATTEMPT, delivery_id=name))["Body"][-7:] for name in names}
    assert len(marks) == 3
    assert sent(make())["Body"] == sent(make(), attempt=replace(ATTEMPT, now=CREATED + 99, again=True))["Body"]


def test_preview_says_how_many_segments_it_is():
    shown = measures(request(huge("x"), TARGET, ATTEMPT))
    assert (shown["characters"], shown["segments"]) == (306, 2)
    assert shown["text"] == text(huge("x"), ATTEMPT)


# ------------------------------------------------------------------ settings


def test_senders_and_logins():
    assert dict(target(fromNumber=None, messagingServiceSid=SERVICE).sender) == {"MessagingServiceSid": SERVICE}
    assert dict(target(messagingServiceSid=SERVICE).sender) == {"From": "+15005550006", "MessagingServiceSid": SERVICE}
    assert target().username == ACCOUNT
    by_key = target(authToken=None, apiKeySid=KEY, apiKeySecret="hidden-secret")
    assert (by_key.username, by_key.password) == (KEY, "hidden-secret")
    assert ACCOUNT in by_key.url, "the path keeps the account"
    assert target(host="api.dublin.ie1.twilio.com").url.startswith("https://api.dublin.ie1.twilio.com/2010-04-01/")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"accountSid": None}, "sms.accountSid is not set"),
        ({"authToken": None}, "sms.authToken is not set, nor apiKeySid and apiKeySecret"),
        ({"apiKeySid": KEY}, "sms.apiKeySecret is not set"),
        ({"apiKeySecret": "x"}, "sms.apiKeySid is not set"),
        ({"fromNumber": None}, "sms.fromNumber is not set, nor messagingServiceSid"),
        ({"toNumbers": None}, "sms.toNumbers names nobody"),
        ({"toNumbers": []}, "sms.toNumbers names nobody"),
        ({"toNumbers": [NUMBERS[0], NUMBERS[1], NUMBERS[0]]}, "sms.toNumbers[2] is the same as toNumbers[0]: keep one"),
        ({"host": "api.ie1.twilio.com"}, "api.EDGE.REGION.twilio.com"),
    ],
)
def test_what_is_missing_is_named(changes, says):
    with pytest.raises(NotReady) as caught:
        target(**changes)
    assert says in caught.value.message
    assert not any(number in caught.value.message for number in NUMBERS)


def accepts(number):
    try:
        NotificationConfigSpec.model_validate({"orgSlug": "a", "sms": {"toNumbers": [number]}})
    except ValueError:
        return False
    return True


def test_numbers_of_every_country_are_taken():
    """What phonenumbers knows as a country's mobile number, as it writes it in E.164."""
    seen = 0
    for region in phonenumbers.SUPPORTED_REGIONS:
        example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        if example is None:
            continue
        number = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        if len(number) > 7:  # some islands have numbers of four digits
            seen += 1
            assert accepts(number), region
    assert seen > 200


def e164(number):
    """The number as phonenumbers writes it; None for what is none to it."""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


@pytest.mark.parametrize(
    "number",
    [
        *("015112345678", "+0151", "4915112345678", "+49 151 12345678", "+49(151)1", "++4915112345678"),
        *(f"+{'1' * 16}", "+4915112345678\n", "Ops", "+49-151-12345678", "+4915112345678;ext=1", "tel:+4915112345678"),
    ],
)
def test_what_is_no_number_is_not(number):
    assert not accepts(number)
    assert e164(number) != number


def test_organisations_reach_twilio_alone():
    policy = HostPolicy()
    assert policy.admits_url(SMS, TARGET.url)
    assert policy.admits_url(SMS, target(host="api.sydney.au1.twilio.com").url)
    for host in ("127.0.0.1:9", "twilio.com.evil.example", "api.twilio.com:8443", "eviltwilio.com"):
        assert not policy.admits_url(SMS, target(host=host).url)


def test_an_organisation_has_numbers_of_its_own_with_an_account_of_its_own():
    over = root(
        {"sms": {"account_sid": ACCOUNT, "auth_token": "x", "from_number": "+15005550006", "to_numbers": NUMBERS}}
    )
    with pytest.raises(NotReady, match="toNumbers"):
        Layers(org({"sms": SPEC | {"toNumbers": None}}), over).target("sms")


# ------------------------------------------------------------------ one delivery for each number


def test_each_number_is_a_delivery_of_its_own():
    found = layers()
    assert match_trigger(found, make().event.spec).destinations == ("sms/1", "sms/2", "sms/3")
    assert [found.target(f"sms/{position}").number for position in (1, 2, 3)] == NUMBERS
    assert found.kind("sms/2") == "sms"
    assert found.enabled("sms/2")
    assert found.target("sms/2").endpoint == found.target("sms/1").endpoint, "a pause is the account's, not a number's"
    assert part_of("sms/2") == ("sms", 2)
    assert part_of("on-call") == ("on-call", 0)


def test_a_named_one_has_parts_too_and_a_replay_may_name_them():
    found = Layers(org({"destinations": [{"name": "on-call", "sms": SPEC}], "defaultProvider": "on-call"}), None)
    assert match_trigger(found, make().event.spec).destinations == ("on-call/1", "on-call/2", "on-call/3")
    some = make(replay_of={"name": "x", "destinations": ["on-call/2"]})
    assert match_trigger(found, some.event.spec).destinations == ("on-call/2",)
    whole = make(replay_of={"name": "x", "destinations": ["on-call"]})
    assert len(match_trigger(found, whole.event.spec).destinations) == 3


def test_without_numbers_it_is_one_that_waits():
    assert match_trigger(layers(toNumbers=None), make().event.spec).destinations == ("sms",)


def test_more_deliveries_than_an_event_can_hold_are_refused():
    def plan(amount):
        numbers = [f"+4915112345{n:03}" for n in range(10)]
        destinations = [{"name": f"d{n}", "sms": SPEC | {"toNumbers": numbers}} for n in range(4)]
        names = [f"d{n}" for n in range(amount)]
        triggers = [{"event": "pipeline_failure", "providers": names}]
        return Layers(org({"destinations": destinations, "eventTriggers": triggers}), None)

    check_plans(plan(3))
    with pytest.raises(NotReady, match="makes 40 deliveries") as caught:
        check_plans(plan(4))
    assert caught.value.reason.value == "Invalid"


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    "echo", [*NUMBERS, "+15005550006", "%2B4915112345678", "4915112345678", "hidden-token", ACCOUNT]
)
def test_no_number_and_no_secret_shows(echo):
    body = json.dumps({"code": 21211, "message": f"The 'To' number {echo} is not a valid phone number.", "status": 400})
    outcome = answer(SMS, 400, body, target=TARGET)
    assert echo not in outcome.message
    assert "***" in outcome.message
    assert echo not in repr(TARGET) or echo == ACCOUNT
    assert TARGET.authorization.partition(" ")[2] not in answer(SMS, 401, TARGET.authorization, target=TARGET).message


def test_whom_a_delivery_is_for_is_told_by_country_and_last_digits():
    assert masked_number(NUMBERS[0]) == "+49…678"
    assert [target(f"sms/{n}").recipients for n in (1, 2)] == ["+49…678", "+44…123"]


# ------------------------------------------------------------------ looking for it before sending again


def test_a_first_attempt_at_a_fresh_event_looks_for_nothing():
    assert before(make(), TARGET, ATTEMPT) is None


@pytest.mark.parametrize(
    "attempt",
    [replace(ATTEMPT, again=True), replace(ATTEMPT, now=CREATED + 2.1), replace(ATTEMPT, since=CREATED + 0.5)],
    ids=["again", "old", "restarted"],
)
def test_any_other_looks_first(attempt):
    """The process that made an earlier attempt may have died before it wrote that down."""
    look = before(make(), TARGET, attempt)
    url, _, query = look.url.partition("?")
    assert (look.method, url, look.body) == ("GET", TARGET.url, b"")
    assert parse_qs(query) == {"To": [NUMBERS[0]], "DateSent>": ["2026-11-23"], "PageSize": ["50"]}
    assert look.headers == {"Authorization": TARGET.authorization}


def listed(*bodies):
    return json.dumps({"messages": [{"sid": "SM1", "body": body, "status": "sent"} for body in bodies]}).encode()


def looked(status, body, **changes):
    attempt = replace(ATTEMPT, **({"now": CREATED + 9} | changes))
    return then(Sent(make(), TARGET, attempt, before(make(), TARGET, attempt)), Response(status, {}, body))


def test_what_is_there_is_not_sent_again():
    mine = text(make(), ATTEMPT)
    assert looked(200, listed("another", mine), again=True) is None
    assert looked(200, listed("another", mine)[:-20], again=True) is None, "of a list that was cut off"
    other = text(make(), replace(ATTEMPT, delivery_id="other"))
    assert looked(200, listed(other), again=True).method == "POST"
    assert looked(200, listed(), again=True) == request(make(), TARGET, replace(ATTEMPT, now=CREATED + 9, again=True))


@pytest.mark.parametrize("status", [401, 403, 404])
def test_where_looking_is_not_permitted_only_a_first_attempt_is_made(status):
    assert looked(status, b"{}").method == "POST"
    assert looked(status, b"{}", again=True) is None


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_where_looking_fails_for_now_nothing_is_sent(status):
    assert looked(status, b"{}") is None
    assert looked(status, b"{}", again=True) is None


# ------------------------------------------------------------------ answers


def error(status, code, message="words of Twilio's"):
    return json.dumps({"code": code, "message": message, "more_info": "https://www.twilio.com/docs", "status": status})


# https://www.twilio.com/docs/api/errors; what follows goes by the status
@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (201, '{"sid": "SM0123456789abcdef0123456789abcdef", "status": "queued"}', OutcomeKind.DELIVERED, ""),
        (200, '{"messages": []}', OutcomeKind.DELIVERED, ""),
        (400, error(400, 21211), OutcomeKind.PERMANENT, "check toNumbers (words of Twilio's (code 21211))"),
        (400, error(400, 21408), OutcomeKind.PERMANENT, "Geo permissions"),
        (400, error(400, 21606), OutcomeKind.PERMANENT, "fromNumber"),
        (400, error(400, 21608), OutcomeKind.PERMANENT, "trial"),
        (400, error(400, 21610), OutcomeKind.PERMANENT, "START"),
        (400, error(400, 21614), OutcomeKind.PERMANENT, "no SMS"),
        (400, error(400, 21635), OutcomeKind.PERMANENT, "landline"),
        (400, error(400, 99999), OutcomeKind.PERMANENT, "refused the message"),
        (401, error(401, 20003), OutcomeKind.PERMANENT, "login is not valid"),
        (403, error(403, 20005), OutcomeKind.PERMANENT, "console"),
        (404, error(404, 20404), OutcomeKind.PERMANENT, "check accountSid and host"),
        (408, "", OutcomeKind.RETRY, "in time"),
        (429, error(429, 20429, "Too Many Requests"), OutcomeKind.PAUSE, "too many"),
        (500, error(500, 20500), OutcomeKind.RETRY, "has a problem"),
        (503, "", OutcomeKind.RETRY, "has a problem"),
        (302, "", OutcomeKind.PERMANENT, "redirects"),
        (200, "<html>", OutcomeKind.RETRY, "no success"),
    ],
)
def test_what_answers_mean(status, body, kind, says):
    outcome = answer(SMS, status, body, target=TARGET)
    assert outcome.kind is kind
    assert says in outcome.message


@pytest.mark.parametrize(
    ("sid", "handle"), [("SM" + "0f" * 16, "SM" + "0f" * 16), ("SM1", None), ("<script>", None), (5, None)]
)
def test_the_handle_is_the_messages_sid(sid, handle):
    assert answer(SMS, 201, json.dumps({"sid": sid}), target=TARGET).handle == handle
