"""What was seen: by the receivers, on the resources, in the API server's audit log and in the operator's own log."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipebell.core.outcome import delivery_id
from pipebell.core.vocabulary import NoticeKind
from pipebell.demo.stage import ACCOUNT, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipebell.demo.follow import Seen
    from pipebell.demo.stage import Stage
    from pipebell.sinks import Mail, Post
    from pipebell.sinks.pagerduty import Alert
    from pipebell.sinks.slack_api import Shown

Object = dict[str, Any]
OPERATOR: Final = f"system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
HEADER: Final = "X-Pipebell-Delivery"
# What the operator's account has no business with: verb, API group, resource.
FORBIDDEN: Final = (
    ("list", "", "secrets"),
    ("list", "", "configmaps"),
    ("create", "", "pods"),
    ("update", "pipebell.io", "notificationconfigs"),
    ("update", "pipebell.io", "pipelineevents"),
)


class Refusal(NamedTuple):
    """What kubectl said, and the code that it ended with."""

    code: int
    message: str


@dataclass(frozen=True)
class Evidence:
    """Everything that the claims are judged by; nothing in here asks anybody anything any more."""

    events: Mapping[str, Object]
    configs: Mapping[str, Object]
    attempts: Sequence[Mail]
    requests: Sequence[Post]
    typo: Refusal
    seen: Sequence[Seen]
    audit: Sequence[Object]
    notices: Sequence[Object]
    rights: Mapping[str, bool]
    log: str
    metrics: str
    secrets: Sequence[str]
    table: str
    vendors: Mapping[str, Sequence[Post]] = field(default_factory=dict)
    """What each receiver outside was asked, by kind; `slack` is its Web API."""
    alerts: Sequence[Alert] = ()
    cards: Sequence[Object] = ()
    shown: Sequence[Shown] = ()
    incidents: Mapping[str, Object] = field(default_factory=dict)

    @property
    def channel_notices(self) -> list[str]:
        """Events that the operator made to tell of a destination that fails."""
        return self.notices_of(NoticeKind.CHANNEL)

    def notices_of(self, *kinds: NoticeKind) -> list[str]:
        """Events that the operator made, of these kinds or of all."""
        wanted = {kind.value for kind in kinds or NoticeKind}
        return [name for name, item in self.events.items() if item["spec"].get("notice", {}).get("kind") in wanted]

    def vendor_posts(self, kind: str, namespace: str) -> list[Post]:
        """What a vendor has taken of this namespace's events."""
        uids = {item["metadata"]["uid"] for item in self.events.values() if item["metadata"]["namespace"] == namespace}
        posts = self.vendors.get(kind, ())
        return [post for post in posts if post.accepted and post.headers.get(HEADER.lower(), "").split(".")[0] in uids]

    @property
    def mails(self) -> list[Mail]:
        """E-mails that arrived."""
        return [mail for mail in self.attempts if mail.accepted]

    @property
    def posts(self) -> list[Post]:
        """Slack messages that arrived."""
        return [post for post in self.requests if post.accepted]

    def status(self, event: str) -> Object:
        """An event's status; empty when there is none."""
        status: Object = self.events.get(event, {}).get("status", {})
        return status

    def delivery(self, event: str, destination: str) -> Object:
        """One destination's entry in an event's status; empty when there is none."""
        entries = self.status(event).get("deliveries", ())
        return next((entry for entry in entries if entry["destination"] == destination), {})

    def mails_of(self, event: str, *, refused: bool = False) -> list[Mail]:
        """The e-mails of this event; with `refused`, also those that the mail server did not take."""
        identity = self._identity(event, "email")
        return [mail for mail in (self.attempts if refused else self.mails) if mail.message[HEADER] == identity]

    def posts_of(self, event: str, *, refused: bool = False) -> list[Post]:
        """The Slack messages of this event; with `refused`, also those that Slack did not take."""
        identity, header = self._identity(event, "slack"), HEADER.lower()
        return [post for post in (self.requests if refused else self.posts) if post.headers.get(header) == identity]

    def _identity(self, event: str, destination: str) -> str | None:
        uid = self.events.get(event, {}).get("metadata", {}).get("uid")
        return delivery_id(uid, destination) if uid else None


def body(mail: Mail, subtype: str) -> str:
    """The text of an e-mail's plain or HTML part; empty when it has none."""
    part = mail.message.get_body((subtype,))
    text: str = part.get_content() if isinstance(part, EmailMessage) else ""
    return text


def collect(stage: Stage, typo: Refusal, seen: Sequence[Seen], credentials: Sequence[str]) -> Evidence:
    """Everything, as it is now."""
    return Evidence(
        events=stage.items("pipelineevents"),
        configs=stage.items("notificationconfigs"),
        attempts=list(stage.smtp.attempts),
        requests=list(stage.slack.requests),
        typo=typo,
        seen=seen,
        audit=[entry for entry in stage.cluster.audit() if entry["user"]["username"] == OPERATOR],
        notices=[
            notice
            for notice in stage.cluster.request("GET", "/api/v1/events")["items"]
            if notice.get("source", {}).get("component") == "pipebell"
        ],
        rights={f"{verb} {resource}": _may(stage, verb, group, resource) for verb, group, resource in FORBIDDEN},
        log=stage.operator.log_text(),
        metrics=stage.operator.get("/metrics")[1],
        secrets=(*stage.users.values(), *credentials),
        table=stage.cluster.kubectl("get", "nc,pe", "-A").stdout,
        vendors={kind: list(sink.requests) for kind, sink in stage.outside.sinks.items()},
        alerts=stage.outside.pagerduty.alerts,
        cards=stage.outside.teams.cards,
        shown=list(stage.outside.slack.shown),
        incidents=stage.items("incidents"),
    )


def _may(stage: Stage, verb: str, group: str, resource: str) -> bool:
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": "globex"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": OPERATOR, "resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool(stage.cluster.request("POST", path, review)["status"]["allowed"])
