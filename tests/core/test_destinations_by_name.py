"""Destinations with names of their own: which there are, whose they are, and who may name root's."""

import pytest
from tests.core.messages import make

from pipebell.core.errors import InvalidInput, NotReady
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec, RootSpec
from pipebell.core.placeholders import Environment, OrgSecrets, secrets_of, variables_of
from pipebell.core.policy.match import Match
from pipebell.core.policy.triggers import check_plans, destinations_in_use, destinations_to_check, match_trigger
from pipebell.core.root import parse_notification_json
from pipebell.core.vocabulary import NotReadyReason

HOOK = "https://hooks.slack.com/services/T/B/"


def slack(name, hook, **fields):
    return {"name": name, "slack": {"webhookUrl": HOOK + hook, **fields}}


def layers(org=None, root=None, *, namespace="team-a", secrets=None, environ=None):
    org_layer = root_layer = None
    if org is not None:
        spec = NotificationConfigSpec.model_validate({"orgSlug": "acme_corp", **org})
        org_layer = Layer(spec, OrgSecrets(spec.secret_ref.name if spec.secret_ref else None, secrets or {}))
    if root is not None:
        root_layer = Layer(RootSpec.model_validate(root), Environment(environ or {}), root=True)
    return Layers(org_layer, root_layer, namespace)


def refusal(found, name):
    with pytest.raises(NotReady) as caught:
        found.target(name)
    return caught.value


def test_two_channels_and_two_mailboxes_of_one_organisation():
    mail = {"smtpHost": "smtp.acme.example", "fromEmail": "p@acme.example"}
    org = {
        "email": {**mail, "toEmails": ["data@acme.example"]},
        "slack": {"webhookUrl": HOOK + "first"},
        "destinations": [
            slack("on-call", "second"),
            {"name": "auditors", "email": {**mail, "toEmails": ["audit@acme.example"]}},
        ],
        "eventTriggers": [{"event": "pipeline_failure", "providers": ["on-call", "slack", "auditors", "email"]}],
    }
    found = layers(org)
    match = match_trigger(found, make().event.spec)
    assert isinstance(match, Match)
    assert match.destinations == ("on-call", "slack", "auditors", "email")
    assert [found.kind(name) for name in match.destinations] == ["slack", "slack", "email", "email"]
    assert [found.target(name).url for name in ("on-call", "slack")] == [HOOK + "second", HOOK + "first"]
    assert [found.target(name).to for name in ("auditors", "email")] == [
        ("audit@acme.example",),
        ("data@acme.example",),
    ]


def test_a_named_one_wins_over_the_kind_of_its_name():
    found = layers({"slack": {"webhookUrl": HOOK + "block"}, "destinations": [slack("slack", "named")]})
    assert found.target("slack").url == HOOK + "named"
    other = layers({"destinations": [{"name": "email", "slack": {"webhookUrl": HOOK + "odd"}}]})
    assert (other.kind("email"), other.target("email").url) == ("slack", HOOK + "odd")


def test_an_unknown_name_is_told_with_what_there_is_and_its_place():
    found = layers(
        {
            "slack": {"webhookUrl": HOOK + "x"},
            "destinations": [slack("on-call", "y")],
            "eventTriggers": [{"event": "system_error", "providers": ["oncall", "slack"]}],
        },
        {"destinations": [slack("secret-channel", "z")]},
    )
    assert list(destinations_in_use(found)) == ["oncall", "slack"]
    assert (found.kind("oncall"), found.enabled("oncall")) == (None, True)
    error = refusal(found, "oncall")
    assert error.reason is NotReadyReason.UNKNOWN_DESTINATION
    assert error.message == (
        "eventTriggers[system_error].providers: there is no destination oncall; there are: on-call, slack"
    )


