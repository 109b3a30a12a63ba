"""What became of one attempt to deliver: the answer of every provider, as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from pipebell.backports import StrEnum

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.vocabulary import Reason


class Action(StrEnum):
    """What an attempt does at the receiver. `Kind.can` says whether a destination is able to; every one can SEND.

    A kind that cannot REPLY sends a message that stands by itself. What else a kind cannot do is not done: nothing is
    sent then, and the delivery says so.
    """

    SEND = "send"  # a message of its own; of an on-call receiver, an alert, or (of a success) its end
    REPLY = "reply"  # a message in the thread of the one that `handle` names
    EDIT = "edit"  # the message that `handle` names says this from now on; where it is gone, a new one does
    ACKNOWLEDGE = "acknowledge"  # somebody takes care of the alert
    RESOLVE = "resolve"  # the alert is over


@dataclass(frozen=True, slots=True)
class Thread:
    """What a delivery does with an earlier message there: its `action`, and the `handle` that the message left.

    `alert` is what an on-call receiver's alert is about, where that is not the event's pipeline: an incident's key.
    `anew`: a new message takes the place of one that was to be changed and is gone.
    """

    action: Action
    handle: str | None = None
    alert: str | None = None
    anew: bool = True


class OutcomeKind(Enum):
    """What an attempt means for what comes next."""

    DELIVERED = auto()  # done, never repeated
    RETRY = auto()  # try again by the retry schedule
    PERMANENT = auto()  # never try again
    PAUSE = auto()  # the endpoint is busy: no answer about this message, so no attempt was used up
    HOST_NOT_ALLOWED = auto()  # refused by us before anything was sent: the configuration is at fault


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt's result.

    `reason` is a CamelCase word for machines (such as `SmtpAuthFailed`, `Http503`, `Timeout`); `message` is one line
    for people, without secrets or webhook URLs. `retry_after` is seconds, for PAUSE only, None when the endpoint named
    no time. `message_id` is the e-mail's Message-ID. `retry_recipients` are those not served yet: the only ones that
    the next attempt addresses. `refused` are those refused for good. `accepted` says that at least one recipient's
    message was accepted in this attempt (so the destination counts as notified, if not everybody there). `unanswered`:
    the message was handed over and no answer came, so it may have arrived. `untried`, with PAUSE: the endpoint was not
    asked at all, because it had just said to another message that it is busy.
    `handle` is what a later message of the same thread needs. `first_pause`, with PAUSE, is how many seconds the
    endpoint is left alone at first when it named no time; the engine doubles it from refusal to refusal, up to
    `longest_pause`. `ends_as`, with PERMANENT, is the reason that the delivery ends with; None for PermanentError.
    """

    kind: OutcomeKind
    reason: str = ""
    message: str = ""
    retry_after: float | None = None
    message_id: str | None = None
    retry_recipients: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    accepted: bool = False
    unanswered: bool = False
    untried: bool = False
    handle: str | None = None
    first_pause: float | None = None
    longest_pause: float | None = None
    ends_as: Reason | None = None


def _always() -> bool:
    return True


REACHED: Final = "Reached"  # the reason of a trial that shows a name, a connection and a certificate, and no more


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which attempt this is: the delivery's identity, and what earlier attempts left to do.

    `delivery_id` is the same for every attempt of one (event UID, destination), across restarts; e-mail derives its
    Message-ID from it, and Slack sends it as `X-Pipebell-Delivery`. `recipients`, when not None, are the only ones
    still to be served (e-mail). `allowed` says whether this replica may still send: providers ask right before the
    step that cannot be taken back, and raise Fenced instead of taking it. `action` is what is done, and `handle` is
    that of the earlier message that it is done to; on-call receivers know their alert by `core.alerts.alert_key`, for
    which `alert` stands in the pipeline's place. `now` is when the attempt is made and `expires` when the event is too
    old to be sent, both in seconds since the epoch. `installation` names this operator among all that send to the same
    receiver. `again`: an earlier attempt was made, and may have arrived although its answer says nothing of the kind.
    `since` is when this process began to make attempts, in seconds since the epoch: of older events a process before it
    may have sent, and died with the answer. `anew`: a new message takes the place of one that was to be changed and is
    gone; else nothing is sent.
    """

    delivery_id: str
    recipients: tuple[str, ...] | None = None
    allowed: Callable[[], bool] = _always
    handle: str | None = None
    now: float = 0.0
    expires: float | None = None
    installation: str = ""
    again: bool = False
    since: float = 0.0
    action: Action = Action.SEND
    alert: str | None = None
    anew: bool = True

    @property
    def replies_to(self) -> str | None:
        """The handle of the message whose thread this one continues; None for one that stands by itself."""
        return self.handle if self.action is Action.REPLY else None

    @property
    def edits(self) -> str | None:
        """The handle of the message that says something else from now on; None where none is changed."""
        return self.handle if self.action is Action.EDIT else None


def delivery_id(event_uid: str, destination: str) -> str:
    """The identity of one delivery: deterministic, so that a duplicate can be recognised by it."""
    return f"{event_uid}.{destination}"
