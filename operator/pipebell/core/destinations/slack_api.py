"""What Slack's Web API answers: `{"ok": false, "error": "a_word"}` with status 200, and what each word means.

Words: https://docs.slack.dev/reference/methods/chat.postMessage#errors (and chat.update's); pauses:
https://docs.slack.dev/apis/web-api/rate-limits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.destinations.http import Answer
from pipebell.core.outcome import OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.destinations.http import Response

URL: Final = "https://slack.com/api/chat.postMessage"
HOST: Final = "slack.com"
_LONG: Final = 300.0  # seconds; a workspace's limit lasts

_TOO_MANY: Final = ("ratelimited", "rate_limited", "message_limit_exceeded")
_LATER: Final = {
    "external_channel_migrating": "the channel is being moved to another workspace",
    "fatal_error": "Slack has a problem; it may have posted the message all the same",
    "internal_error": "Slack has a problem",
    "org_login_required": "the workspace is being moved to an enterprise organisation",
    "request_timeout": "Slack did not get the request whole",
    "service_unavailable": "Slack has a problem",
    "team_added_to_org": "the workspace is being moved to an enterprise organisation",
    "update_failed": "Slack has a problem",
}
_TOKEN: Final = "the token does not work any more, or never did: install the app again and update botToken"  # noqa: S105  (words about one)
_SCOPE: Final = "the app lacks a permission: add the scopes chat:write (and chat:write.customize) and install it again"
_POSTING: Final = "the workspace restricts posting there: ask its administrators, or choose another channel"
_CONFIGURATION: Final = {
    "access_denied": _SCOPE,
    "accesslimited": "the workspace lets nobody in at the moment: ask its administrators",
    "account_inactive": _TOKEN,
    "as_user_not_supported": _TOKEN,
    "channel_not_found": "there is no such channel, or the app cannot see it: check channel, and invite the app",
    "channel_type_not_supported": "messages cannot be posted to such a channel: choose another one",
    "ekm_access_denied": "the workspace's administrators have suspended posting",
    "enterprise_is_restricted": "the token is not accepted for the whole organisation: use a workspace's",
    "invalid_auth": _TOKEN,
    "is_archived": "the channel is archived: unarchive it, or choose another channel",
    "messages_tab_disabled": "the app takes no direct messages: choose a channel",
    "method_deprecated": "Slack does not offer this any more: please report this",
    "missing_scope": _SCOPE,
    "no_permission": _SCOPE,
    "not_allowed_token_type": "such a token cannot post: botToken begins with xoxb-",
    "not_authed": _TOKEN,
    "not_in_channel": "the app is not in the channel: invite it (/invite @app)",
    "restricted_action": _POSTING,
    "restricted_action_non_threadable_channel": _POSTING,
    "restricted_action_read_only_channel": _POSTING,
    "restricted_action_thread_only_channel": _POSTING,
    "team_access_not_granted": "the app is not granted this workspace: ask the organisation's administrators",
    "team_not_found": "there is no such workspace: install the app again and update botToken",
    "token_expired": _TOKEN,
    "token_revoked": _TOKEN,
    "two_factor_setup_required": "the token's owner has to set up two-factor authentication first",
}
# What is wrong with a message itself: it is sent once more as plain text.
_OURS: Final = (
    *("attachment_payload_limit_exceeded", "invalid_arguments", "invalid_arg_name", "invalid_array_arg"),
    *("invalid_attachments", "invalid_blocks", "invalid_blocks_format", "invalid_charset", "invalid_form_data"),
    *("invalid_metadata_format", "invalid_metadata_schema", "invalid_post_type", "markdown_text_conflict"),
    *("metadata_too_large", "missing_post_type", "msg_blocks_too_long", "msg_too_long", "no_text"),
    *("too_many_attachments",),
)
# What is wrong with the message whose thread this one continues: a new one is made.
_THREAD: Final = (
    *("cannot_reply_to_message", "cant_update_message", "channel_not_found", "edit_window_closed", "is_inactive"),
    *("invalid_thread_ts", "message_not_found", "restricted_action_non_threadable_channel", "thread_not_found"),
)

_HANDLE: Final = re.compile(r"([A-Z][A-Z0-9]{1,30})/(\d{1,20}\.\d{1,10})/(.+)", re.DOTALL)


def error(response: Response) -> str:
    """The API's word for what is wrong; "" when it is another answer."""
    found = response.document  # asked for with each rule below, and nearly always a mere `ok`
    word = found.get("error") if isinstance(found, dict) and found.get("ok") is False else None
    return word if isinstance(word, str) else ""


def said(response: Response) -> str:
    """The API's word, or a webhook's whole text."""
    return error(response) or response.text


def pause(response: Response) -> float | None:
    """A workspace's own limit names no time, and is not over in a second."""
    if error(response) == "message_limit_exceeded" and "retry-after" not in response.headers:
        return _LONG
    return None


def unreadable(response: Response) -> bool:
    """Whether Slack cannot make anything of the message: as plain text it may. Webhooks say the word alone."""
    word = said(response).strip()
    return word in _OURS or word.startswith(("invalid_blocks", "invalid_arg"))


def thread_lost(response: Response) -> bool:
    """Whether the thread cannot be continued; without it the message may be posted."""
    return error(response) in _THREAD


def handle_of(response: Response, channel: str) -> str | None:
    """`<channel's id>/<ts>/<channel as configured>`: what a later message of the same thread needs.

    Of a reply it is that of the thread's first message: only that begins a thread.
    """
    if response.get("ok") is not True:
        return None
    shown = response.get("message")
    first = shown.get("thread_ts") if isinstance(shown, dict) else None
    handle = f"{response.get('channel')}/{first or response.get('ts')}/{channel}"
    return handle if _HANDLE.fullmatch(handle) else None


def thread(handle: str | None, channel: str) -> tuple[str, str] | None:
    """The channel's id and the ts of the thread's first message; None without one, or when another channel is set."""
    found = _HANDLE.fullmatch(handle or "")
    return (found[1], found[2]) if found and found[3] == channel else None


def update_url(url: str) -> str:
    """Where messages are changed, beside where they are posted."""
    return f"{url.rpartition('/')[0]}/chat.update"


def _says(words: Any) -> Callable[[Response], bool]:  # noqa: ANN401  (any container of texts)
    return lambda response: error(response) in words


_ANY: Final = range(200, 600)
ANSWERS: Final = (
    Answer(_ANY, OutcomeKind.PAUSE, "too many messages for this workspace or channel", "SlackBusy", _says(_TOO_MANY)),
    Answer(_ANY, OutcomeKind.RETRY, "Slack has a problem", "SlackUnavailable", _says(_LATER)),
    Answer(_ANY, OutcomeKind.PERMANENT, "Slack refuses the message", "SlackRefused", _says(_CONFIGURATION)),
    Answer(
        _ANY, OutcomeKind.PERMANENT, "Slack cannot read the message: please report this", "SlackRefused", _says(_OURS)
    ),
    Answer(_ANY, OutcomeKind.PERMANENT, "the thread cannot be continued", "SlackRefused", _says(_THREAD)),
)
HINTS: Final = {**_LATER, **_CONFIGURATION}