NAMED_IN = {
    "eventTriggers[system_error].providers": {"eventTriggers": [{"event": "system_error", "providers": ["oncall"]}]},
    "eventTriggers[system_error].digest.destinations": {
        "eventTriggers": [{"event": "system_error", "digest": {"everySeconds": 60, "destinations": ["oncall"]}}]
    },
    "pipelineOverrides[1].providers": {
        "pipelineOverrides": [{"pipelines": ["a"]}, {"pipelines": ["b"], "providers": ["oncall"]}]
    },
    "pipelineOverrides[0].digest.destinations": {
        "pipelineOverrides": [{"pipelines": ["*"], "digest": {"schedule": "0 8 * * *", "destinations": ["oncall"]}}]
    },
    "incidents.escalation[1].providers": {
        "incidents": {
            "enabled": True,
            "escalation": [
                {"afterSeconds": 900, "providers": ["slack"]},
                {"afterSeconds": 60, "providers": ["oncall"]},
            ],
        }
    },
    "defaultProvider": {"defaultProvider": "oncall"},
    "slack.failover": {"slack": {"webhookUrl": HOOK + "x", "failover": ["oncall"]}},
    "destinations[ops].failover": {
        "destinations": [slack("ops", "o") | {"failover": ["oncall"]}],
        "defaultProvider": "ops",
    },
}


@pytest.mark.parametrize("by_root", [False, True])
@pytest.mark.parametrize("place", NAMED_IN)
def test_a_mistyped_name_is_told_with_its_place_wherever_names_stand(place, by_root):
    spec = {"slack": {"webhookUrl": HOOK + "x"}, "defaultProvider": "slack"} | NAMED_IN[place]
    found = layers(None if "digest" in place else {}, spec) if by_root else layers(spec)
    assert "oncall" in destinations_to_check(found), "it makes the configuration unready"
    whose = "the root configuration's " if by_root else ""
    assert refusal(found, "oncall").message.startswith(f"{whose}{place}: there is no destination oncall; there are: ")


@pytest.mark.parametrize("name", ["slack", "pagerduty"])
def test_a_digests_destination_that_is_known_need_not_be_set_up(name):
    digest = {"everySeconds": 60, "destinations": [name]}
    org = {
        "email": {"smtpHost": "smtp.acme.example", "fromEmail": "p@acme.example", "toEmails": ["d@acme.example"]},
        "eventTriggers": [{"event": "system_error", "digest": digest}],
    }
    assert destinations_to_check(layers(org)) == ["email"]


def test_what_root_mistyped_in_a_digest_is_roots_to_mend():
    root = {"slack": {"webhookUrl": HOOK + "x"}, "defaultProvider": "slack"}
    root |= NAMED_IN["eventTriggers[system_error].digest.destinations"]
    assert destinations_to_check(layers({}, root)) == ["slack"]


def test_where_nothing_is_set_up_no_kind_is_proposed():
    error = refusal(layers({"defaultProvider": "oncall"}), "oncall")
    assert error.message.startswith("defaultProvider: there is no destination oncall; there are none yet; ")


def test_a_disabled_one_is_left_out():
    org = {"destinations": [slack("on-call", "x", enabled=False)], "defaultProvider": "on-call"}
    assert list(destinations_in_use(layers(org))) == []


@pytest.mark.parametrize(
    ("allow", "namespace", "may"),
    [
        (None, "team-a", False),
        ({"namespaces": ["team-*"]}, "team-a", True),
        ({"namespaces": ["team-?"]}, "team-ab", False),
        ({"namespaces": ["*"], "orgs": ["acme_*"]}, "x", True),
        ({"namespaces": ["*"], "orgs": ["globex"]}, "x", False),
        ({"namespaces": ["other"], "orgs": ["acme_corp"]}, "team-a", False),
    ],
)
def test_roots_destination_by_name_where_root_allows(allow, namespace, may):
    root = {"destinations": [slack("platform", "${HOOK}") | ({"allow": allow} if allow else {})]}
    root["destinations"][0]["slack"] = {"webhook_url": "${HOOK}"}
    found = layers({"defaultProvider": "platform"}, root, namespace=namespace, environ={"HOOK": HOOK + "hidden"})
    if may:
        target = found.target("platform")
        assert (target.url, target.trusted) == (HOOK + "hidden", True)
    else:
        error = refusal(found, "platform")
        assert error.reason is NotReadyReason.UNKNOWN_DESTINATION
        assert error.message.endswith(f"there are none yet; a block of a kind sets one up: {', '.join(KINDS)}")


