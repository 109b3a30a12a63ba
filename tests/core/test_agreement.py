"""The models and the API server agree: what one rejects, the other rejects too."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from pipebell.core.event import MAX_ERROR_MESSAGE, PipelineEventSpec
from pipebell.core.fields import templates
from pipebell.core.incidents.resource import IncidentSpec
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.silences.resource import SilenceSpec

pytestmark = pytest.mark.cluster

MODELS = {"NotificationConfig": NotificationConfigSpec, "PipelineEvent": PipelineEventSpec, "Incident": IncidentSpec}
MODELS["Silence"] = SilenceSpec
A_CONFIG = {"orgSlug": "acme_corp"}
AN_EVENT = {"orgSlug": "acme_corp", "event": "pipeline_failure"}
A_SILENCE = {"endsAt": "2026-01-31T08:00:00Z", "reason": "the warehouse moves"}
AN_INCIDENT = {"orgSlug": "acme_corp", "key": "nightly", "class": "Run", "openedBy": "e-1"}


def parses(kind, spec):
    try:
        MODELS[kind].model_validate(spec)
    except ValidationError:
        return False
    return True


def config(**fields):
    return "NotificationConfig", A_CONFIG | fields


def event(**fields):
    return "PipelineEvent", AN_EVENT | fields


def incident(**fields):
    return "Incident", AN_INCIDENT | fields


def silence(**fields):
    return "Silence", A_SILENCE | fields


def quiet(**fields):
    return config(quietHours=[{"from": "22:00", "to": "07:00"} | fields])


def email(**fields):
    return config(email=fields)


def slack(**fields):
    return config(slack=fields)


def named(**fields):
    return config(destinations=[{"name": "on-call"} | fields])


def pagerduty(**fields):
    return config(pagerduty=fields)


def teams(**fields):
    return config(teams=fields)


def webhook(**fields):
    return config(webhook=fields)


def header(**fields):
    return config(webhook={"headers": [fields]})


def trigger(**fields):
    return config(eventTriggers=[{"event": "system_error"} | fields])


def override(**fields):
    return config(pipelineOverrides=[{"pipelines": ["*"]} | fields])


def shared(**fields):
    return config(eventNamespaces=fields)


def unset(model):
    return {info.alias or name: None for name, info in model.model_fields.items() if not info.is_required()}


GOOD = {
    "failover beside a block": named(
        email={}, failover=["slack", "on-call-2"], failoverAfterSeconds=0, sendRecovery=False
    ),
    "failover of a block": pagerduty(failover=["sms"], failoverAfterSeconds=86_400, sendRecovery=True),
    "no failover": slack(failover=[]),
    "a trace": event(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    "a bot token": slack(botToken="xoxb-1-A.b", channel="#x"),
    "a bot token by placeholder": slack(botToken="${SLACK_BOT_TOKEN}"),
    "a routing key": pagerduty(routingKey="0123456789abcdefABCDEF0123456789", region="eu", changeEvents=True),
    "a routing key by placeholder": pagerduty(routingKey="${PAGERDUTY_ROUTING_KEY}", region=None),
    "a workflow": teams(
        webhookUrl="https://d0.e1.environment.api.powerplatform.com:443/w?sp=%2Ftriggers%2Fmanual%2Frun&sig=a-b_c~",
        mentionUsers=[{"id": "ana#ext@example.com", "name": "Ana Ørsted 🚀"}],
        mentionMinSeverity="ERROR",
    ),
    "a signed webhook": webhook(url="https://h.example/x?a=b", signingSecret="whsec_x", previousSigningSecret="${OLD}"),
    "a webhook in each format": webhook(format="cloudeventsBatch", signature="flux"),
    "a header": header(name="Authorization", value="Bearer a$b {c}"),
    "a header by placeholder": header(name="X-Api-Key", value="${KEY}"),
    "a header by reference": header(name="x_y", valueSecretRef={"name": "s", "key": "k"}),
    "ten headers": config(webhook={"headers": [{"name": f"X-{n}", "value": "1"} for n in range(10)]}),
    "the least config": config(),
    "the least event": event(),
    "all unset by null": config(**unset(NotificationConfigSpec)),
    "an event unset by null": event(**unset(PipelineEventSpec)),
    "blocks unset by null": config(
        email=dict.fromkeys(["enabled", "smtpHost", "smtpPort", "smtpPassword", "smtpPasswordSecretRef", "toEmails"]),
        slack=dict.fromkeys(["webhookUrl", "webhookUrlSecretRef", "iconEmoji", "mentionUsers", "mentionMinSeverity"]),
    ),
    "null beside its other source": email(
        smtpUsername="me",
        smtpUsernameSecretRef=None,
        smtpPassword=None,
        smtpPasswordSecretRef={"name": "s", "key": "k"},
    ),
    "null selector": shared(**{"from": "All", "selector": None}),
    "the longest org": config(orgSlug="a" * 63),
    "an org with everything": config(orgSlug="A.b-c_9"),
    "placeholders": email(
        **dict.fromkeys(["smtpHost", "smtpUsername", "smtpPassword", "fromEmail"], "${A_1}"),
        toEmails=["${_B}"],
        ccEmails=["${c}"],
    ),
    "a webhook by placeholder": slack(webhookUrl="${SLACK_WEBHOOK_URL}"),
    "a webhook": slack(webhookUrl="https://hooks.slack.com:443/services/T0/B0/x?a=b&c=%20"),
    "a webhook by address": slack(webhookUrl="https://[::1]:8443/hook"),
    "TLS as one likes": email(smtpTls="StartTls"),
    "a name for EHLO": email(smtpHelo="mail-1.example.com"),
    "an address for EHLO": email(smtpHelo="[IPv6:2001:db8::1]"),
    "an IPv6 host": email(smtpHost="[2001:db8::1]"),
    "an address with all signs": email(fromEmail="a.!#$%&'*+/=?^_`{|}~-b@x.example"),
    "an e-mail address without dots": email(toEmails=["root@localhost"]),
    "no recipients": email(toEmails=[]),
    "a hundred recipients": email(toEmails=[f"r{i}@example.com" for i in range(100)]),
    "severity in any case": trigger(severity="cRiTiCaL"),
    "severity in capitals": event(severity="ERROR"),
    "no cooldown": trigger(cooldownSeconds=0),
    "a digest an hour": trigger(digest={"everySeconds": 3600, "maxItems": 5, "destinations": ["email"]}),
    "a digest by schedule": trigger(digest={"schedule": "0 8 * * mon-FRI", "timezone": "Europe/Berlin"}),
    "a digest switched off": trigger(digest={"enabled": False}),
    "a digest with its other rhythm null": trigger(digest={"everySeconds": 60, "schedule": None}),
    "digests for some pipelines": override(digest={"everySeconds": 60}),
    "a limit an hour": config(maxNotificationsPerHour=60),
    "a whole number with a point": email(smtpPort=587.0),
    "both providers": trigger(providers=["slack", "email"]),
    "no triggers": config(eventTriggers=[]),
    "every trigger": config(eventTriggers=[{"event": name} for name in ("pipeline_failure", "pipeline_success")]),
    "a selector": shared(**{"from": "Selector", "selector": {"matchLabels": {"a/b": "c"}, "matchExpressions": []}}),
    "an empty selector": shared(**{"from": "Selector", "selector": {}}),
    "a user, a group, another workspace's": slack(mentionUsers=["U123456", "S0614TZR7", "W1"]),
    "emoji beyond ASCII": slack(iconEmoji=":café:", username="Größe 🚀"),
    "the longest message": event(errorMessage="é" * MAX_ERROR_MESSAGE),
    "control characters in a message": event(errorMessage="\x00\x1b[31m\r\n", pipelineId="a\r\nb"),
    "free-form details": event(details={"a": None, "b": [1, {"c": [None, 1.5, "x"]}], "${X}": "<!channel>"}),
    "a time": event(occurredAt="2026-01-31T08:00:00Z"),
    "a time elsewhere": event(occurredAt="2026-01-31T08:00:00.123456789+05:30"),
    "the last time": event(occurredAt="9999-12-31T23:59:59-14:00"),
    "the zero time of Go": event(occurredAt="0001-01-01T00:00:00Z"),
    "a link": event(links=[{"title": "Wiki", "url": "http://wiki/日本?q=1#x"}]),
    "a destination by name": config(defaultProvider="on-call"),
    "a name that nothing has": trigger(providers=["mail", "Email"]),
    "a kind as JSON files spell it": config(defaultProvider="google_chat"),
    "named destinations": config(
        destinations=[{"name": "a", "slack": {}, "email": None}, {"name": "b-1", "email": {"toEmails": ["x@y.io"]}}]
    ),
    "the longest name": config(destinations=[{"name": "a" * 40, "slack": {}}]),
    "fifty recipients by name": named(email={"toEmails": [f"r{i}@example.com" for i in range(50)]}),
    "an owner, labels and tries": event(owner="data-team", labels={"env": "prod"}, attempt=2, maxAttempts=3),
    "Discord": config(discord={"webhookUrl": "${D}", "username": "Größe", "threadId": "1205000000000000003"}),
    "Google Chat": config(
        googleChat={"webhookUrl": "https://chat.googleapis.com/v1/spaces/A/messages?key=a&token=b%3D"}
    ),
    "Telegram": config(telegram={"botToken": "1:a-B_c", "chatId": "-1001234567890", "messageThreadId": 7.0}),
    "Telegram by placeholders": config(telegram={"botToken": "${T}", "chatId": "${C}"}),
    "a Telegram channel": config(telegram={"botTokenSecretRef": {"name": "s", "key": "k"}, "chatId": "@acme_data"}),
    "Mattermost": config(mattermost={"webhookUrl": "https://[::1]:8065/hooks/x", "channel": "@me", "username": ""}),
    "JSM": config(jsm={"apiKey": "${K}", "tags": ["a"], "responders": [{"type": "user", "name": "a@b.io"}]}),
    "Alertmanager": config(alertmanager={"url": "http://am:9093/x", "username": "${U}", "password": "${P}"}),
    "SMS": config(
        sms={
            "accountSid": "AC" + "0a" * 16,
            "apiKeySid": "${K}",
            "apiKeySecretSecretRef": {"name": "s", "key": "k"},
            "fromNumber": "Acme Ops",
            "host": "api.dublin.ie1.twilio.com",
            "toNumbers": ["+4915112345678", "${N}"],
            "maxPerHour": 10.0,
        }
    ),
    "a short code": config(sms={"fromNumber": "12345", "toNumbers": []}),
    "a replay to one number": event(replayOf={"name": "x", "destinations": ["sms/1", "on-call/10", "email"]}),
    "labels of alerts": config(alertmanager={"url": "${U}", "bearerToken": "x", "labels": {"_team": "", "a1": "é"}}),
    "sixteen of each": config(
        destinations=[
            {"name": f"d{number}", "alertmanager": {"url": "https://am", "labels": {f"l{n}": "x" for n in range(16)}}}
            for number in range(16)
        ]
    ),
    "the least incident": incident(),
    "an incident unset by null": incident(**unset(IncidentSpec)),
    "an incident with everything": incident(
        **{"class": "DataQuality", "pipelineId": "a\r\nb", "snoozedUntil": "2026-01-31T08:00:00+01:00"},
        acknowledgement={"by": "Zoë", "note": "on it\n1. look"},
        resolution={"by": "bob", "note": None},
    ),
    "the longest key": incident(key="é" * 1024),
    "a template of each kind": config(
        **{kind: {to_camel(name): "{{ event.name }}" for name in templates(KINDS[kind].spec)} for kind in KINDS}
    ),
    "a template of several lines": email(textTemplate="a\n\t{{ b }}\r\n\u2028 ${ {} 日本\x00"),
    "a template by null": slack(textTemplate=None, blocksTemplate=None),
    "the longest template": email(htmlTemplate="x" * 8192),
    "the longest template beyond ASCII": email(htmlTemplate="é" * 4096),
    "as many templates as there may be": config(
        destinations=[{"name": f"d{n}", "slack": {"textTemplate": "x" * 8192}} for n in range(16)]
    ),
    "a body by a template": webhook(format="template", bodyTemplate="{}"),
    "an override of everything": override(
        pipelines=["nightly-*", "dag/task[1]:é?", "*"],
        events=["pipeline_failure", "pipeline_success"],
        owner="data-*",
        labels={"env": "prod?", "pipebell.io/team": "*"},
        minSeverity="WARNING",
        enabled=True,
        severity="Critical",
        providers=["email", "on-call"],
        cooldownSeconds=0,
    ),
    "an override that changes nothing": override(),
    "an override unset by null": override(
        events=None, owner=None, labels=None, minSeverity=None, enabled=None, severity=None, providers=None
    ),
    "sixty-four overrides": config(pipelineOverrides=[{"pipelines": ["x" * 256] * 8}] * 64),
    "no overrides": config(pipelineOverrides=[]),
    "the least silence": silence(),
    "a silence unset by null": silence(**unset(SilenceSpec)),
    "a silence with everything": silence(
        orgSlug="acme",
        pipelines=["orders-*", "bill?ng nightly/é", "*" * 256],
        events=["pipeline_failure", "pipeline_missing"],
        labels={"env": "p*", "x" * 63: ""},
        maxSeverity="Error",
        startsAt="2026-01-31T07:59:59.999Z",
        ticket="https://tickets.example/OPS-7",
        catchUp="None",
    ),
    "a silence over a change of zone": silence(startsAt="2026-01-31T09:30:00+02:00"),
    "the longest reason": silence(reason="é" * 500),
    "the most pipelines": silence(pipelines=["p" * 256] * 32),
    "quiet hours": quiet(days=["mon", "sun"], timezone="America/New_York", exceptSeverity="ERROR", catchUp="Summary"),
    "quiet hours until midnight": quiet(to="24:00"),
    "quiet hours on no day": quiet(days=[]),
    "quiet hours unset by null": quiet(days=None, timezone=None, exceptSeverity=None, catchUp=None),
    "no quiet hours": config(quietHours=[]),
    "the most quiet hours": config(quietHours=[{"from": "22:00", "to": "07:00", "timezone": "Europe/Berlin"}] * 16),
    "a replay": event(replayOf={"name": "old.event-1", "destinations": ["slack"]}),
}

BAD = {
    "failover inside a named destination's block": named(slack={"failover": ["email"]}),
    "failover to what is no name": slack(failover=["a b"]),
    "failover twice to one": pagerduty(failover=["email", "email"]),
    "failover in the past": named(email={}, failoverAfterSeconds=-1),
    "failover after more than a day": email(failoverAfterSeconds=86_401),
    "failover as a text": named(email={}, failover="slack"),
    "a trace of another version": event(traceparent="01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    "a trace in capitals": event(traceparent="00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01"),
    "a trace without an id": event(traceparent=f"00-{'0' * 32}-b7ad6b7169203331-01"),
    "a trace without a parent": event(traceparent=f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01"),
    "a trace with a line break": event(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"),
    "an app's token for a bot's": slack(botToken="Bearer xoxb-1"),
    "half a placeholder in a bot token": slack(botToken="xoxb-${T}"),
    "a bot token with a line break": slack(botToken="xoxb-1\n"),
    "a bot token twice": slack(botToken="${A}", botTokenSecretRef={"name": "s", "key": "k"}),
    "a routing key that is too short": pagerduty(routingKey="0123456789abcdef"),
    "a routing key with a dash": pagerduty(routingKey="0123456789abcdef-123456789abcdef"),
    "half a placeholder in a routing key": pagerduty(routingKey="x${KEY}"),
    "a routing key twice": pagerduty(routingKey="${A}", routingKeySecretRef={"name": "s", "key": "k"}),
    "another region": pagerduty(region="EU"),
    "change events in words": pagerduty(changeEvents="yes"),
    "a mention without a name": teams(mentionUsers=[{"id": "ana@example.com"}]),
    "a mention with markup": teams(mentionUsers=[{"id": "ana@example.com", "name": "<at>all</at>"}]),
    "a mention of two lines": teams(mentionUsers=[{"id": "ana@example.com", "name": "a\nb"}]),
    "a mention with a space in its id": teams(mentionUsers=[{"id": "ana lima", "name": "Ana"}]),
    "a mention by placeholder": teams(mentionUsers=[{"id": "${ANA}", "name": "Ana"}]),
    "twenty-one mentions": teams(mentionUsers=[{"id": f"u{n}", "name": "x"} for n in range(21)]),
    "an http webhook of one's own": webhook(url="http://h.example/"),
    "a signing secret twice": webhook(signingSecret="a", signingSecretSecretRef={"name": "s", "key": "k"}),
    "another format": webhook(format="cloudevents"),
    "another signature": webhook(signature="hmac"),
    "a header without a name": header(value="x"),
    "a header's name with a colon": header(name="X:", value="x"),
    "a header's name with a line break": header(name="X\n", value="x"),
    "a reserved header": header(name="Content-Type", value="x"),
    "a header of ours": header(name="Webhook-Id", value="x"),
    "a header of two lines": header(name="X", value="a\r\nY: b"),
    "a header with a space last": header(name="X", value="a "),
    "a header beyond ASCII": header(name="X", value="größe"),
    "half a placeholder in a header": header(name="X", value="Bearer ${TOKEN}"),
    "a header's value twice": header(name="X", value="x", valueSecretRef={"name": "s", "key": "k"}),
    "eleven headers": config(webhook={"headers": [{"name": f"X-{n}", "value": "1"} for n in range(11)]}),
    "no org": ("NotificationConfig", {}),
    "null org": config(orgSlug=None),
    "empty org": config(orgSlug=""),
    "org too long": config(orgSlug="a" * 64),
    "org with a slash": config(orgSlug="a/b"),
    "org with a dash first": config(orgSlug="-a"),
    "org with a line break last": config(orgSlug="acme\n"),
    "org as a number": config(orgSlug=5),
    "null spec": ("NotificationConfig", None),
    "list for spec": ("PipelineEvent", []),
    "unknown field": config(emial={}),
    "unknown field below": email(smtpHots="x"),
    "snake case below a list": trigger(coolDown=5),
    "status in spec": event(phase="Delivered"),
    "text for a flag": config(enabled="true"),
    "number for a flag": config(enabled=1),
    "text for a number": email(smtpPort="587"),
    "flag for a number": email(smtpPort=True),
    "port too high": email(smtpPort=65_536),
    "port zero": email(smtpPort=0),
    "half a second": trigger(cooldownSeconds=0.5),
    "a digest without a rhythm": trigger(digest={}),
    "a digest switched on without a rhythm": trigger(digest={"enabled": True}),
    "a digest with both rhythms": trigger(digest={"everySeconds": 60, "schedule": "0 8 * * *"}),
    "a digest every second": trigger(digest={"everySeconds": 59}),
    "a digest of no lines": trigger(digest={"everySeconds": 60, "maxItems": 0}),
    "a digest of too many lines": trigger(digest={"everySeconds": 60, "maxItems": 501}),
    "a digest by four fields": trigger(digest={"schedule": "0 8 * *"}),
    "a digest by seconds": trigger(digest={"schedule": "0 0 8 * * 1"}),
    "a digest by a word": trigger(digest={"schedule": "@daily"}),
    "a digest in a zone that is none": trigger(digest={"schedule": "0 8 * * *", "timezone": "Mars/Olympus"}),
    "a digest twice to one destination": trigger(digest={"everySeconds": 60, "destinations": ["email", "email"]}),
    "no notifications an hour": config(maxNotificationsPerHour=0),
    "root's limit": config(restrict={"maxNotificationsPerHour": 5}),
    "negative cooldown": trigger(cooldownSeconds=-1),
    "endless cooldown": trigger(cooldownSeconds=10**30),
    "no attempts": config(retryConfig={"maxAttempts": 0}),
    "negative delay": config(retryConfig={"initialDelaySeconds": -1}),
    "unknown event type": trigger(event="pipeline_failed"),
    "event type in capitals": event(event="PIPELINE_FAILURE"),
    "no event type": ("PipelineEvent", A_CONFIG),
    "trigger without event": config(eventTriggers=[{"enabled": True}]),
    "trigger twice": config(eventTriggers=[{"event": "system_error"}, {"event": "system_error", "enabled": False}]),
    "null trigger": config(eventTriggers=[None]),
    "unknown severity": trigger(severity="fatal"),
    "empty severity": event(severity=""),
    "severity with a space": event(severity="error "),
    "a destination's name with a space": config(defaultProvider="on call"),
    "a destination's name that is too long": config(defaultProvider="a" * 41),
    "an empty name in a trigger": trigger(providers=[""]),
    "a placeholder for a destination": trigger(providers=["${NAME}"]),
    "a named destination without a block": named(),
    "a named destination with two blocks": named(slack={}, email={}),
    "a named destination without a name": config(destinations=[{"slack": {}}]),
    "a name in capitals": config(destinations=[{"name": "OnCall", "slack": {}}]),
    "a name with a dash last": config(destinations=[{"name": "on-call-", "slack": {}}]),
    "one name twice": config(destinations=[{"name": "a", "slack": {}}, {"name": "a", "email": {}}]),
    "too many recipients by name": named(email={"toEmails": [f"r{i}@example.com" for i in range(51)]}),
    "seventeen named destinations": config(destinations=[{"name": f"d{i}", "slack": {}} for i in range(17)]),
    "what is root's own to say": named(slack={}, allow={"namespaces": ["*"]}),
    "what is root's own to say in a block": slack(allow={"namespaces": ["*"]}),
    "a named webhook that is none": named(slack={"webhookUrl": "http://hooks.slack.com/x"}),
    "a named password twice": named(email={"smtpPassword": "x", "smtpPasswordSecretRef": {"name": "s", "key": "k"}}),
    "a label that is too long": event(labels={"env": "x" * 257}),
    "an owner of two lines": event(owner="a\nb"),
    "attempt zero": event(attempt=0),
    "provider twice": trigger(providers=["email", "slack", "email"]),
    "null provider": trigger(providers=[None]),
    "bad e-mail address": email(toEmails=["ops@example.com", "nobody"]),
    "e-mail address with a name": email(fromEmail="Ops <ops@example.com>"),
    "e-mail address with a line break": email(fromEmail="ops@example.com\nBcc: all@example.com"),
    "e-mail address with a line break last": email(fromEmail="ops@example.com\n"),
    "e-mail address beyond ASCII": email(toEmails=["größe@example.com"]),
    "two e-mail addresses in one": email(toEmails=["a@b.io,c@d.io"]),
    "empty e-mail address": email(toEmails=[""]),
    "null e-mail address": email(toEmails=[None]),
    "an e-mail address for a list": email(toEmails="ops@example.com"),
    "too many recipients": email(toEmails=[f"r{i}@example.com" for i in range(101)]),
    "local part too long": email(fromEmail=f"{'a' * 65}@example.com"),
    "TLS in small letters": email(smtpTls="implicit"),
    "EHLO with a space": email(smtpHelo="mail.example.com QUIT"),
    "EHLO with a line break": email(smtpHelo="mail.example.com\n"),
    "EHLO by a placeholder": email(smtpHelo="${HELO}"),
    "negative time": config(retryConfig={"maxElapsedSeconds": -1}),
    "host with a scheme": email(smtpHost="smtp://mail.example.com"),
    "host with a port": email(smtpHost="mail.example.com:25"),
    "host with a line break last": email(smtpHost="mail.example.com\n"),
    "empty host": email(smtpHost=""),
    "empty password": email(smtpPassword=""),
    "placeholder inside an address": email(toEmails=["${USER}@example.com"]),
    "placeholder inside a legal local part": email(toEmails=["a${X}@example.com"]),
    "placeholder inside a host": email(smtpHost="${HOST}.example.com"),
    "placeholder inside a password": email(smtpPassword="p-${X}-q"),
    "two placeholders": email(smtpPassword="${A}${B}"),
    "placeholder with a closing brace more": email(smtpPassword="${A}}"),
    "placeholder without a name": email(smtpPassword="${}"),
    "placeholder that is a number": email(smtpUsername="${1}"),
    "placeholder with a line break": email(smtpPassword="${A}\n"),
    "placeholder inside a webhook": slack(webhookUrl="https://hooks.slack.com/services/${TOKEN}"),
    "placeholder in the From name": email(fromName="${NAME}"),
    "placeholder in the prefix": email(subjectPrefix="[${NAME}]"),
    "placeholder in the channel": slack(channel="#${C}"),
    "placeholder in the user name": slack(username="${C}"),
    "placeholder as emoji": slack(iconEmoji=":${C}:"),
    "placeholder as org": config(orgSlug="${ORG}"),
    "placeholder for a port": email(smtpPort="${PORT}"),
    "a password twice": email(smtpPassword="x", smtpPasswordSecretRef={"name": "s", "key": "k"}),
    "a user name twice": email(smtpUsername="x", smtpUsernameSecretRef={"name": "s", "key": "k"}),
    "a webhook twice": slack(webhookUrl="${W}", webhookUrlSecretRef={"name": "s", "key": "k"}),
    "reference without key": email(smtpPasswordSecretRef={"name": "s"}),
    "reference with a null key": email(smtpPasswordSecretRef={"name": "s", "key": None}),
    "reference to another namespace": email(
        smtpPasswordSecretRef={"name": "s", "key": "k", "namespace": "kube-system"}
    ),
    "reference that climbs": config(secretRef={"name": "../x"}),
    "a name for a reference": config(secretRef="acme"),
    "key with a slash": email(smtpPasswordSecretRef={"name": "s", "key": "a/b"}),
    "http webhook": slack(webhookUrl="http://hooks.slack.com/services/T/B/x"),
    "webhook with credentials": slack(webhookUrl="https://user:pass@hooks.slack.com/x"),
    "webhook with a backslash": slack(webhookUrl="https://evil.example\\@hooks.slack.com/x"),
    "webhook with a space": slack(webhookUrl="https://hooks.slack.com/a b"),
    "webhook with an odd space": slack(webhookUrl="https://hooks.slack.com/a\u2003b"),
    "webhook without host": slack(webhookUrl="https:///x"),
    "prefix of two lines": email(subjectPrefix="a\r\nBcc: x@y.io"),
    "a mentioned name": slack(mentionUsers=["@bob"]),
    "a mentioned channel": slack(mentionUsers=["!channel"]),
    "emoji without colons": slack(iconEmoji="robot_face"),
    "emoji with a vertical tab": slack(iconEmoji=":a\x0bb:"),
    "channel too long": slack(channel="#" + "c" * 80),
    "unknown from": shared(**{"from": "same"}),
    "no from": shared(selector={}),
    "from without selector": shared(**{"from": "Selector"}),
    "null selector where one is needed": shared(**{"from": "Selector", "selector": None}),
    "selector without from": shared(**{"from": "All", "selector": {}}),
    "label key too long": shared(**{"from": "Selector", "selector": {"matchLabels": {"k" * 318: "v"}}}),
    "label value too long": shared(**{"from": "Selector", "selector": {"matchLabels": {"k": "v" * 64}}}),
    "null label value": shared(**{"from": "Selector", "selector": {"matchLabels": {"k": None}}}),
    "too many labels": shared(**{"from": "Selector", "selector": {"matchLabels": {f"k{i}": "v" for i in range(51)}}}),
    "unknown operator": shared(
        **{"from": "Selector", "selector": {"matchExpressions": [{"key": "a", "operator": "in"}]}}
    ),
    "message too long": event(errorMessage="x" * (MAX_ERROR_MESSAGE + 1)),
    "message as a list": event(errorMessage=["a"]),
    "details as a list": event(details=[1]),
    "details as text": event(details="boom"),
    "time without zone": event(occurredAt="2026-01-31T08:00:00"),
    "a day": event(occurredAt="2026-01-31"),
    "a day that is none": event(occurredAt="2026-02-30T08:00:00Z"),
    "an hour that is none": event(occurredAt="2026-01-31T25:00:00Z"),
    "a leap second": event(occurredAt="2016-12-31T23:59:60Z"),
    "time as a number": event(occurredAt=1_769_846_400),
    "time in words": event(occurredAt="yesterday"),
    "year zero": event(occurredAt="0000-01-01T00:00:00Z"),
    "link that runs": event(links=[{"title": "x", "url": "javascript:alert(1)"}]),
    "link with a line break": event(links=[{"title": "x", "url": "https://a/\nb"}]),
    "link without title": event(links=[{"url": "https://a/"}]),
    "eleven links": event(links=[{"title": "x", "url": "https://a/"}] * 11),
    "negative time to live": event(ttlSecondsAfterFinished=-1),
    "a thread as a number": config(discord={"threadId": 1205000000000000003}),
    "a thread by name": config(discord={"threadId": "general"}),
    "a user name with a space first": config(discord={"username": " x"}),
    "Google Chat over http": config(googleChat={"webhookUrl": "http://chat.googleapis.com/v1/spaces/A/messages"}),
    "a bot's token without a number": config(telegram={"botToken": "hidden-token"}),
    "a bot's token that climbs": config(telegram={"botToken": "1:a/../b"}),
    "a bot's token with a line break": config(telegram={"botToken": "1:a\n"}),
    "a chat by its title": config(telegram={"chatId": "Data team"}),
    "a chat as a number": config(telegram={"chatId": -1001234567890}),
    "a topic that is none": config(telegram={"messageThreadId": 0}),
    "a bot's token twice": config(telegram={"botToken": "1:a", "botTokenSecretRef": {"name": "s", "key": "k"}}),
    "a channel of two lines": config(mattermost={"channel": "a\nb"}),
    "an unknown responder": config(jsm={"responders": [{"type": "group", "name": "x"}]}),
    "a responder without a name": config(jsm={"responders": [{"type": "team"}]}),
    "a tag by a placeholder": config(jsm={"tags": ["${T}"]}),
    "an empty tag": config(jsm={"tags": [""]}),
    "twenty-one tags": config(jsm={"tags": ["x"] * 21}),
    "Alertmanager without a scheme": config(alertmanager={"url": "am:9093"}),
    "Alertmanager with a query": config(alertmanager={"url": "https://am/?x=1"}),
    "Alertmanager with credentials in its URL": config(alertmanager={"url": "https://me:hidden@am/"}),
    "a label's name with a dash": config(alertmanager={"labels": {"a-b": "x"}}),
    "a label's name with a digit first": config(alertmanager={"labels": {"1a": "x"}}),
    "a label without a name": config(alertmanager={"labels": {"": "x"}}),
    "a label by a placeholder": config(alertmanager={"labels": {"a": "${X}"}}),
    "a label that is null": config(alertmanager={"labels": {"a": None}}),
    "too many labels of alerts": config(alertmanager={"labels": {f"l{n}": "x" for n in range(17)}}),
    "a number without a country": config(sms={"toNumbers": ["015112345678"]}),
    "a number with spaces": config(sms={"toNumbers": ["+49 151 12345678"]}),
    "a number as a number": config(sms={"toNumbers": [4915112345678]}),
    "eleven numbers": config(sms={"toNumbers": [f"+49151123456{n:02}" for n in range(11)]}),
    "an account that is none": config(sms={"accountSid": "AC1"}),
    "an account that climbs": config(sms={"accountSid": "AC" + "../" * 10 + "xy"}),
    "a sender that is too long": config(sms={"fromNumber": "Acme Operations"}),
    "a host with a path": config(sms={"host": "api.twilio.com/x"}),
    "no messages an hour": config(sms={"maxPerHour": 0}),
    "a trigger for one number": trigger(providers=["sms/1"]),
    "a replay to a number that is none": event(replayOf={"name": "x", "destinations": ["sms/0"]}),
    "a replay to half a number": event(replayOf={"name": "x", "destinations": ["sms/"]}),
    "an Alertmanager's password twice": config(
        alertmanager={"password": "x", "passwordSecretRef": {"name": "s", "key": "k"}}
    ),
    "an incident without a key": ("Incident", {"orgSlug": "acme_corp", "class": "Run", "openedBy": "e-1"}),
    "an incident of another class": incident(**{"class": "run"}),
    "a key that is too long": incident(key="x" * 1025),
    "a key that is none": incident(key=""),
    "an opening by no name": incident(openedBy="E 1"),
    "an acknowledgement by nobody": incident(acknowledgement={"note": "x"}),
    "an acknowledgement by an empty name": incident(acknowledgement={"by": ""}),
    "an acknowledgement by two lines": incident(acknowledgement={"by": "bob\nalice"}),
    "an acknowledgement in one word": incident(acknowledgement="bob"),
    "an unknown word in an acknowledgement": incident(acknowledgement={"by": "bob", "reason": "x"}),
    "a note that is too long": incident(resolution={"by": "bob", "note": "x" * 1025}),
    "snoozed without a zone": incident(snoozedUntil="2026-01-31T08:00:00"),
    "snoozed for a while": incident(snoozedUntil="2h"),
    "the phase in an incident's spec": incident(phase="Resolved"),
    "an empty template": email(textTemplate=""),
    "a template that is too long": email(textTemplate="x" * 8193),
    "a template that is too long beyond ASCII": slack(textTemplate="é" * 4097),
    "a template by name that is too long": named(jsm={"textTemplate": "é" * 4097}),
    "a template as an object": slack(blocksTemplate=[{"type": "divider"}]),
    "another kind's template": slack(htmlTemplate="x"),
    "more templates than there may be": config(
        email={"textTemplate": "x"},
        destinations=[{"name": f"d{n}", "slack": {"textTemplate": "x" * 8192}} for n in range(16)],
    ),
    "an override of no pipelines": override(pipelines=[]),
    "an override without pipelines": config(pipelineOverrides=[{"severity": "error"}]),
    "an override of an empty name": override(pipelines=[""]),
    "an override of nine pipelines": override(pipelines=["x"] * 9),
    "an override of a pipeline that is too long": override(pipelines=["x" * 257]),
    "an override of two lines": override(pipelines=["a\nb"]),
    "an override of an unknown type": override(events=["pipeline_failed"]),
    "an override of no types": override(events=[]),
    "an override of one type twice": override(events=["system_error", "system_error"]),
    "an override of a null label": override(labels={"env": None}),
    "an override of a label that is too long": override(labels={"k" * 64: "x"}),
    "an override of an empty label": override(labels={"env": ""}),
    "an override of too many labels": override(labels={f"k{n}": "x" for n in range(17)}),
    "an override of an unknown severity": override(minSeverity="fatal"),
    "an override with a provider twice": override(providers=["email", "email"]),
    "an override with a trigger's field": override(event="pipeline_failure"),
    "sixty-five overrides": config(pipelineOverrides=[{"pipelines": ["*"]}] * 65),
    "a silence without an end": ("Silence", {"reason": "x"}),
    "a silence whose end is null": silence(endsAt=None),
    "a silence without a reason": ("Silence", {"endsAt": "2026-01-31T08:00:00Z"}),
    "a silence with an empty reason": silence(reason=""),
    "a silence with a blank reason": silence(reason=" \u0020"),
    "a reason of two lines": silence(reason="a\nb"),
    "a reason that is too long": silence(reason="x" * 501),
    "a silence that ends before it starts": silence(startsAt="2026-01-31T08:00:01Z"),
    "a silence that ends as it starts": silence(startsAt="2026-01-31T10:00:00+02:00"),
    "a silence for a while": silence(endsAt="2h"),
    "a silence of no pipeline": silence(pipelines=[]),
    "a silence of too many": silence(pipelines=["p"] * 33),
    "a silence of a pipeline that is too long": silence(pipelines=["p" * 257]),
    "a silence of too many labels": silence(labels={f"k{n}": "x" for n in range(17)}),
    "a silence of an event twice": silence(events=["system_error", "system_error"]),
    "a silence of a severity that is none": silence(maxSeverity="loud"),
    "a silence of a label that is too long": silence(labels={"x" * 64: "y"}),
    "a silence of a label that is null": silence(labels={"x": None}),
    "a catch-up that is none": silence(catchUp="Later"),
    "the phase in a silence's spec": silence(phase="Active"),
    "quiet hours without an end": config(quietHours=[{"from": "22:00"}]),
    "quiet hours of no length": quiet(to="22:00"),
    "quiet hours from midnight's end": quiet(**{"from": "24:00"}),
    "quiet hours at no time": quiet(to="7:00"),
    "quiet hours on no such day": quiet(days=["monday"]),
    "quiet hours on a day twice": quiet(days=["mon", "mon"]),
    "quiet hours nowhere": quiet(timezone="Europe/Nowhere"),
    "quiet hours for no severity": quiet(exceptSeverity="loud"),
    "too many quiet hours": config(quietHours=[{"from": "22:00", "to": "07:00"}] * 17),
    "replay of nothing": event(replayOf={}),
    "replay to a destination twice": event(replayOf={"name": "x", "destinations": ["email", "email"]}),
}


@pytest.mark.parametrize("name", GOOD)
def test_both_accept(server, name):
    kind, spec = GOOD[name]
    assert parses(kind, spec)
    assert server.refusal(kind, spec) is None


@pytest.mark.parametrize("name", BAD)
def test_both_reject(server, name):
    kind, spec = BAD[name]
    assert not parses(kind, spec)
    assert server.refusal(kind, spec) is not None


# Values near the edges of the rules, for fields that they were not made for as well.
TEXTS = st.sampled_from(
    [
        *(
            "",
            " ",
            "a",
            "A-b",
            "x" * 21,
            "x" * 63,
            "x" * 64,
            "x" * 253,
            "x" * 254,
            "y" * 320,
            "y" * 1025,
            "é" * 200,
            "\u0085",
        ),
        *("a@b.io", "a@b_c.io", "a@-b.io", "a@b.io.", "@b.io", "a@b@c.io", "a b@c.io", f"a@{'b' * 64}.io", "Ⅷ@b.io"),
        *("${A}", "${A", "$A", "$${A}", "${A}b", "${a.b}", "${" + "A" * 129 + "}", "${É}", "${A}\r"),
        *(
            "https://h",
            "https://h/",
            "https://h?x",
            "https://h#x",
            "HTTPS://h/",
            "https://h/é",
            "https://h/\u00a0",
            "http://h",
        ),
        *(
            "error",
            "Error",
            "ERROR\n",
            "\u017flack",
            "slack",
            "email",
            "system_error",
            "Selector",
            "Same",
            "\u0131nfo",
            "\u212aey",
        ),
        *("U1", "U" + "A" * 20, "U" + "A" * 21, "u1", "W٣", ":a:", "::", ":a b:", ":a\u2028b:", "::a:"),
        *("::1", "[::1]", "a..b", "a_b", ".a", "a.", "127.0.0.1", "٣", "\n", "\x7f", "\x00", "a\u2028b"),
        *("2026-01-31T08:00:00Z", "2026-01-31t08:00:00z", "2026-01-31T24:00:00Z", "2026-01-31T08:00:00+24:00"),
        *(
            "2026-01-31 08:00:00Z",
            "2026-01-31T08:00:00.Z",
            "9999-12-31T23:59:59Z",
            "1-01-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
        ),
    ]
)
NUMBERS = st.sampled_from(
    [-1, 0, 1, 100, 101, 65_535, 65_536, 86_401, 2_592_000, 31_536_001, 2**53, 2**63, 1.0, 0.1, -0.0, 1e300]
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS | st.text(max_size=12)
ANYTHING = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(TEXTS, SCALARS, max_size=1)


def mostly(*good, odd=ANYTHING):
    """One of the good values, now and then anything."""
    return st.integers(0, 9).flatmap(lambda draw: st.sampled_from(good) if draw else odd)


def some(**fields):
    """An object with some of the fields; now and then with one that is unknown."""
    known = st.fixed_dictionaries({}, optional={name.rstrip("_"): field for name, field in fields.items()})
    unknown = st.fixed_dictionaries({}, optional={"extra": ANYTHING})
    return st.integers(0, 19).flatmap(
        lambda draw: known if draw else st.builds(lambda some, more: some | more, known, unknown)
    )


FLAG = mostly(True, False, None)
SEVERITY = mostly("info", "WARNING", "Error", None, odd=ANYTHING | TEXTS)
EVENT = mostly("pipeline_failure", "system_error", "data_quality_warning")
PROVIDERS = st.none() | st.lists(mostly("email", "slack"), max_size=3)
REFERENCE = st.none() | some(name=mostly("acme", "a.b"), key=mostly("K", "a.b"))
ADDRESS = mostly("ops@example.com", "${VAR}", odd=TEXTS | ANYTHING | st.emails())
LABELS = st.dictionaries(mostly("team", "a/b", odd=st.text(max_size=3)), mostly("x", "", odd=ANYTHING), max_size=2)
SELECTOR = some(
    matchLabels=LABELS,
    matchExpressions=st.lists(
        some(key=mostly("a"), operator=mostly("In", "Exists"), values=st.lists(mostly("b"))), max_size=1
    ),
)
CONFIGS = some(
    orgSlug=mostly("acme", "A.b", odd=TEXTS),
    enabled=FLAG,
    defaultProvider=mostly("email", "slack", None),
    email=some(
        enabled=FLAG,
        smtpHost=mostly("smtp.example.com", "::1", "${H}", None, odd=TEXTS),
        smtpPort=mostly(25, 587.0, None, odd=NUMBERS | ANYTHING),
        smtpTls=mostly("Auto", "Implicit", None, odd=TEXTS),
        smtpHelo=mostly("mail.example.com", "[::1]", None, odd=TEXTS),
        smtpUsername=mostly("me", "${U}", None, odd=TEXTS),
        smtpPassword=mostly("secret", "${P}", None, odd=TEXTS),
        smtpUsernameSecretRef=REFERENCE,
        smtpPasswordSecretRef=REFERENCE,
        fromEmail=ADDRESS,
        fromName=mostly("Ops", "", None, odd=TEXTS),
        toEmails=st.lists(ADDRESS, max_size=2),
        subjectPrefix=mostly("[x]", None, odd=TEXTS),
    ),
    slack=some(
        webhookUrl=mostly("https://hooks.slack.com/x", "${W}", None, odd=TEXTS),
        webhookUrlSecretRef=REFERENCE,
        channel=mostly("#a", None, odd=TEXTS),
        iconEmoji=mostly(":x:", None, odd=TEXTS),
        mentionUsers=st.lists(mostly("U1", odd=TEXTS), max_size=2),
        mentionMinSeverity=SEVERITY,
    ),
    eventTriggers=st.lists(
        some(
            event=EVENT,
            enabled=FLAG,
            severity=SEVERITY,
            providers=PROVIDERS,
            cooldownSeconds=mostly(0, 300, None, odd=NUMBERS),
        ),
        max_size=2,
    ),
    retryConfig=some(
        maxAttempts=mostly(1, 3, odd=NUMBERS),
        maxDelaySeconds=mostly(0, 5, odd=NUMBERS),
        maxElapsedSeconds=mostly(0, 3600, odd=NUMBERS),
        exponentialBackoff=FLAG,
    ),
    secretRef=st.none() | some(name=mostly("acme", odd=TEXTS)),
    eventNamespaces=st.none() | some(from_=mostly("Same", "All", "Selector"), selector=SELECTOR | st.none()),
)
EVENTS = some(
    orgSlug=mostly("acme", odd=TEXTS),
    event=EVENT,
    severity=SEVERITY,
    pipelineId=mostly("p", odd=TEXTS),
    errorMessage=st.text(max_size=30),
    details=st.none() | st.dictionaries(st.text(max_size=4), ANYTHING, max_size=2),
    occurredAt=mostly("2026-01-31T08:00:00Z", "1999-12-31T23:59:59.9+01:00", None, odd=TEXTS | st.datetimes().map(str)),
    links=st.lists(some(title=mostly("t"), url=mostly("https://x/y", odd=TEXTS)), max_size=2),
    ttlSecondsAfterFinished=mostly(0, 60, odd=NUMBERS),
    test=FLAG,
    replayOf=st.none() | some(name=mostly("old", odd=TEXTS), destinations=PROVIDERS),
)
# The same documents each time: a disagreement is to be found when the rules change, not on somebody else's afternoon.
THOROUGH = settings(max_examples=250, deadline=None, derandomize=True)


@THOROUGH
@given(spec=CONFIGS)
def test_they_agree_on_any_config(server, spec):
    refusal = server.refusal("NotificationConfig", A_CONFIG | spec)
    assert parses("NotificationConfig", A_CONFIG | spec) is (refusal is None), refusal


@THOROUGH
@given(spec=EVENTS)
def test_they_agree_on_any_event(server, spec):
    refusal = server.refusal("PipelineEvent", AN_EVENT | spec)
    assert parses("PipelineEvent", AN_EVENT | spec) is (refusal is None), refusal
