"""What the demo claims, each with what was expected and what was seen. Pure: evidence in, verdicts out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.parser import text_string_to_metric_families

from pipebell.core.status import epoch
from pipebell.core.vocabulary import NoticeKind, Phase, Reason
from pipebell.demo import hostility
from pipebell.demo.cast import (
    ADMIN_MAILBOX,
    AFTER_BURST,
    ALL_EVENTS,
    BROKEN_FOR,
    BURST,
    BURST_EVENTS,
    BUSY,
    BY_ROOT,
    DISABLED,
    ENDS,
    EVERYWHERE,
    FULL,
    NO_ROOT,
    OPENED,
    PARTIAL,
    PARTIAL_FILE,
    RECOVERED,
    RETRIED,
    SHORT_COOLDOWN,
    STOOD_IN,
    TAKEN_BY,
    TYPO,
    VENDORS,
)
from pipebell.demo.evidence import HEADER, body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipebell.demo.evidence import Evidence, Object

_PLATFORM: Final = "noreply@cloudact.io"  # fromEmail of configs/notifications/config.json
_FORBIDDEN: Final = 403


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that the demo says it did. It holds when what was seen equals what was expected."""

    text: str
    expected: Any
    actual: Any
    detail: str = ""
    """What else was seen, for people; judged by nobody."""

    @property
    def holds(self) -> bool:
        """Whether it is true."""
        return bool(self.expected == self.actual)


def judge(evidence: Evidence) -> list[Claim]:
    """Every claim. One that cannot even be judged does not hold."""
    claims: list[Claim] = []
    for group in GROUPS:
        try:
            claims += group(evidence)
        except Exception as error:  # noqa: BLE001  (evidence that is missing altogether must be shown, not raised)
            claims.append(Claim(group.__name__.strip("_").replace("_", " "), "evidence", f"none: {error!r}"))
    return claims


def _end(status: Object) -> str:
    return "/".join(status[key] for key in ("phase", "reason") if status.get(key)) or "(no status)"


def _ends(evidence: Evidence) -> Iterator[Claim]:
    wanted = {event: f"{end.phase}/{end.reason}" if end.reason else str(end.phase) for event, end in ENDS.items()}
    taken = set(evidence.events) - set(evidence.notices_of())
    yield Claim("every event that kubectl took is there, and no other", set(ALL_EVENTS), taken)
    yield Claim("phases and reasons", wanted, {event: _end(evidence.status(event)) for event in wanted})


def _arrivals(evidence: Evidence) -> Iterator[Claim]:
    sender = {event for event in BURST_EVENTS if evidence.status(event).get("phase") == Phase.DELIVERED}
    mails = (
        {event: end.mails for event, end in ENDS.items()}
        | dict.fromkeys(BURST_EVENTS, 0)
        | dict.fromkeys((*sender, *evidence.notices_of(NoticeKind.CHANNEL, NoticeKind.REMINDER)), 1)
    )
    posts = {event: end.posts for event, end in ENDS.items()} | dict.fromkeys(BURST_EVENTS, 0)
    yield Claim(
        "e-mails that arrived, for each event", mails, {event: len(evidence.mails_of(event)) for event in mails}
    )
    yield Claim("Slack messages, for each event", posts, {event: len(evidence.posts_of(event)) for event in posts})
    yield Claim("e-mails in all: nothing twice, nothing unasked", sum(mails.values()), len(evidence.mails))
    yield Claim("Slack messages in all", sum(posts.values()), len(evidence.posts))
    recorded = Counter(evidence.delivery(event, "email").get("messageId") for event in mails if mails[event])
    yield Claim(
        "the Message-IDs in the statuses are those of the e-mails",
        recorded,
        Counter(str(mail.message["Message-ID"]) for mail in evidence.mails),
    )
    yield Claim("every e-mail came by STARTTLS", {True}, {mail.tls for mail in evidence.attempts})


