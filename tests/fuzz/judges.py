"""What each kind of destination must keep, whatever an event says: mentions, headers, limits, and its own looks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from email import message_from_bytes
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from tests.core.destinations import test_discord, test_jsm, test_mattermost, test_slack, test_teams, test_telegram
from tests.core.messages import make
from tests.fuzz.area import keeps_secret

from pipebell.core.destinations.http import HttpKind
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.outcome import Attempt
from pipebell.core.placeholders import OrgSecrets
from pipebell.core.vocabulary import Severity
from pipebell.providers import mime
from pipebell.providers.email import build_message

if TYPE_CHECKING:
    from pipebell.core.message import Message

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]")
ATTEMPT = Attempt("0b54f1c2.there", now=1_795_407_342.0)


def _target(kind: str, **changes: Any) -> Any:
    spec = {"orgSlug": "acme", kind: {**KINDS[kind].example, **changes}}
    return Layers(Layer(NotificationConfigSpec.model_validate(spec), OrgSecrets(None, {})), None).target(kind)


@dataclass
class Case:
    """A destination, and which of its secrets may stand in a request's body because the receiver wants them there."""

    name: str
    kind: Any
    target: Any

    def __post_init__(self) -> None:
        self.hidden: tuple[str, ...] = ()
        if isinstance(self.kind, HttpKind):
            body = self.kind.request(make(), self.target, ATTEMPT).body.decode()
            known = ("sendMessage", "chat.postMessage")  # of a URL's path: no secrets, and texts may hold them
            secrets = (word for word in self.target.secrets if word not in known)
            self.hidden = tuple(word for word in secrets if len(word) > 8 and word not in body)


_NOBODY: dict[str, dict[str, Any]] = {"slack": {"mentionUsers": []}, "teams": {"mentionUsers": []}}
_SLACK_TOKEN = {"webhookUrl": None, "botToken": "xoxb-confidential-bot-token", "channel": "#data", "username": None}
CASES = [
    *(Case(name, kind, _target(name)) for name, kind in KINDS.items()),
    *(Case(f"{name} that mentions nobody", KINDS[name], _target(name, **given)) for name, given in _NOBODY.items()),
    Case("slack that mentions all", KINDS["slack"], _target("slack", mentionChannel=True, mentionMinSeverity="info")),
    Case("slack by token", KINDS["slack"], _target("slack", **_SLACK_TOKEN)),
    Case("webhook as CloudEvents", KINDS["webhook"], _target("webhook", format="cloudeventsBatch")),
]


def judge(case: Case, message: Message) -> None:
    """Raises AssertionError when a notification holds what it may not."""
    if isinstance(case.kind, HttpKind):
        _judge_request(case, message)
    else:
        _judge_mail(case, message)


def _judge_request(case: Case, message: Message) -> None:
    made = case.kind.request(message, case.target, ATTEMPT)
    assert made.url.isascii()
    assert made.url.isprintable()
    assert " " not in made.url
    assert urlsplit(made.url).netloc == urlsplit(case.target.url).netloc
    assert made.method in ("POST", "PUT", "PATCH", "DELETE")
    for name, value in made.headers.items():
        assert re.fullmatch(r"[A-Za-z0-9-]+", name)
        assert value.isprintable(), (name, value)
        value.encode("latin-1")
    body = made.body.decode()
    keeps_secret(body, secrets=case.hidden)
    form = "urlencoded" in made.headers.get("Content-Type", "")
    document = (parse_qsl(body, keep_blank_values=True) if form else json.loads(body)) if body else None
    if document is not None:
        _LOOKS.get(case.kind.name, _nothing)(case, message, document, made)


def _nothing(_case: Case, _message: Message, _document: Any, _made: Any) -> None:
    """A kind without mentions; its limits are in bytes of the body."""


def _slack(case: Case, message: Message, document: Any, _made: Any) -> None:
    test_slack.within_limits(document)
    assert document.get("channel") == case.target.channel
    assert document.get("username") == case.target.username
    wanted = _slack_mentions(case.target, message)
    shown = json.dumps(document, ensure_ascii=False)
    assert len(re.findall(r"<[!@#]", shown)) == len(re.findall(r"<[!@#]", wanted)) * (
        shown.count(wanted) if wanted else 0
    )
    assert not wanted or shown.count(wanted) in (1, 2)
    if not wanted:
        test_slack.harmless(document)
    for text in test_slack.texts(document):
        assert not CONTROL.search(text), text[:200]


def _slack_mentions(target: Any, message: Message) -> str:
    order = list(Severity)
    if message.test or order.index(message.severity) < order.index(target.mention_min_severity):
        return ""
    users = (f"<!subteam^{user}>" if user.startswith("S") else f"<@{user}>" for user in target.mention_users)
    return " ".join([*(("<!channel>",) if target.mention_channel else ()), *users])


def _discord(_case: Case, _message: Message, document: Any, _made: Any) -> None:
    test_discord.within_limits(document)
    assert document["allowed_mentions"] == {"parse": []}
    assert document["username"] == "Pipebell"
    for text in test_discord.texts(document):
        assert not CONTROL.search(text), text[:200]


def _google_chat(case: Case, _message: Message, document: Any, made: Any) -> None:
    assert len(made.body) <= case.kind.capabilities.limit
    shown = re.sub(r"<https?://[^<>|\s]*\|", "", document["text"])  # where a link leads is no text that mentions
    assert not re.search(r"<users/|@all\b|<mailto:", shown, re.IGNORECASE), ascii(shown[:300])
    assert not CONTROL.search(document["text"])