PAGED = {"enabled": True, "escalation": [{"afterSeconds": 900, "providers": ["pagers"]}]}


@pytest.mark.parametrize(
    ("own", "may"),
    [
        (None, True),
        ({}, True),
        ({"remindAfterSeconds": 0}, True),
        ({"enabled": False}, False),
        ({"escalation": []}, False),
        ({"escalation": [{"afterSeconds": 60, "providers": ["pagers"]}]}, False),
    ],
)
def test_whom_roots_escalation_names_is_for_those_who_inherit_it(own, may):
    root = {
        "destinations": [slack("pagers", "p") | {"failover": ["phones"]}, slack("phones", "t")],
        "incidents": PAGED,
    }
    found = layers({} if own is None else {"incidents": own}, root)
    if may:
        assert [found.target(name).url for name in ("pagers", "phones")] == [HOOK + "p", HOOK + "t"]
    else:
        assert {refusal(found, name).reason for name in ("pagers", "phones")} == {NotReadyReason.UNKNOWN_DESTINATION}


@pytest.mark.parametrize("inherits", [True, False])
def test_what_roots_own_lists_name_is_for_those_who_inherit_them(inherits):
    root = {
        "destinations": [slack("platform", "p"), slack("quiet", "q")],
        "event_triggers": [{"event": "system_error", "providers": ["platform"]}],
        "default_provider": "quiet",
    }
    own = {} if inherits else {"eventTriggers": [{"event": "system_error", "providers": ["platform"]}]}
    found = layers(own, root)
    assert found.target("quiet").trusted
    if inherits:
        assert found.target("platform").trusted
    else:
        assert refusal(found, "platform").reason is NotReadyReason.UNKNOWN_DESTINATION
    assert layers(None, root).target("platform").trusted


def test_the_seeds_blocks_are_open_to_all_unless_root_says_otherwise():
    root = {"slack": {"webhook_url": HOOK + "r"}}
    org = {"eventTriggers": [{"event": "system_error", "providers": ["slack"]}]}
    assert layers(org, root).target("slack").trusted
    root["slack"]["allow"] = {"namespaces": ["elsewhere"]}
    assert "slack.webhookUrl is not set" in refusal(layers(org, root), "slack").message
    own = org | {"slack": {"webhookUrl": HOOK + "own"}}
    assert not layers(own, root).target("slack").trusted


def test_the_same_name_and_kind_merge_and_another_kind_replaces():
    root = {"destinations": [slack("ops", "r", channel="#root") | {"allow": {"namespaces": ["*"]}}]}
    merged = layers({"destinations": [{"name": "ops", "slack": {"channel": "#own"}}]}, root).target("ops")
    assert (merged.url, merged.trusted, merged.channel) == (HOOK + "r", True, "#own")
    own = layers({"destinations": [slack("ops", "o")]}, root).target("ops")
    assert (own.url, own.trusted, own.channel) == (HOOK + "o", False, "#root")
    replaced = layers({"destinations": [{"name": "ops", "email": {"toEmails": ["a@acme.example"]}}]}, root)
    assert replaced.kind("ops") == "email"
    assert "destinations[ops].email.smtpHost is not set" in refusal(replaced, "ops").message


def test_errors_name_the_place():
    org = {
        "secretRef": {"name": "s"},
        "destinations": [slack("ops", "x"), {"name": "b", "slack": {"webhookUrl": "${NOWHERE}"}}],
    }
    error = refusal(layers(org, secrets={"s": {}}), "b")
    assert error.message == "destinations[b].slack.webhookUrl: Secret s has no key NOWHERE"


