"""What organisations' templates may look at: the event and what is known about it, no setting and no secret."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.bounds import shortened
from pipebell.core.event import DETAILS_SHOWN
from pipebell.core.render.facts import facts
from pipebell.core.render.text import cleaned, one_line
from pipebell.core.vocabulary import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipebell.core.message import Message

_DIGESTS: Final = (NoticeKind.DIGEST, NoticeKind.STORM, NoticeKind.CATCH_UP)
_LABEL: Final = 256
# What MiniJinja itself knows by name.
_FUNCTIONS: Final = frozenset({"range", "dict", "namespace", "debug", "loop", "caller", "self", "super", "varargs"})


def takes_templates(message: Message) -> bool:
    """Whether templates word a message: not that of a digest, for its text is a list of lines."""
    notice = message.event.spec.notice
    return notice is None or notice.kind not in _DIGESTS


def context(message: Message) -> dict[str, Any]:
    """The names that a template knows, ready for JSON; all texts are clean.

    Fields of the event go by both spellings.
    """
    known, event, spec = facts(message), message.event, message.event.spec
    links = [{"title": link.title, "url": link.url} for link in known.links]
    names = {
        "type": spec.event.value,
        "title": known.title,
        "headline": known.headline,
        "namespace": event.namespace,
        "name": event.name,
        "pipeline_id": known.pipeline,
        "pipeline_logging_id": known.run,
        "error_message": known.message,
        "details": cleaned(shortened(spec.details, DETAILS_SHOWN)) if spec.details else {},
        "details_text": known.details,
        "owner": known.owner,
        "labels": {one_line(key, _LABEL): one_line(value, _LABEL) for key, value in (spec.labels or {}).items()},
        "attempt": spec.attempt,
        "max_attempts": spec.max_attempts,
        "occurred_at": spec.occurred_at.isoformat() if spec.occurred_at else None,
        "incident_key": spec.incident_key,
        "severity": message.severity.value,
        "when": known.when,
        "links": links,
        "notes": list(known.notes),
        "marks": list(known.marks),
        "source": known.source,
        "emoji": known.look.emoji,
        "color": known.look.color,
        "test": bool(spec.test),
        "replay": spec.replay_of is not None,
    }
    names |= {"event": names["type"], "pipeline": known.pipeline, "run": known.run, "message": known.message}
    return {
        "event": {**names, **{_camel(name): value for name, value in names.items()}},
        "org": known.org,
        "severity": message.severity.value,
        "incident": _incident(message),
        "digest": None,
        "suppressed": message.suppressed,
        "links": links,
    }


def _incident(message: Message) -> dict[str, Any] | None:
    notice, record = message.event.spec.notice, message.incident
    if notice is None or notice.incident is None:
        if record is None:
            return None
        made = {
            "name": record.name,
            "action": record.action.value if record.action else None,
            "failures": record.failures,
        }
        return {**made, "step": None, "content": {}, "note": message.note}
    content = cleaned(shortened(notice.content, DETAILS_SHOWN)) if notice.content else {}
    return {
        "name": notice.incident,
        "action": notice.kind.value,
        "step": notice.step,
        "failures": content.get("failures"),
        "content": content,
        "note": message.note,
    }


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def unknown_names(used: Iterable[str], example: dict[str, Any]) -> list[tuple[str, str]]:
    """The names that a template looks up in vain (`pipelin_id`), by a complete context, each with what to say of it."""
    problems = []
    for path in used:
        head, *rest = path.split(".")
        if head in _FUNCTIONS:
            continue
        if head not in example:
            problems.append((head, _no_such(head, "", example)))
        elif isinstance(example[head], dict) and rest and rest[0] not in example[head]:
            problems.append((rest[0], _no_such(rest[0], f"{head}.", example[head])))
    return problems


def _no_such(name: str, where: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {where}{near[0]}?" if near else f"there are: {', '.join(sorted(known))}"
    return f"there is no {where}{name}; {hint}"