def _transports(evidence: Evidence) -> Iterator[Claim]:
    def facts(event: str) -> tuple[str | None, str, set[str]]:
        (mail,) = evidence.mails_of(event)
        return mail.user, mail.sender, set(mail.recipients)

    root = next(mail.user for mail in evidence.mails_of(BY_ROOT))
    yield Claim(
        "an organisation without configuration: root's account and recipients", {ADMIN_MAILBOX}, facts(BY_ROOT)[2]
    )
    yield Claim(
        "a partial one: own recipients, root's account and sender",
        (root, _PLATFORM, {"admin@acme.com"}),
        facts(PARTIAL_FILE),
    )
    people = {"data-team@globex.example", "on-call@globex.example", "head-of-data@globex.example"}
    yield Claim(
        "a full one: own account, sender, To (one from its Secret) and Cc",
        ("globex", "pipelines@globex.example", people),
        facts(FULL),
    )
    (post,) = evidence.posts_of(FULL)
    looks = {"channel": "#pipeline-alerts", "username": "Globex Pipelines", "icon_emoji": ":rotating_light:"}
    yield Claim("its channel, name and icon in Slack", looks, {key: post.payload.get(key) for key in looks})
    yield Claim("its mention in Slack", True, "<@U123456>" in post.payload["text"])
    kinds = [evidence.status(event)["configRef"]["kind"] for event in (BY_ROOT, FULL)]
    yield Claim("configRef says whose configuration was used", ["RootConfig", "NotificationConfig"], kinds)


def _retries(evidence: Evidence) -> Iterator[Claim]:
    attempts = evidence.mails_of(RETRIED, refused=True)
    codes = [mail.status[:3] for mail in attempts]
    yield Claim("hooli's mail server refused twice, then took it", [*["451"] * BUSY, "250"], codes)
    gaps = [later.time - earlier.time for earlier, later in pairwise(attempts)]
    patient = len(gaps) == BUSY and all(gap >= 2.0**number for number, gap in enumerate(gaps))
    said = ", ".join(f"{gap:.2f} s" for gap in gaps)
    yield Claim("the attempts came after at least 1 s and 2 s", True, patient, said)
    yield Claim("all under one Message-ID", 1, len({mail.message["Message-ID"] for mail in attempts}))
    yield Claim("status counts them", 1 + BUSY, evidence.delivery(RETRIED, "email").get("attempts"))
    shown = [seen.attempts for seen in evidence.seen if seen.reason == Reason.RETRYING and seen.next_attempt]
    yield Claim("in between, status showed the attempts and the next one's time", [1, 2], shown)


def _partial(evidence: Evidence) -> Iterator[Claim]:
    yield Claim("vandelay's e-mail arrived once", 1, len(evidence.mails_of(PARTIAL, refused=True)))
    codes = [post.status for post in evidence.posts_of(PARTIAL, refused=True)]
    yield Claim("Slack was asked once, said 404 and was not asked again", [404], codes)
    phases = {name: evidence.delivery(PARTIAL, name).get("phase") for name in ("email", "slack")}
    yield Claim("each destination has its own phase", {"email": Phase.DELIVERED, "slack": Phase.FAILED}, phases)
    why = evidence.delivery(PARTIAL, "slack").get("message", "")
    yield Claim("and Slack's says why", True, "no_service" in why, why)
    about = {
        f"{notice['involvedObject']['namespace']}/{notice['involvedObject']['name']}" for notice in evidence.notices
    }
    yield Claim("Kubernetes Events tell of what did not arrive, and of nothing else", {PARTIAL, STOOD_IN}, about)


