"""Slack by incoming webhooks or by an app's bot token: what is configured, what is posted, what the answers mean.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors names the webhooks' errors;
`slack_api` has those of the Web API, `slack_blocks` how a message looks, `slack_texts` what own texts are made of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from pipebell.core.destinations import slack_api
from pipebell.core.destinations.base import Capabilities, DestinationSpec, Hosts
from pipebell.core.destinations.http import (
    HTTP_RULES,
    JSON_HEADERS,
    Answer,
    HttpKind,
    HttpRequest,
    HttpTarget,
    Response,
    Sent,
    status,
)
from pipebell.core.destinations.slack_blocks import blocks, fitting, headline
from pipebell.core.destinations.slack_texts import BLOCKS, BLOCKS_JSON, MOST_TEXT, MRKDWN, TEXT, no_blocks
from pipebell.core.errors import NotReady
from pipebell.core.fields import (
    ENDPOINT,
    ONE_LINE,
    AnyCaseSeverity,
    Fillable,
    Flag,
    SecretUrl,
    fillable,
    no_placeholder,
    pattern,
    with_references,
)
from pipebell.core.outcome import Action, Attempt, OutcomeKind
from pipebell.core.render import shown
from pipebell.core.render.facts import facts, marked
from pipebell.core.render.fit import cut_middle
from pipebell.core.render.mrkdwn import code
from pipebell.core.template import Template, TemplateText, template_field
from pipebell.core.vocabulary import NotReadyReason, Severity
from pipebell.core.wire import decode, encode

if TYPE_CHECKING:
    from pipebell.core.destinations.block import Block
    from pipebell.core.message import Message

HOSTS: Final = ("hooks.slack.com", "hooks.slack-gov.com")

_Line = Annotated[str, StringConstraints(max_length=80, pattern=ONE_LINE), AfterValidator(no_placeholder)]
_Emoji = Annotated[
    str,
    StringConstraints(max_length=100, pattern=pattern(r"^:[^:\x00-\x20\x7f]+:$", "must look like :robot_face:")),
    AfterValidator(no_placeholder),
]
_BOT_TOKEN: Final = r"xox[a-z][A-Za-z0-9.-]+"  # noqa: S105  (a rule, not a token)
_BotToken = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=300, pattern=fillable(_BOT_TOKEN, "must be a bot token, which begins with xoxb-,")
    ),
    Fillable(_BOT_TOKEN, "a bot token, which begins with xoxb-", secret=True, referable=True),
]
_User = Annotated[
    str,
    StringConstraints(
        pattern=pattern(
            r"^[UWS][A-Z0-9]{1,20}$",
            "must be a Slack ID: U123456 or W123456 for a user, S123456 for a group (not an @name)",
        ),
        max_length=21,
    ),
]


@with_references
class SlackSpec(DestinationSpec):
    """Slack through an incoming webhook, or through an app's bot token."""

    webhook_url: Annotated[SecretUrl | None, ENDPOINT] = Field(
        None,
        description=(
            "Incoming webhook (https), or exactly ${VAR}. It is a credential: prefer ${VAR} or webhookUrlSecretRef."
        ),
    )
    bot_token: Annotated[_BotToken | None, ENDPOINT] = Field(
        None,
        description=(
            "Bot token of a Slack app (scope chat:write), or exactly ${VAR}; instead of webhookUrl. Needs channel. "
            "It is a credential: prefer ${VAR} or botTokenSecretRef."
        ),
    )
    channel: _Line | None = Field(
        None, description="Channel, such as #pipeline-alerts: of a bot token where to post, of a webhook an override."
    )
    username: _Line | None = Field(None, description="Name that the message is posted under.")
    icon_emoji: _Emoji | None = Field(None, description="Emoji shown as the icon, such as :robot_face:.")
    mention_users: Annotated[list[_User], Field(max_length=50)] | None = Field(
        None, description="IDs of users (U…, W…) or user groups (S…) to mention."
    )
    mention_channel: Flag | None = Field(None, description="Whether to mention the whole channel.")
    mention_min_severity: AnyCaseSeverity | None = Field(
        None, description="Mention only from this severity on. Default critical."
    )
    text_template: Annotated[TemplateText | None, Template(MRKDWN, TEXT, limit=MOST_TEXT)] = template_field(
        "the text; without blocksTemplate, it is all that is posted"
    )
    blocks_template: Annotated[TemplateText | None, Template(BLOCKS_JSON, BLOCKS, no_blocks)] = template_field(
        "the blocks, a list as JSON"
    )