def test_secrets_and_variables_are_found_in_them():
    spec = NotificationConfigSpec.model_validate(
        {
            "orgSlug": "a",
            "secretRef": {"name": "s"},
            "destinations": [
                {"name": "a", "slack": {"webhookUrl": "${A}"}},
                {"name": "b", "email": {"smtpPasswordSecretRef": {"name": "t", "key": "k"}, "toEmails": ["${B}"]}},
            ],
        }
    )
    assert secrets_of(spec) == {"s", "t"}
    assert list(variables_of(spec)) == [
        ("destinations[0].slack.webhookUrl", "A"),
        ("destinations[1].email.toEmails", "B"),
    ]


# ---------------------------------------------------------------------------- what root keeps for itself


TRANSPORT = {"smtp_host": "smtp.root.example", "from_email": "root@root.example"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"fromEmail": "a@acme.example", "fromName": "A", "ccEmails": [], "subjectPrefix": "[A]"}, None),
        ({"enabled": True}, None),
    ],
)
def test_by_default_an_organisation_sets_the_seeds_fields_on_roots_endpoints(fields, named):
    found = layers({"email": {"toEmails": ["a@acme.example"], **fields}}, {"email": TRANSPORT})
    assert found.target("email").trusted
    assert named is None


@pytest.mark.parametrize("spelling", ["to_emails", "toEmails"])
def test_root_says_which_fields_an_organisation_may_set(spelling):
    root = {"email": TRANSPORT | {"to_emails": ["x@root.example"]}, "restrict": {"org_may_set": [spelling]}}
    assert layers({"email": {"toEmails": ["a@acme.example"]}}, root).target("email").to == ("a@acme.example",)
    error = refusal(layers({"email": {"toEmails": ["a@acme.example"], "fromName": "Boss"}}, root), "email")
    assert error.reason is NotReadyReason.NOT_PERMITTED
    assert error.message.startswith("email.fromName may not be set on the platform's email")
    own = {"smtpHost": "smtp.acme.example", "fromEmail": "a@acme.example", "toEmails": ["a@b.io"], "fromName": "Boss"}
    assert layers({"email": own}, root).target("email").from_name == "Boss"


@pytest.mark.parametrize(
    ("kind", "endpoint", "of_root"),
    [
        (
            "teams",
            {"webhookUrl": KINDS["teams"].example["webhookUrl"]},
            {"mentionUsers": [{"id": "ROOT@a.io", "name": "R"}]},
        ),
        ("discord", {"webhookUrl": "https://discord.com/api/webhooks/123456/abcdefgh"}, {"threadId": "4242424242"}),
        ("telegram", {"botToken": KINDS["telegram"].example["botToken"], "chatId": "-1007"}, {"messageThreadId": 4242}),
        ("jsm", {"apiKey": "own"}, {"responders": [{"type": "team", "name": "ROOT"}]}),
        ("webhook", {"url": "https://hooks.acme.example"}, {"signature": "standard"}),
    ],
)
def test_whom_root_tells_is_not_inherited_by_an_endpoint_of_ones_own(kind, endpoint, of_root):
    root = {kind: dict(KINDS[kind].example) | of_root | {"allow": {"namespaces": ["*"]}}}
    target = layers({kind: endpoint}, root).target(kind)
    assert not target.trusted
    shown = str([getattr(target, name) for name in type(target).__dataclass_fields__])
    assert "ROOT" not in shown
    assert "4242" not in shown
    assert layers({}, root).target(kind).trusted


def test_root_that_names_no_field_lets_organisations_set_none():
    root = {"email": TRANSPORT | {"to_emails": ["x@root.example"]}, "restrict": {"org_may_set": []}}
    error = refusal(layers({"email": {"toEmails": ["a@acme.example"]}}, root), "email")
    assert error.reason is NotReadyReason.NOT_PERMITTED
    assert error.message.startswith("email.toEmails may not be set on the platform's email")
    assert layers({}, root).target("email").to == ("x@root.example",)