def _channel(evidence: Evidence) -> Iterator[Claim]:
    (event,) = evidence.channel_notices
    status, spec = evidence.status(event), evidence.events[event]["spec"]
    actual = [(entry["destination"], entry["phase"]) for entry in status.get("deliveries", ())]
    yield Claim("that vandelay's Slack fails is told by its e-mail alone", [("email", Phase.DELIVERED)], actual)
    yield Claim(
        "by one event, about that destination",
        ("channel_failing", "slack"),
        (spec["event"], spec["notice"]["destination"]),
    )
    (mail,) = evidence.mails_of(event)
    yield Claim("and says what Slack answered", True, "no_service" in body(mail, "plain"))
    record = next(item for item in evidence.configs["vandelay/vandelay"]["status"]["destinations"])
    lasted = epoch(evidence.events[event]["metadata"]["creationTimestamp"]) - epoch(record["since"])
    known = (record["name"], record["state"], lasted >= BROKEN_FOR - 1)
    yield Claim("since when, the operator knows from the status", ("slack", "Failing", True), known, f"{lasted:.0f} s")


def _burst(evidence: Evidence) -> Iterator[Claim]:
    ends = Counter(_end(evidence.status(event)) for event in BURST_EVENTS)
    yield Claim(f"of {BURST} failures, one was sent", {"Delivered": 1, "Suppressed/Cooldown": BURST - 1}, dict(ends))
    (sender,) = (event for event in BURST_EVENTS if evidence.status(event).get("phase") == Phase.DELIVERED)
    held = [event for event in BURST_EVENTS if event != sender]
    name = sender.partition("/")[2]
    yield Claim("the others name it", {name}, {evidence.status(event).get("suppressedBy") for event in held})
    (first,), (later,) = evidence.mails_of(sender), evidence.mails_of(AFTER_BURST)
    gap = later.time - first.time
    yield Claim(f"the next one came after {SHORT_COOLDOWN} s", True, gap >= SHORT_COOLDOWN, f"{gap:.2f} s")
    text = body(later, "plain")
    yield Claim(f"and says that {BURST - 1} were held back", True, f"{BURST - 1} similar events were held back" in text)
    yield Claim("so does its status", BURST - 1, evidence.status(AFTER_BURST).get("suppressedCount"))
    sent_at = epoch(evidence.delivery(sender, "email")["deliveredTime"])
    ends_at = {round(epoch(evidence.status(event)["suppressedUntil"]) - sent_at) for event in held}
    yield Claim("suppressedUntil is 300 s after the one that was sent", {300}, ends_at)


def _vendors(evidence: Evidence) -> Iterator[Claim]:
    taken = {name: evidence.vendor_posts(name, EVERYWHERE.partition("/")[0]) for name in VENDORS}
    accepted = {name: len(posts) for name, posts in taken.items()}
    phases = {entry["provider"]: entry["phase"] for entry in evidence.status(EVERYWHERE).get("deliveries", ())}
    yield Claim("soylent's failure went out by all eleven other kinds", dict.fromkeys(VENDORS, Phase.DELIVERED), phases)
    yield Claim("and its success to PagerDuty", {name: 1 + (name == "pagerduty") for name in VENDORS}, accepted)
    logs = [alert.log for alert in evidence.alerts if "kitchen-menu" in alert.summary]
    yield Claim("PagerDuty has one alert, which the success resolved", [["trigger", "resolve"]], logs)
    texts = [json.dumps(card) for card in evidence.cards]
    yield Claim("the channel in Teams shows one card", [True], ["kitchen-menu" in text for text in texts])
    (shown,) = (each for each in evidence.shown if "kitchen-menu" in each.text)
    handle = evidence.delivery(EVERYWHERE, "slack").get("handle")
    yield Claim("Slack's handle for a thread is on the delivery", f"{shown.channel}/{shown.ts}/#data", handle)
    (post,) = evidence.vendors["webhook"]
    signed = {name for name in post.headers if name.startswith("webhook-")}
    yield Claim("the webhook is signed", {"webhook-id", "webhook-timestamp", "webhook-signature"}, signed)
    identities = {kind: len({post.headers.get(HEADER.lower()) for post in posts}) for kind, posts in taken.items()}
    yield Claim("each delivery has one identity", accepted, identities)