@dataclass(frozen=True, slots=True)
class SlackTarget(HttpTarget):
    """An incoming webhook, or the Web API with a token; and how to post there."""

    kind = "slack"
    bot_token: str = field(default="", repr=False)
    channel: str | None = None
    username: str | None = None
    icon_emoji: str | None = None
    mention_users: tuple[str, ...] = ()
    mention_channel: bool = False
    mention_min_severity: Severity = Severity.CRITICAL

    @property
    def recipients(self) -> str:
        """The channel, where the configuration names one."""
        return self.channel or ""

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a 429 pauses: a webhook, or a channel."""
        return (self.url, self.bot_token, self.channel) if self.bot_token else (self.url,)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The token too."""
        return (self.bot_token, *HttpTarget.secrets.__get__(self))


def target(block: Block) -> SlackTarget:
    """The webhook, or the token and the channel; and the looks. Raises NotReady, naming the field or variable."""
    by_token = block.given("bot_token")
    if by_token and block.given("webhook_url"):
        message = f"{block.path}.botToken and {block.path}.webhookUrl are both set: keep one"
        raise NotReady(NotReadyReason.INCOMPLETE, message)
    if by_token and not block.get("channel"):
        raise block.incomplete("channel", "is not set, and a bot token needs it")
    return SlackTarget(
        url=slack_api.URL if by_token else block.required("webhook_url"),
        bot_token=block.required("bot_token") if by_token else "",
        trusted=block.trusted,
        where=block.path,
        channel=block.get("channel"),
        username=block.get("username"),
        icon_emoji=block.get("icon_emoji"),
        mention_users=tuple(block.get("mention_users") or ()),
        mention_channel=block.get("mention_channel") is True,
        mention_min_severity=block.get("mention_min_severity") or Severity.CRITICAL,
    )


def request(message: Message, target: SlackTarget, attempt: Attempt) -> HttpRequest:
    """What is posted; by a token, in the thread that the handle names, or in the place of the message there."""
    made = payload(message, target)
    found = slack_api.thread(attempt.handle, target.channel or "") if target.bot_token else None
    if found is None or attempt.action is Action.SEND:
        return _posted(made, target)
    if attempt.action is Action.EDIT:
        channel, ts = found
        shown = {name: made[name] for name in ("text", "attachments")}
        return _posted({"channel": channel, "ts": ts, **shown}, target, slack_api.update_url(target.url))
    made["channel"], made["thread_ts"] = found
    return _posted(made, target)


def _posted(made: dict[str, Any], target: SlackTarget, url: str = "") -> HttpRequest:
    if not target.bot_token:
        return HttpRequest(target.url, encode(made))
    headers = {**JSON_HEADERS, "Authorization": f"Bearer {target.bot_token}"}
    return HttpRequest(url or target.url, encode(made), headers)


def then(sent: Sent, response: Response) -> HttpRequest | None:
    """What Slack cannot read goes out once more as plain text; where a message is gone, a new one takes its place."""
    lost, unreadable = slack_api.thread_lost(response), slack_api.unreadable(response)
    if not lost and not unreadable:
        return None
    made = decode(sent.request.body)
    if lost and "ts" in made:
        return _posted(payload(sent.message, sent.target), sent.target)
    if lost and "thread_ts" in made:
        del made["thread_ts"]
        made["channel"] = sent.target.channel
        return _posted(made, sent.target)
    if unreadable and made.get("attachments"):
        del made["attachments"]
        known = facts(sent.message)
        if known.message and "text_template" not in sent.message.texts:
            made["text"] += "\n" + code("", known.message)
        return _posted(made, sent.target, sent.request.url)
    return None


def gone(sent: Sent, response: Response) -> bool:
    """Whether the message that was to be changed cannot be, or is not there."""
    return slack_api.thread_lost(response) and "ts" in decode(sent.request.body)


def receipt(response: Response, target: SlackTarget) -> str | None:
    """The handle of a message that a token posted; webhooks give none."""
    return slack_api.handle_of(response, target.channel or "") if target.bot_token else None