def _mattermost(_case: Case, _message: Message, document: Any, _made: Any) -> None:
    assert test_mattermost.size(document) <= test_mattermost.TEXT
    assert (document["channel"], document["username"]) == ("pipeline-alerts", "Pipebell")
    for text in test_mattermost.texts(document):
        shown = re.sub(r"\]\(https?://[^()<>\s]*\)", "]", text)  # where a link leads is no text that mentions
        assert not re.search(r"@\w", shown), ascii(shown[:300])
        assert not re.search(r"<[!@#]|<\w+:", text)
        assert not CONTROL.search(text), text[:200]


def _teams(case: Case, message: Message, document: Any, made: Any) -> None:
    assert len(made.body) <= case.kind.capabilities.limit
    (attachment,) = document["attachments"]
    card = attachment["content"]
    entities = card.get("msteams", {}).get("entities", [])
    wanted = case.target.mention_users if message.severity is Severity.CRITICAL and not message.test else ()
    assert [entity["mentioned"] for entity in entities] == [user.model_dump() for user in wanted]
    mention = " ".join(entity["text"] for entity in entities)
    texts = [*test_teams.texts(card), *test_teams.literal(card), *(link["title"] for link in card.get("actions", ()))]
    for text in texts:
        assert text == mention or not re.search(r"<\s*/?\s*at", text, re.IGNORECASE)
        assert "{{" not in text, text[:200]
        assert not CONTROL.search(text), text[:200]


def _telegram(_case: Case, _message: Message, document: Any, _made: Any) -> None:
    assert 1 <= len(document["text"].encode()) <= test_telegram.TEXT
    assert len(document["entities"]) <= 100
    assert "parse_mode" not in document
    assert document["chat_id"] == "-1001234567890"
    shown = bytearray(document["text"].encode("utf-16-le"))
    for entity in document["entities"]:
        assert entity["type"] in ("bold", "italic", "code", "pre", "text_link")
        assert entity.get("url", "https://").startswith(("https://", "http://"))
        if entity["type"] in ("code", "pre"):
            shown[2 * entity["offset"] : 2 * (entity["offset"] + entity["length"])] = b" \0" * entity["length"]
    assert not re.search(r"@\w", shown.decode("utf-16-le"))
    assert not CONTROL.search(document["text"])


def _jsm(case: Case, _message: Message, document: Any, _made: Any) -> None:
    if "message" not in document:
        return  # a success closes the alert
    test_jsm.within_limits(document)
    assert len(document["responders"]) == len(case.target.responders)
    assert document["tags"][: len(case.target.tags)] == list(case.target.tags)


def _alertmanager(_case: Case, _message: Message, document: Any, _made: Any) -> None:
    for alert in document:
        assert not any(CONTROL.search(text) or "\n" in text for text in alert["labels"].values())


def _sms(case: Case, _message: Message, document: Any, _made: Any) -> None:
    usual = parse_qsl(case.kind.request(make(), case.target, ATTEMPT).body.decode(), keep_blank_values=True)
    assert [name for name, _ in document] == [name for name, _ in usual], "a field more, or another one"
    assert [pair for pair in document if pair[0] != "Body"] == [pair for pair in usual if pair[0] != "Body"]


def _bytes(case: Case, _message: Message, _document: Any, made: Any) -> None:
    assert len(made.body) <= case.kind.capabilities.limit


_LOOKS = {
    "slack": _slack,
    "discord": _discord,
    "googleChat": _google_chat,
    "mattermost": _mattermost,
    "teams": _teams,
    "telegram": _telegram,
    "jsm": _jsm,
    "alertmanager": _alertmanager,
    "pagerduty": _bytes,
    "webhook": _bytes,
    "sms": _sms,
}
_HEADERS = ["Subject", "From", "To", "Cc", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress",
            "X-Pipebell-Delivery", "MIME-Version", "Content-Type"]  # fmt: skip
_TAG = re.compile(r"<[/!a-zA-Z][^>]*>?")


def _tags(html: str) -> set[str]:
    return {re.split(r"[\s>]", tag[1:].lower())[0].strip("/") for tag in _TAG.findall(html)}


def _judge_mail(case: Case, message: Message) -> None:
    raw = mime.wire(build_message(message, case.target, ATTEMPT, now=ATTEMPT.now))
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    found = message_from_bytes(raw)
    assert found.keys() == _HEADERS
    assert (found["To"], found["Cc"]) == ("someone@example.com", "someone-else@example.com")
    text, html = found.get_payload()
    assert [part.get_content_type() for part in (text, html)] == ["text/plain", "text/html"]
    tags = _tags(html.get_payload(decode=True).decode())
    assert tags <= _known_tags(case), tags


_KNOWN: set[str] = set()


def _known_tags(case: Case) -> set[str]:
    if not _KNOWN:
        for each in (make(suppressed=3, owner="x", labels={"a": "b"}, attempt=1, max_attempts=3), make(test=True),
                     make(replay_of={"name": "x"})):  # fmt: skip
            mail = message_from_bytes(mime.wire(build_message(each, case.target, ATTEMPT, now=ATTEMPT.now)))
            _KNOWN.update(_tags(mail.get_payload()[1].get_payload(decode=True).decode()))
    return _KNOWN
