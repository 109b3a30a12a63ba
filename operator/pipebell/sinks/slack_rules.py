"""What Slack refuses in a payload: the limits that a message of ours could come to.

https://docs.slack.dev/reference/block-kit/blocks and …/messaging/sending-messages-using-incoming-webhooks
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCKS: Final = 50
_ATTACHMENTS: Final = 100
_TEXT: Final = 40_000
_HEADER: Final = 150
_SECTION: Final = 3_000
_FIELDS: Final = 10
_FIELD: Final = 2_000
_ELEMENTS: Final = {"context": 10, "actions": 25}


def complaint(payload: Any) -> str | None:  # noqa: ANN401  (whatever was sent)
    """Slack's name for what is wrong with the payload; None when it is welcome."""
    if not isinstance(payload, dict):
        return "invalid_payload"
    attachments = payload.get("attachments") or []
    blocks = payload.get("blocks") or []
    if not (payload.get("text") or blocks or attachments):
        return "no_text"
    if len(payload.get("text") or "") > _TEXT:
        return "msg_too_long"
    if len(attachments) > _ATTACHMENTS:
        return "too_many_attachments"
    for group in (blocks, *(item.get("blocks") or [] for item in attachments)):
        if len(group) > _BLOCKS or any(not _fits(block) for block in group):
            return "invalid_blocks"
    return None


def _fits(block: dict[str, Any]) -> bool:
    kind = block.get("type")
    if kind == "header":
        return _length(block.get("text")) in range(1, _HEADER + 1)
    if kind == "section":
        fields = block.get("fields") or []
        return (
            (bool(fields) or "text" in block)
            and ("text" not in block or _length(block["text"]) in range(1, _SECTION + 1))
            and len(fields) <= _FIELDS
            and all(_length(field) in range(1, _FIELD + 1) for field in fields)
        )
    if kind in _ELEMENTS:
        elements = block.get("elements") or []
        return 0 < len(elements) <= _ELEMENTS[kind] and all(length > 0 for length in _texts(elements))
    return kind in ("divider", "image", "rich_text")


def _texts(elements: list[dict[str, Any]]) -> Iterator[int]:
    for element in elements:
        if element.get("type") in ("mrkdwn", "plain_text"):
            yield _length(element)


def _length(text: Any) -> int:  # noqa: ANN401  (whatever was sent)
    return len(text["text"]) if isinstance(text, dict) and isinstance(text.get("text"), str) else 0
