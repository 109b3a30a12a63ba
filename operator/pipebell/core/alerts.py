"""Which alert of an on-call receiver a message is about: the same one for every failure of a pipeline, and its end."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from pipebell.core.digest import parse
from pipebell.core.outcome import Action
from pipebell.core.vocabulary import EventType

if TYPE_CHECKING:
    from pipebell.core.message import Message
    from pipebell.core.outcome import Attempt

_CLASSES: Final = {
    EventType.PIPELINE_FAILURE: "run",
    EventType.PIPELINE_SUCCESS: "run",
    EventType.PIPELINE_MISSING: "run",
    EventType.PIPELINE_LATE: "run",
    EventType.PIPELINE_STUCK: "run",
    EventType.DATA_QUALITY_FAILURE: "data quality",
    EventType.DATA_QUALITY_WARNING: "data quality",
    EventType.SYSTEM_ERROR: "system",
    EventType.RATE_LIMIT_EXCEEDED: "system",
}


def alert_class(event: EventType) -> str:
    """What kind of trouble it is: a success ends that of its own class. A type of its own for what is no trouble."""
    return _CLASSES.get(event, event.value)


def resolves(message: Message, attempt: Attempt | None = None) -> bool:
    """Whether it says that the trouble is over: by what happened, or because the attempt is to say so.

    A test ends nothing but itself, and what sums many events up ends nothing.
    """
    if attempt is not None and attempt.action in (Action.ACKNOWLEDGE, Action.RESOLVE):
        return attempt.action is Action.RESOLVE
    return message.event.spec.event is EventType.PIPELINE_SUCCESS and not _apart(message)


def _apart(message: Message) -> bool:
    """Whether it is about no one pipeline's trouble: a test, or a digest."""
    notice = message.event.spec.notice
    return message.test or (notice is not None and parse(notice.content) is not None)


def class_of(event: EventType) -> tuple[EventType, ...]:
    """All types of the same kind of trouble as this one."""
    known = alert_class(event)
    return tuple(each for each in EventType if alert_class(each) == known)


def alert_key(message: Message, attempt: Attempt) -> str:
    """64 characters: the same for all messages about one pipeline's trouble of a class, whatever process sends them.

    `attempt.installation` keeps two operators apart that send to the same receiver; `attempt.alert` stands in the
    pipeline's place where it is given. A test, and what sums many events up, is an alert of its own.
    """
    event = message.event
    parts = [attempt.installation, event.namespace, event.spec.org_slug, alert_class(event.spec.event)]
    about = event.spec.pipeline_id or "" if attempt.alert is None else attempt.alert
    parts.append(attempt.delivery_id if _apart(message) else about)
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()