def _failover(evidence: Evidence) -> Iterator[Claim]:
    first, instead = (evidence.delivery(STOOD_IN, name) for name in ("pagerduty", "email"))
    ends = [(entry.get("phase"), entry.get("reason")) for entry in (first, instead)]
    wanted = [(Phase.FAILED, Reason.PERMANENT_ERROR), (Phase.DELIVERED, Reason.FAILED_OVER)]
    yield Claim("wonka's PagerDuty refused for good, and its e-mail stood in", wanted, ends)
    yield Claim("for PagerDuty, as the delivery says", "pagerduty", instead.get("failoverFor"))
    (mail,) = evidence.mails_of(STOOD_IN)
    yield Claim("with the message that PagerDuty would have had", True, "chocolate-river" in body(mail, "plain"))


def _incident(evidence: Evidence) -> Iterator[Claim]:
    (incident,) = evidence.incidents.values()
    status = incident.get("status", {})
    actual = [status.get(name) for name in ("phase", "failures", "acknowledgedBy", "resolvedBy")]
    wanted = ["Resolved", 3, TAKEN_BY, RECOVERED.partition("/")[2]]
    yield Claim("three failures of cyberdyne were one incident, taken over and recovered", wanted, actual)
    reminders = evidence.notices_of(NoticeKind.REMINDER)
    yield Claim("and reminded of", len(reminders), status.get("reminders"))
    (first,), (last,) = evidence.mails_of(OPENED), evidence.mails_of(RECOVERED)
    replies = [mail for event in reminders for mail in evidence.mails_of(event)] + [last]
    answered = {(mail.message["In-Reply-To"], mail.message["References"]) for mail in replies}
    yield Claim("its e-mails are one conversation", {(first.message["Message-ID"],) * 2}, answered)
    said = " ".join(body(last, "plain").split())
    yield Claim("the last one says how often it failed", True, "Recovered after" in said and "3 failures" in said)
    yield from _threads(evidence, 1 + len(reminders))


def _threads(evidence: Evidence, replies: int) -> Iterator[Claim]:
    """The same incident in Slack and PagerDuty."""
    parent, *others = [each for each in evidence.shown if "(cyberdyne)" in each.text]
    threads = [each.thread for each in others]
    yield Claim("in Slack, everything after the first message is in its thread", [parent.ts] * replies, threads)
    recovered = bool(parent.edits) and "recovered" in parent.text.lower()
    yield Claim("which says now that it has recovered", True, recovered)
    alerts = [alert for alert in evidence.alerts if "(cyberdyne)" in alert.summary]
    logs = [list(dict.fromkeys(alert.log)) for alert in alerts]
    yield Claim("in PagerDuty it is one alert", [["trigger", "acknowledge", "resolve"]], logs)
    keys = {post.payload["dedup_key"] for post in evidence.vendor_posts("pagerduty", "cyberdyne")}
    yield Claim("under one dedup_key", {alert.dedup_key for alert in alerts}, keys)


def _silence(evidence: Evidence) -> Iterator[Claim]:
    for text, event in (("disabled: not even root is told", DISABLED), ("nobody configured: nobody is told", NO_ROOT)):
        sent = len(evidence.mails_of(event, refused=True)) + len(evidence.posts_of(event, refused=True))
        yield Claim(text, 0, sent)
    actual = (
        evidence.typo.code != 0 and "spec.event" in evidence.typo.message and "pipeline_failed" in evidence.typo.message
    )
    yield Claim("a mistyped event is rejected by a message that names field and value", True, actual)
    yield Claim("and it does not exist", False, TYPO in evidence.events)


