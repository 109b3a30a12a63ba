"""Slack: posts to incoming webhooks, and sorts what they answer.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling_errors names the errors below.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pipebell.core.errors import NotReady
from pipebell.core.outcome import Outcome, Verdict
from pipebell.core.render import slack_payload
from pipebell.core.vocabulary import NotReadyReason
from pipebell.core.wire import encode
from pipebell.providers.failures import masked, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.event import Notification
    from pipebell.core.hosts import HostPolicy
    from pipebell.core.outcome import Attempt
    from pipebell.core.targets import SlackTarget
    from pipebell.providers.http import Answer, Http

_MAX_PAUSE: Final = 3600.0  # seconds


@dataclass(frozen=True, slots=True)
class Rule:
    """What a status means. `reason` "" is `Http<status>`."""

    statuses: range
    verdict: Verdict
    mend: str
    reason: str = ""


# The first row that fits decides.
RULES: Final = (
    Rule(range(200, 300), Verdict.DELIVERED, ""),
    Rule(
        range(300, 400), Verdict.PERMANENT, "the webhook redirects elsewhere, which is not followed", "RedirectRefused"
    ),
    Rule(range(408, 409), Verdict.RETRY, "the server did not get the request in time"),
    Rule(range(429, 430), Verdict.PAUSE, "too many messages for this webhook"),
    Rule(range(404, 405), Verdict.PERMANENT, "there is no such webhook: make a new one and update webhookUrl"),
    Rule(range(410, 411), Verdict.PERMANENT, "the webhook is gone: make a new one and update webhookUrl"),
    Rule(range(400, 500), Verdict.PERMANENT, "the webhook refused the message"),
    Rule(range(500, 600), Verdict.RETRY, "the server has a problem"),
)
_UNEXPECTED: Final = Rule(range(0), Verdict.RETRY, "the server does not answer as it should")

# Slack's names of errors, with the mend.
MENDS: Final = {
    "action_prohibited": "an administrator of the Slack workspace restricted posting: ask them to allow this webhook",
    "channel_is_archived": "the channel is archived: unarchive it, or choose another channel",
    "channel_not_found": "there is no such channel: check slack.channel, and invite the app if it is private",
    "invalid_payload": "Slack cannot read the message: please report this",
    "invalid_token": "the webhook was revoked or mistyped: make a new one and update webhookUrl",
    "no_active_hooks": "the webhook is disabled: enable it, or make a new one and update webhookUrl",
    "no_service": "the webhook is disabled, removed or mistyped: make a new one and update webhookUrl",
    "no_service_id": "the webhook's URL is incomplete: check webhookUrl",
    "no_team": "there is no such Slack workspace: check webhookUrl",
    "posting_to_general_channel_denied": "posting to #general is restricted: choose another channel",
    "team_disabled": "the Slack workspace is disabled",
    "user_not_found": "there is no such user: check slack.channel",
}


class SlackProvider:
    """Posts notifications to Slack."""

    def __init__(self, http: Http, hosts: HostPolicy, now: Callable[[], float]) -> None:
        self._http, self._hosts, self._now = http, hosts, now

    async def send(self, notification: Notification, target: SlackTarget, attempt: Attempt) -> Outcome:
        """One attempt. Raises Fenced if this replica may not send any more once the request could go out."""
        refusal = self._refusal(target)
        if refusal:
            return Outcome(Verdict.HOST_NOT_ALLOWED, "HostNotAllowed", refusal)
        payload = slack_payload(notification, target)
        headers = {"Content-Type": "application/json; charset=utf-8", "X-Pipebell-Delivery": attempt.delivery_id}
        try:
            answer = await self._http.post(target.webhook_url, encode(payload), headers, allowed=attempt.allowed)
        except OSError as error:
            return outcome_of(error, urlsplit(target.webhook_url).hostname or "webhook")
        except ValueError:
            return Outcome(Verdict.PERMANENT, "InvalidUrl", "slack.webhookUrl is not a URL that can be posted to")
        return sort_answer(answer, target.webhook_url, self._now())

    async def check(self, target: SlackTarget) -> None:
        """Raises NotReady(HostNotAllowed) if an organisation may not post there."""
        refusal = self._refusal(target)
        if refusal:
            raise NotReady(NotReadyReason.HOST_NOT_ALLOWED, refusal)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    def _refusal(self, target: SlackTarget) -> str:
        if target.trusted or self._hosts.admits_webhook(target.webhook_url):
            return ""
        return "the host of slack.webhookUrl is not allowed: the platform team may add it (PIPEBELL_SLACK_HOSTS)"


def sort_answer(answer: Answer, url: str, now: float) -> Outcome:
    """What the answer means. `url` must not show in it; `now` is seconds since the epoch, for Retry-After."""
    rule = next((rule for rule in RULES if answer.status in rule.statuses), _UNEXPECTED)
    if rule.verdict is Verdict.DELIVERED:
        return Outcome(Verdict.DELIVERED)
    secrets = (url, *(part for part in urlsplit(url).path.split("/") if len(part) > 4))  # noqa: PLR2004  (T…, B…, X…)
    said = masked(answer.body.decode("utf-8", "replace"), *secrets)
    mend = MENDS.get(said, rule.mend)
    message = f"{answer.status}: {mend}" + (f" ({said})" if said and "<" not in said else "")
    reason = rule.reason or f"Http{answer.status}"
    if rule.verdict is Verdict.PAUSE:
        return Outcome(rule.verdict, reason, message, retry_after=retry_after(answer.headers.get("retry-after"), now))
    return Outcome(rule.verdict, reason, message)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds to wait, at most an hour; None if the header names no time (RFC 9110, 10.2.3: seconds or a date)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 0.0), _MAX_PAUSE) if seconds == seconds else None  # noqa: PLR0124  (NaN)
