"""A typical message, to be varied by each test, and one of every kind that there is to tell."""

from pipebell.core.digest import MAX_ITEMS, Member, Tally
from pipebell.core.event import Event, PipelineEventSpec
from pipebell.core.message import Message
from pipebell.core.status import EventStatus
from pipebell.core.vocabulary import Severity

MESSAGE = """Job 'load_orders' failed: 400 Syntax error: Unexpected keyword FROM at [12:5]
  File "/app/pipelines/executor.py", line 412, in run_step
    result = await self.warehouse.query(step.sql, timeout=step.timeout)"""


class Raw(str):
    """Text put into the event without validation."""

    __slots__ = ()


def make(severity=Severity.ERROR, suppressed=0, **changes):
    spec = {
        "org_slug": "acme_corp",
        "event": "pipeline_failure",
        "pipeline_id": "nightly-orders-load",
        "pipeline_logging_id": "run-2026-11-23-0415",
        "error_message": MESSAGE,
        "details": {"step": "load_orders", "attempt": 2, "tables": ["orders", "order_items"]},
        "occurred_at": "2026-11-23T04:15:42Z",
        "links": [{"title": "Logs of this run", "url": "https://console.example.com/runs/7?tab=logs&level=error"}],
    }
    spec.update(changes)
    # Text that pydantic would refuse (lone surrogates) may not reach a renderer; it has to cope all the same.
    parsed = PipelineEventSpec.model_validate(spec | {key: "x" for key in spec if isinstance(changes.get(key), Raw)})
    given = {key: str(value) for key, value in changes.items() if isinstance(value, Raw)}
    event = Event(
        "data", "acme-7f3a9", "uid-1", "1", 1, 1_795_407_342.0, parsed.model_copy(update=given), EventStatus()
    )
    return Message(event, severity, suppressed)


def member(number, **changes):
    given = {
        "name": f"acme-{number}",
        "org": "acme_corp",
        "pipeline": "nightly-orders-load",
        "event": "pipeline_failure",
        "severity": Severity.ERROR,
        "at": 1_795_407_342.0 + 60 * number,
        "run": f"run-{number}",
        "error": "400 Syntax error: Unexpected keyword FROM at [12:5]",
    }
    return Member(**given | changes)


MEMBERS = [
    *(member(number) for number in range(3)),
    member(7, pipeline="orders-quality", event="data_quality_warning", severity=Severity.WARNING, error=""),
    member(
        5, pipeline="billing", severity=Severity.CRITICAL, link=("Logs", "https://console.example.com/runs/5?a=1&b=2")
    ),
    member(9, pipeline="billing", event="pipeline_success", severity=Severity.INFO, error="", run=""),
]
NOWHERE = dict.fromkeys(("pipeline_id", "pipeline_logging_id", "error_message", "details", "links"))


def digest_content(members, *, max_items=MAX_ITEMS, title="Digest", notes=()):
    """The content of a digest of these members, as its event's spec holds it."""
    tally = Tally(max_items)
    for member in members:
        tally.add(member)
    return tally.content(max_items=max_items, title=title, notes=notes)


def digest(members, severity, **options):
    content = digest_content(members, **options)
    notice = {"kind": "Digest", "destination": "email", "due": "2026-11-23T08:00:00Z", "content": content}
    return {**NOWHERE, "severity": severity, "notice": notice}


HOSTILE_MEMBER = {
    "name": "<b>",
    "pipeline": "a\r\nBcc: x@example.com <!channel> @here `x` *b* {{DATE(1)}} <at>all</at> https://e.example",
    "run": "</td><script>",
    "error": "\x1b[31m</script><!channel> <@U999> & ```\n*bold*\x00\u202egpj.exe\u200b ```` \U0001f600 خطأ",
    "link": ("<b>|>", 'https://e.example/?a=1&b="><script>|x'),
}
CASES = {
    "pipeline_failure": {},
    "pipeline_success": {
        "event": "pipeline_success",
        "severity": Severity.INFO,
        "error_message": None,
        "details": None,
    },
    "pipeline_started": {"event": "pipeline_started", "severity": Severity.INFO, "error_message": None, "links": None},
    "data_quality_failure": {"event": "data_quality_failure", "severity": Severity.WARNING, "suppressed": 1},
    "data_quality_warning": {"event": "data_quality_warning", "severity": Severity.WARNING, "pipeline_id": None},
    "rate_limit_exceeded": {"event": "rate_limit_exceeded", "severity": Severity.WARNING, "suppressed": 49},
    "system_error": {"event": "system_error", "severity": Severity.CRITICAL},
    "pipeline_missing": {"event": "pipeline_missing", "details": None},
    "pipeline_late": {"event": "pipeline_late", "severity": Severity.WARNING, "details": None},
    "pipeline_stuck": {"event": "pipeline_stuck", "severity": Severity.WARNING, "details": None},
    "channel_failing": {"event": "channel_failing", "severity": Severity.WARNING, "pipeline_id": None},
    "channel_recovered": {
        "event": "channel_recovered",
        "severity": Severity.INFO,
        "pipeline_id": None,
        "error_message": None,
    },
    "owned": {
        "owner": "data-platform <!here> @all",
        "labels": {"env": "prod", "team": "<b>orders</b>"},
        "attempt": 3,
        "max_attempts": 3,
    },
    "test": {"severity": Severity.CRITICAL, "test": True},
    "replay": {"replay_of": {"name": "acme-41c"}},
    "digest": digest(MEMBERS, Severity.CRITICAL),
    "digest_hostile": digest(
        [
            member(1, **HOSTILE_MEMBER),
            member(2, org="other<!here>", **HOSTILE_MEMBER),
            *(member(n) for n in range(3, 9)),
        ],
        Severity.ERROR,
        max_items=5,
        title="What came in\nthe <b>night</b>",
        notes=["held back by <!everyone> `x`"],
    ),
    "hostile": {
        "severity": Severity.CRITICAL,
        "pipeline_id": "a\r\nBcc: x@example.com\r\n\r\n<!channel> @here `x`",
        "error_message": "\x1b[31m</script><!channel> <@U999> & ```\n*bold*\x00\u202egpj.exe\u200b ```` \U0001f600 خطأ",
        "details": {"</pre>": "<img src=x onerror=alert(1)>", "`": "```"},
        "links": [{"title": "<b>|>", "url": 'https://e.example/?a=1&b="><script>|x'}],
    },
}