def test_roots_transport_sends_to_the_domains_that_root_says():
    root = {"email": TRANSPORT, "restrict": {"recipient_domains": ["acme.example"]}}
    assert layers({"email": {"toEmails": ["a@ACME.example"]}}, root).target("email").to == ("a@ACME.example",)
    org = {"email": {"toEmails": ["a@acme.example"], "ccEmails": ["b@sub.acme.example"]}}
    error = refusal(layers(org, root), "email")
    assert (error.reason, error.message) == (
        NotReadyReason.NOT_PERMITTED,
        "email.ccEmails[0]: the platform's transport sends to acme.example only",
    )
    filled = {"secretRef": {"name": "s"}, "email": {"toEmails": ["${TO}"]}}
    secrets = {"s": {"TO": "x@elsewhere.example"}}
    assert refusal(layers(filled, root, secrets=secrets), "email").reason is NotReadyReason.NOT_PERMITTED
    root["email"] = TRANSPORT | {"to_emails": ["ops@root.example"]}
    assert layers({}, root).target("email").to == ("ops@root.example",)


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"destinations": [{"name": "a"}]}, "exactly one of the blocks email, slack"),
        ({"destinations": [{"name": "a", "slack": {}, "email": {}}]}, "exactly one of the blocks"),
        ({"destinations": [slack("a", "x"), slack("a", "y")]}, "names a twice"),
        ({"destinations": [slack("On-Call", "x")]}, "lower-case letters"),
        ({"destinations": [slack("-a", "x")]}, "lower-case letters"),
        ({"destinations": [{"name": "a", "email": {"to_emails": [f"r{i}@b.io" for i in range(51)]}}]}, "at most 50"),
        ({"destinations": [slack("a", "x") | {"allow": {"namespaces": ["*"]}}]}, "root configuration only"),
        ({"slack": {"allow": {"namespaces": ["*"]}}}, "root configuration only"),
        ({"default_provider": "no such name"}, "the name of a destination"),
    ],
)
def test_refusals(document, said):
    with pytest.raises(InvalidInput) as caught:
        parse_notification_json(document)
    assert said in str(caught.value)


def test_root_takes_no_references_to_secrets_anywhere():
    reference = {"webhook_url_secret_ref": {"name": "s", "key": "k"}}
    with pytest.raises(InvalidInput) as caught:
        parse_notification_json({"destinations": [{"name": "a", "slack": reference}]}, root=True)
    assert "destinations[0].slack.webhookUrlSecretRef" in str(caught.value)


# ---------------------------------------------------------------------------- failover


CALL = {"routingKey": "0123456789abcdef0123456789abcdef"}
PHONES = {
    "accountSid": "AC" + "0a" * 16,
    "authToken": "t",
    "fromNumber": "+15005550006",
    "toNumbers": ["+4915112345678", "+447700900123"],
}


def test_failover_of_a_block_and_beside_a_named_one():
    found = layers(
        {
            "pagerduty": {**CALL, "failover": ["sms", "off", "pagerduty"], "failoverAfterSeconds": 60},
            "sms": PHONES,
            "slack": {"webhookUrl": HOOK + "x", "failover": ["nowhere"]},
            "destinations": [
                slack("on-call", "y") | {"failover": ["pagerduty"], "sendRecovery": False},
                slack("off", "z", enabled=False),
            ],
        }
    )
    assert found.fallback("pagerduty") == (("sms/1", "sms/2"), 60.0), "each number; what is disabled or itself is not"
    assert found.fallback("on-call") == (("pagerduty",), 300.0)
    assert found.fallback("slack") == (("nowhere",), 300.0), "an unknown one waits, as everywhere"
    assert found.fallback("sms/1") is None
    assert found.fallback("nowhere") is None
    assert [found.sends_recovery(name) for name in ("on-call", "slack", "nowhere")] == [False, True, True]


