"""Text that means harm, what an event costs, and that nobody's secret shows anywhere."""

from __future__ import annotations

import base64
import json
import time
from email import policy
from email.parser import BytesParser
from html.parser import HTMLParser

import pytest
from tests.e2e.harness import GROUP, OPERATOR, config, event, eventually, phase, secret
from tests.e2e.world import ORG_PASSWORD, ORG_USER, ROOT_PASSWORD

from pipebell.sinks import Respond, Say, SmtpSink

SETTINGS = {"log_level": "debug"}
SLACK = {"eventTriggers": [{"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 0}]}
BOTH = {"eventTriggers": [{"event": "pipeline_failure", "providers": ["email", "slack"], "cooldownSeconds": 0}]}
LONGEST = 32_768

HOSTILE = {
    "mentions": {
        "errorMessage": "<!channel> <!here> <!everyone> <@U123456> <#C1> <https://evil.example|click> &lt;!channel&gt;"
    },
    "html": {
        "errorMessage": "</script><script>alert(1)</script></pre></td></table><img src=x onerror=alert(2)>",
        "pipelineId": "<b>bold</b>\"'>",
    },
    "template": {"errorMessage": "{{ 7*7 }} {% raw %} ${SMTP_PASSWORD} {0} %s", "pipelineId": "${SMTP_USERNAME}"},
    "headers": {
        "pipelineId": "nightly\r\nBcc: victim@evil.example\r\n\r\nbody",
        "pipelineLoggingId": "run\nX-Evil: 1\x1b[31m",
        "errorMessage": ".\r\n.\r\nMAIL FROM:<evil@evil.example>\r\n.",
    },
    "longest": {"errorMessage": "é" * (LONGEST - 1) + "!"},
    "long-line": {"errorMessage": "x" * LONGEST, "pipelineId": "p" * 512},
    "details": {"details": {f"key-{n:04}": "v" * 200 for n in range(950)}},
    "deep": {"details": {"a": [{"b": [{"c": [{"d": [[[["<!channel>"]]]]}]}]}], "</pre>": None, "": 1e300}},
    "emoji": {
        "errorMessage": "🔥💥\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001d518\U0001d52b",
        "pipelineId": "🚀" * 100,
    },
    "rtl": {
        "errorMessage": "\u202egnp.exe\u202c \u2066\u05e9\u05dc\u05d5\u05dd\u2069 \u0639\u0631 \u200b\ufeff",
        "pipelineId": "\u202eevil",
    },
    "controls": {"errorMessage": "".join(map(chr, (*range(1, 32), 127, *range(0x80, 0xA0), 0x2028, 0x2029)))},
    "links": {"links": [{"title": "<!channel>|", "url": "https://ok.example/?a=1&b=<>%22|x"}]},
}


class Tags(HTMLParser):
    """Tags in a document, and whether all that were opened were closed in order."""

    VOID = frozenset({"meta", "br", "img", "hr", "link", "input"})

    def __init__(self):
        super().__init__()
        self.names, self._open = set(), []

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open, tag
        assert self._open.pop() == tag


def strings(value):
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(item)


@pytest.fixture(scope="module")
def hostile(world, operator):
    namespace = world.namespace()
    spec = world.slack_only("Hostile", email=world.own_smtp("hostile@org.example")) | BOTH
    world.api.create(config(namespace, "hostile", "hostile", **spec))
    usual = event(namespace, "usual", "hostile", errorMessage="disk full")
    world.api.create_all([usual, *(event(namespace, name, "hostile", **fields) for name, fields in HOSTILE.items())])
    found = world.api.finished(namespace, len(HOSTILE) + 1)
    posts, mails = {}, {}
    by_uid = {item["metadata"]["uid"]: name for name, item in found.items()}
    for post in world.posts_to("Hostile"):
        posts[by_uid[post.headers["x-pipebell-delivery"].partition(".")[0]]] = post
    for mail in world.mails_to("hostile@org.example"):
        (name,) = (n for uid, n in by_uid.items() if uid in str(mail.message["Message-ID"]))
        mails[name] = mail
    return found, posts, mails


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_delivered_as_text(hostile, name):
    found, posts, mails = hostile
    assert phase(found[name]) == "Delivered", found[name]["status"]
    payload, mail = posts[name].payload, mails[name]
    for text in strings(payload):
        for bad in ("<!", "<@", "<#", "<script", "<http://", "<https://evil"):
            assert bad not in text
    assert posts[name].status == 200, "within Slack's limits"
    assert mail.recipients == ("hostile@org.example",)
    message = BytesParser(policy=policy.default).parsebytes(mail.raw)
    usual = mails["usual"].message
    assert message.keys() == usual.keys(), "no header more than any other e-mail has"
    assert not message.defects
    assert all(len(line) <= 998 for line in mail.raw.split(b"\r\n")), "RFC 5322, 2.1.1"
    html = message.get_body(("html",)).get_content()
    tags = Tags()
    tags.feed(html)
    reference = Tags()
    reference.feed(usual.get_body(("html",)).get_content())
    assert tags.names <= reference.names | {"a", "pre"}
    subject = str(message["Subject"])
    assert subject.isprintable()
    plain = message.get_body(("plain",)).get_content()
    for text in (plain, html, subject):
        assert not set(text) & set(map(chr, (*range(9), 11, 12, *range(14, 32), 127)))
        assert not set(text) & set("\u202e\u202d\u2066\u2067\u2028\u2029")
        assert ROOT_PASSWORD not in text
        assert ORG_PASSWORD not in text


def test_the_longest_message_arrives_whole_by_email_and_cut_visibly_in_slack(hostile):
    _, posts, mails = hostile
    plain = mails["longest"].message.get_body(("plain",)).get_content()
    assert "é" * (LONGEST - 1) + "!" in plain.replace("\n", "")
    assert "…" in json.dumps(posts["longest"].payload, ensure_ascii=False)
    details = mails["details"].message.get_body(("plain",)).get_content()
    assert "key-0000" in details
    assert "key-0949" not in details
    assert "…" in details


@pytest.mark.parametrize("depth", [400, 3_000, 9_000])
def test_details_that_no_parser_takes_hold_up_nobody(world, operator, cluster, depth):
    namespace, other = world.namespace(), world.namespace()
    world.api.create(config(namespace, "bottomless", "bottomless", **world.slack_only("Bottomless") | SLACK))
    world.api.create(config(other, "beside", "beside", **world.slack_only("Beside") | SLACK))
    document = json.dumps(event(namespace, "bottomless", "bottomless", details="?"))
    document = document.replace('"?"', '{"a":' * depth + '"<!channel>"' + "}" * depth)
    path = f"/apis/pipebell.io/v1alpha1/namespaces/{namespace}/pipelineevents"
    cluster.kubectl("create", "--raw", path, "-f", "-", input=document)
    try:
        world.api.create(event(other, "beside", "beside"))
        assert phase(world.api.finished(other, 1)["beside"]) == "Delivered"
        delivered = "--for=jsonpath={.status.phase}=Delivered"
        cluster.kubectl("wait", "-n", namespace, "pe/bottomless", delivered, "--timeout=60s")
        text = " ".join(strings(world.posts_to("Bottomless")[-1].payload))
        assert '"a": {' in text
        assert "…" in text
    finally:  # the other tests' own parser is no better
        cluster.kubectl("delete", "-n", namespace, "pe/bottomless")


def test_a_message_longer_than_that_is_refused_by_name(world, operator):
    namespace = world.namespace()
    with pytest.raises(Exception, match=r"spec\.errorMessage.*32768"):
        world.api.create(event(namespace, "e", "x", errorMessage="x" * (LONGEST + 1)))


def test_a_happy_event_costs_one_write_and_bookkeeping_is_bounded(world, operator):
    """Counted at the API server, by its audit log."""
    namespace = world.namespace()
    orgs = [f"budget-{n}" for n in range(4)]
    for org in orgs:
        spec = world.slack_only("Budget", email=world.own_smtp("budget@org.example"))
        spec |= BOTH if org in orgs[:2] else {"eventTriggers": [{"event": "pipeline_failure", "cooldownSeconds": 0}]}
        made = world.api.create(config(namespace, org, org, **spec))
        world.api.condition(made, "Ready")
    start = len(world.cluster.audit())
    began = time.monotonic()
    for number in range(40):  # two destinations, one event after another
        world.api.create(event(namespace, f"paced-{number:02}", orgs[number % 2]))
    world.api.create_all(event(namespace, f"burst-{n:03}", orgs[2 + n % 2]) for n in range(100))
    found = world.api.finished(namespace, 140)
    assert {phase(item) for item in found.values()} == {"Delivered"}
    configs = [config(namespace, org, "") for org in orgs]
    eventually(lambda: all("counters" in world.api.get(one).get("status", {}) for one in configs), 60, "bookkeeping")
    seconds = time.monotonic() - began
    requests = [
        (entry["verb"], entry["objectRef"])
        for entry in world.cluster.audit()[start:]
        if entry["user"]["username"] == OPERATOR and entry["objectRef"].get("namespace") == namespace
    ]
    events = [(verb, ref) for verb, ref in requests if ref["resource"] == "pipelineevents" and verb != "watch"]
    assert {(verb, ref.get("subresource")) for verb, ref in events} == {("patch", "status")}
    assert sorted(ref["name"] for _, ref in events) == sorted(found), "one each"
    others = [(verb, ref) for verb, ref in requests if ref["resource"] != "pipelineevents"]
    assert {(verb, ref["resource"], ref.get("subresource")) for verb, ref in others} == {
        ("patch", "notificationconfigs", "status")
    }
    assert len(orgs) <= len(others) <= len(orgs) * (1 + seconds // 60), "once a minute for each"
    written = world.api.get(config(namespace, orgs[0], ""))["status"]
    assert 0 < written["counters"]["delivered"] <= 20, "the rest follows a minute later"
    assert written["triggers"][0]["event"] == "pipeline_failure"
    assert written["lastDelivery"]["phase"] == "Delivered"


def echoed(command):
    """A mail server's answer that quotes the login: as it came, and decoded."""
    decoded = base64.b64decode(command.rpartition(" ")[2]).decode()
    words = [] if "\r" in decoded else decoded.split("\0")
    return Say(status=f"535 5.7.8 {command} is not a login: {' '.join(words)}")


def test_no_secret_shows_anywhere_in_a_run_with_failures(world, operator):
    namespace = world.namespace()
    tokens = {
        "hook": "SecretHookToken55",
        "gone": "SecretGoneToken66",
        "foreign": "SecretForeignToken77",
        "smtp": "secret-smtp-password-88",
        "wrong": "secret-wrong-password-99",
    }
    values = {
        "HOOK": world.slack.webhook(tokens["hook"]),
        "GONE": world.slack.webhook(tokens["gone"]),
        "FOREIGN": f"https://elsewhere.example/services/T1/B1/{tokens['foreign']}",
        "MALFORMED": f"http://127.0.0.1/services/T1/B1/{tokens['foreign']}",
        "USER": ORG_USER,
        "WRONG": tokens["wrong"],
        "LINES": f"{tokens['smtp']}\r\nRCPT TO:<x@y>",
    }
    world.api.create(secret(namespace, "s", **values))
    echo = {
        "hook": Respond(500, f"internal error at {values['HOOK']}"),
        "gone": Respond(404, f"no_service {tokens['gone']}"),
    }
    for name, answer in echo.items():
        world.slack.script(world.slack.webhook(tokens[name])).always = lambda _, answer=answer: answer
    quick = {"maxAttempts": 2, "initialDelaySeconds": 1}
    with world.another(SmtpSink(users=world.users, trust=world.trust)) as sink:
        sink.script("login").always = echoed

        def hook(variable, **changes):
            return {
                "defaultProvider": "slack",
                "slack": {"webhookUrl": f"${{{variable}}}"},
                "retryConfig": quick,
            } | changes

        email = world.own_smtp("a@b.io", port=sink.port, smtpUsername="${USER}")
        specs = {
            "fails": hook("HOOK"),
            "gone": hook("GONE"),
            "foreign": hook("FOREIGN"),
            "malformed": hook("MALFORMED"),
            "wrong": {"email": email | {"smtpPassword": "${WRONG}"}, "retryConfig": quick},
            "lines": {"email": email | {"smtpPassword": "${LINES}"}, "retryConfig": quick},
            "missing": hook("NOBODY"),
            "literal": {"defaultProvider": "slack", "slack": {"webhookUrl": values["GONE"]}, "retryConfig": quick},
        }
        for org, spec in specs.items():
            world.api.create(config(namespace, org, f"leak-{org}", secretRef={"name": "s"}, **spec))
            world.api.create(event(namespace, org, f"leak-{org}"))

        def settled():
            items = world.api.events(namespace).values()
            waiting = [
                i for i in items if i.get("status", {}).get("reason") == "ConfigNotReady" or phase(i) == "Failed"
            ]
            return len(waiting) == len(specs)

        eventually(settled, 60, "every one failed or waits")
    eventually(lambda: len(world.api.notices(namespace)) >= 4, 60, "Events, which are posted in the background")
    items = world.api.events(namespace)
    assert {phase(items[name]) for name in ("fails", "gone", "wrong", "literal")} == {"Failed"}
    configs = world.api.request("GET", f"{GROUP}/namespaces/{namespace}/notificationconfigs")["items"]
    evidence = {
        "event status": json.dumps([item.get("status") for item in items.values()]),
        "config status": json.dumps([item.get("status") for item in configs]),
        "notices": json.dumps([world.api.notices(namespace), world.api.notices("pipebell-system")]),
        "metrics": operator.http("/metrics"),
        "log": operator.text,
    }
    assert "HostNotAllowed" in evidence["config status"]
    forbidden = [*tokens.values(), ROOT_PASSWORD, ORG_PASSWORD, "/services/"]
    forbidden += [base64.b64encode(word.encode()).decode().rstrip("=") for word in (*tokens.values(), ORG_PASSWORD)]
    for place, text in evidence.items():
        for word in forbidden:
            assert word not in text, place