def payload(message: Message, target: SlackTarget) -> dict[str, Any]:
    """The message as Slack takes it, ready for JSON.

    Nobody is mentioned but by `target`, and never by a test.
    """
    known = facts(message)
    own, own_blocks = message.texts.get("text_template"), message.texts.get("blocks_template")
    text = headline(known) if own is None else cut_middle(marked(known, own), MOST_TEXT)
    shown = blocks(known) if own_blocks is None else fitting(own_blocks)
    attachment = {"color": known.look.color, "fallback": text.replace("*", ""), "blocks": shown}
    mentions = [] if message.test else _mentions(message, target)
    made: dict[str, Any] = {
        "text": " ".join([*mentions, text]),
        "attachments": [] if own is not None and own_blocks is None else [attachment],
        "unfurl_links": False,
        "unfurl_media": False,
    }
    if target.channel:
        made["channel"] = target.channel
    if target.username:
        made["username"] = target.username
    if target.icon_emoji:
        made["icon_emoji"] = target.icon_emoji
    return made


def _mentions(message: Message, target: SlackTarget) -> list[str]:
    if message.severity.rank < target.mention_min_severity.rank:
        return []
    users = [f"<!subteam^{who}>" if who.startswith("S") else f"<@{who}>" for who in target.mention_users]
    return ["<!channel>", *users] if target.mention_channel else users


def _not_ok(response: Response) -> bool:
    """Slack itself answers a message that it took by `ok`; others that take its format may say something else."""
    if response.host == slack_api.HOST:
        return response.get("ok") is not True
    return response.host in HOSTS and response.body.strip() != b"ok"


def look(target: SlackTarget) -> HttpRequest | None:
    """What a token is asked without posting anything: whose it is."""
    if not target.bot_token:
        return None
    url = target.url.replace("chat.postMessage", "auth.test")
    return HttpRequest(url, b"", {**JSON_HEADERS, "Authorization": f"Bearer {target.bot_token}"})


def form(url: str) -> str | None:
    """What is wrong with a URL of Slack's own hosts, as far as can be seen."""
    parts = urlsplit(url)
    if parts.hostname not in HOSTS:
        return None
    if parts.path.startswith(("/services/", "/workflows/", "/triggers/")) and "YOUR/WEBHOOK" not in parts.path:
        return None
    return "it is https://hooks.slack.com/services/T…/B…/… as Slack shows it"


SLACK: Final = HttpKind(
    name="slack",
    title="Slack",
    spec=SlackSpec,
    target=target,
    request=request,
    seed=True,
    hosts=Hosts(exact=(*HOSTS, slack_api.HOST)),
    follows_up=lambda target: bool(target.bot_token),
    capabilities=Capabilities(threads=True, edits=True, per_second=1.0, burst=3),
    answers=(
        *slack_api.ANSWERS,
        Answer(
            range(200, 300),
            OutcomeKind.RETRY,
            "Slack does not say ok: check webhookUrl or botToken, and what stands between",
            "UnexpectedAnswer",
            _not_ok,
        ),
        Answer(status(404), OutcomeKind.PERMANENT, "there is no such webhook: make a new one and update webhookUrl"),
        Answer(status(410), OutcomeKind.PERMANENT, "the webhook is gone: make a new one and update webhookUrl"),
        *HTTP_RULES,
    ),
    hints={
        **slack_api.HINTS,
        "action_prohibited": (
            "an administrator of the Slack workspace restricted posting: ask them to allow this webhook"
        ),
        "channel_is_archived": "the channel is archived: unarchive it, or choose another channel",
        "invalid_payload": "Slack cannot read the message: please report this",
        "invalid_token": "the webhook was revoked or mistyped: make a new one and update webhookUrl",
        "no_active_hooks": "the webhook is disabled: enable it, or make a new one and update webhookUrl",
        "no_service": "the webhook is disabled, removed or mistyped: make a new one and update webhookUrl",
        "no_service_id": "the webhook's URL is incomplete: check webhookUrl",
        "no_team": "there is no such Slack workspace: check webhookUrl",
        "posting_to_general_channel_denied": "posting to #general is restricted: choose another channel",
        "team_disabled": "the Slack workspace is disabled",
        "user_not_found": "there is no such user: check channel",
    },
    said=slack_api.said,
    pause=slack_api.pause,
    receipt=receipt,
    then=then,
    gone=gone,
    first_pause=1.0,
    form=form,
    probe=True,
    look=look,
    shows=shown.slack,
    example={
        "webhookUrl": "https://hooks.slack.com/services/T/B/X",
        "channel": "#pipeline-alerts",
        "username": "CloudAct Bot",
        "iconEmoji": ":robot_face:",
        "mentionUsers": ["U123456", "S345678"],
        "mentionMinSeverity": "critical",
    },
)