def test_a_name_that_is_unknown_among_failover_is_told_with_its_place():
    found = layers({"destinations": [slack("on-call", "y") | {"failover": ["phone"]}], "defaultProvider": "on-call"})
    assert list(destinations_in_use(found)) == ["on-call", "phone"]
    assert refusal(found, "phone").message == (
        "destinations[on-call].failover: there is no destination phone; there are: on-call"
    )
    block = layers({"slack": {"webhookUrl": HOOK + "x", "failover": ["phone"]}, "defaultProvider": "slack"})
    assert refusal(block, "phone").message.startswith("slack.failover: there is no destination phone")


def test_what_stands_in_is_in_use_and_nothing_beyond_it():
    chain = [slack(name, name) | {"failover": [other]} for name, other in (("a", "b"), ("b", "c"))]
    found = layers({"destinations": [*chain, slack("c", "c")], "defaultProvider": "a"})
    assert list(destinations_in_use(found)) == ["a", "b"]


def test_failover_counts_among_the_deliveries_of_an_event():
    many = [
        {"name": f"phones-{number}", "sms": {**PHONES, "toNumbers": [f"+49151{n:07}" for n in range(10)]}}
        for number in range(4)
    ]
    org = {"destinations": many, "defaultProvider": "phones-0", "eventTriggers": [{"event": "system_error"}]}
    check_plans(layers(org))
    many[0]["failover"] = ["phones-1", "phones-2"]
    check_plans(layers(org))
    many[0]["failover"].append("phones-3")
    with pytest.raises(NotReady, match=r"makes 40 deliveries of an event, .*failover included") as caught:
        check_plans(layers(org))
    assert caught.value.reason is NotReadyReason.INVALID


@pytest.mark.parametrize("own", [{}, {"channel": "#ours"}, {"failover": ["email"]}, {"webhookUrl": HOOK + "own"}])
def test_whose_failover_counts(own):
    root = {
        "slack": {"webhook_url": HOOK + "root", "failover": ["platform"], "failover_after_seconds": 9},
        "destinations": [slack("platform", "p")],
    }
    org = {"slack": own, "email": {"smtpHost": "m.example", "fromEmail": "a@b.example", "toEmails": ["a@b.example"]}}
    found = layers(org, root)
    inherited = "failover" not in own and "webhookUrl" not in own
    if inherited:
        assert found.fallback("slack") == (("platform",), 9.0)
        assert found.target("platform").url == HOOK + "p", "root's own list names it"
    else:
        assert found.fallback("slack") == ((("email",), 9.0) if "failover" in own else None)
        assert refusal(found, "platform").reason is NotReadyReason.UNKNOWN_DESTINATION
    assert found.target("slack"), "where messages go instead is the organisation's own matter"


def test_roots_failover_leads_on_only_for_those_who_may_name_its_beginning():
    root = {
        "destinations": [
            slack("first", "1") | {"failover": ["second"], "allow": {"namespaces": ["team-a"]}},
            slack("second", "2") | {"failover": ["third"]},
            slack("third", "3"),
        ]
    }
    admitted, other = layers({}, root), layers({}, root, namespace="team-b")
    assert admitted.target("second").url == HOOK + "2"
    assert admitted.target("third").url == HOOK + "3"
    assert refusal(other, "second").reason is NotReadyReason.UNKNOWN_DESTINATION


def test_failover_in_roots_json_may_be_spelt_as_there():
    entry = {"name": "x", "slack": {"webhook_url": "https://hooks.slack.com/x"}}
    entry |= {"failover": ["google_chat"], "failover_after_seconds": 5, "send_recovery": False}
    spec = parse_notification_json({"destinations": [entry]}, root=True)
    (item,) = spec.destinations
    assert (item.failover, item.failover_after_seconds, item.send_recovery) == (["googleChat"], 5, False)
