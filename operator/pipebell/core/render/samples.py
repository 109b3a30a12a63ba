"""One sample of everything that there is to tell, to try templates with before they are needed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any, Final, NamedTuple

from pipebell.core.event import Event, PipelineEventSpec
from pipebell.core.message import Message
from pipebell.core.status import EventStatus, IncidentRecord
from pipebell.core.vocabulary import DEFAULT_SEVERITIES, EventType, IncidentAction, NoticeKind

_CREATED: Final = 1_769_846_400.0  # 2026-01-31T08:00:00Z
_FULL: Final = {
    "pipelineId": "nightly-orders-load",
    "pipelineLoggingId": "run-2026-01-31-0800",
    "errorMessage": "Job 'load_orders' failed: unexpected keyword FROM\n  at load_orders.sql, line 12",
    "details": {"step": "load_orders", "rows": 1042, "tables": ["orders", "order_items"]},
    "owner": "data-platform",
    "labels": {"env": "prod", "team": "orders"},
    "attempt": 2,
    "maxAttempts": 3,
    "occurredAt": "2026-01-31T08:00:00Z",
    "links": [{"title": "Logs of this run", "url": "https://console.example.com/runs/7?tab=logs&level=error"}],
}
_HOSTILE: Final = {
    "pipelineId": "a\"b'<i>`x` *y* {{ 7 * 7 }}",
    "errorMessage": '</pre><script>alert(1)</script> <!channel> @here \\ " ``` {% raw %}\n\ttab, 日本語 🚀',
    "details": {'"': "\\", "<b>": ["</td>", "\n", None, 1.5, True]},
    "owner": "<@U999>",
    "labels": {"</a>": '"><img src=x>'},
    "links": [{"title": "x](https://evil.example)", "url": 'https://e.example/?a="><script>'}],
}
# Kinds of notices that templates are asked for, each with the type of event that it is about.
_NOTICES: Final = {
    NoticeKind.OPENING: EventType.PIPELINE_FAILURE,
    NoticeKind.REMINDER: EventType.PIPELINE_FAILURE,
    NoticeKind.ESCALATION: EventType.PIPELINE_FAILURE,
    NoticeKind.ACKNOWLEDGED: EventType.PIPELINE_FAILURE,
    NoticeKind.RESOLVED: EventType.PIPELINE_SUCCESS,
    NoticeKind.CHANNEL: EventType.CHANNEL_FAILING,
}


class Sample(NamedTuple):
    """A message, and what people call it."""

    name: str
    message: Message


@cache
def samples() -> tuple[Sample, ...]:
    """Each type of event with everything set, the least one, a hostile one, a test, a replay, and each notice."""
    found = [_sample(kind.value, kind, _FULL) for kind in EventType]
    failure = EventType.PIPELINE_FAILURE
    found += [
        _sample("an event that says nothing else", failure, {}),
        _sample("an event of hostile texts", failure, _HOSTILE, suppressed=12),
        _sample("a test", failure, _FULL | {"test": True}),
        _sample("a replay", failure, _FULL | {"replayOf": {"name": "earlier"}}),
    ]
    counted = IncidentRecord(name="acme-nightly-orders-load", action=IncidentAction.WORSENED, failures=3)
    worse = replace(found[0].message, note="Failing since 04:00 UTC, 3 times.", incident=counted)
    found.append(Sample("a failure of an open incident", worse))
    for notice, kind in _NOTICES.items():
        content = {"failures": 17, "firstError": "no rows", "lastError": "no rows", "since": "2026-01-31T04:00:00Z"}
        spec = {"kind": notice.value, "incident": "acme-nightly-orders-load", "step": 1, "content": content}
        found.append(_sample(f"the notice {notice.value}", kind, _FULL | {"notice": spec}))
    return tuple(found)


def _sample(name: str, kind: EventType, fields: dict[str, Any], suppressed: int = 0) -> Sample:
    spec = PipelineEventSpec.model_validate({"orgSlug": "acme_corp", "event": kind, **fields})
    event = Event("data", "acme-7f3a9", "00000000-0000-0000-0000-000000000000", "1", 1, _CREATED, spec, EventStatus())
    return Sample(name, Message(event, DEFAULT_SEVERITIES[kind], suppressed))