def _hostile(evidence: Evidence) -> Iterator[Claim]:
    (mail,), (post,) = evidence.mails_of(hostility.EVENT), evidence.posts_of(hostility.EVENT)
    yield Claim("hostile text breaks no header and adds no recipient", [], hostility.in_headers(mail))
    yield Claim("nor HTML", [], hostility.in_html(body(mail, "html")))
    yield Claim("nor does it mention anybody in Slack", [], hostility.in_slack(post.payload, allowed="<@U123456>"))


def _economy(evidence: Evidence) -> Iterator[Claim]:
    writes = Counter(
        f"{entry['objectRef']['namespace']}/{entry['objectRef']['name']}"
        for entry in evidence.audit
        if entry["verb"] in ("patch", "update") and entry["objectRef"]["resource"] == "pipelineevents"
    )
    troubled = (PARTIAL, RETRIED, STOOD_IN, OPENED, RECOVERED)  # the last two have three destinations
    happy = [event for event in ENDS if event not in troubled]
    happy = [event for event in happy if not (ENDS[event].mails and ENDS[event].posts) and event != EVERYWHERE]
    yield Claim(
        "a happy event costs the API server one write (events with one destination)",
        {1},
        {writes[event] for event in happy},
    )


def _numbers(evidence: Evidence) -> Iterator[Claim]:
    def counted(name: str, label: str, **where: str) -> dict[str, int]:
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(evidence.metrics):
            for sample in family.samples:
                if sample.name == name and where.items() <= sample.labels.items():
                    found[sample.labels[label]] += int(sample.value)
        return dict(found)

    others = {name: sum(post.accepted for post in posts) for name, posts in evidence.vendors.items()}
    arrived = others | {"email": len(evidence.mails), "slack": len(evidence.posts) + others["slack"]}
    delivered = counted("pipebell_deliveries_total", "provider", phase="Delivered")
    yield Claim("/metrics counts what was delivered, to the number", arrived, delivered)
    asked = {name: len(posts) for name, posts in evidence.vendors.items()}
    tried = asked | {"email": len(evidence.attempts), "slack": len(evidence.requests) + asked["slack"]}
    yield Claim("and what was attempted", tried, counted("pipebell_delivery_attempts_total", "provider"))
    phases = Counter(str(evidence.status(event).get("phase")) for event in evidence.events)
    yield Claim("and how events ended", dict(phases), counted("pipebell_events_total", "phase"))


def _rights(evidence: Evidence) -> Iterator[Claim]:
    refused = [entry["requestURI"] for entry in evidence.audit if entry["responseStatus"]["code"] == _FORBIDDEN]
    yield Claim(
        "the operator worked under its own account", True, bool(evidence.audit), f"{len(evidence.audit)} requests"
    )
    yield Claim("which may all that it needs", [], refused)
    yield Claim("and no more", dict.fromkeys(evidence.rights, False), dict(evidence.rights))


def _discretion(evidence: Evidence) -> Iterator[Claim]:
    places = {
        "statuses": json.dumps(
            [item.get("status") for item in (*evidence.events.values(), *evidence.configs.values())]
        ),
        "Kubernetes Events": json.dumps(list(evidence.notices)),
        "the operator's log": evidence.log,
        "messages": b"".join([*(m.raw for m in evidence.attempts), *(p.body for p in evidence.requests)]).decode(
            errors="replace"
        ),
    }
    found = [place for place, text in places.items() if any(secret in text for secret in evidence.secrets)]
    yield Claim("no password and no webhook URL in statuses, Events, logs or messages", [], found)
    yield Claim(
        "the operator met nothing that it did not expect",
        False,
        '"exception"' in evidence.log or "Traceback" in evidence.log,
    )


GROUPS: Final[tuple[Callable[[Evidence], Iterator[Claim]], ...]] = (
    _ends,
    _arrivals,
    _transports,
    _retries,
    _partial,
    _channel,
    _burst,
    _vendors,
    _failover,
    _incident,
    _silence,
    _hostile,
    _economy,
    _numbers,
    _rights,
    _discretion,
)
