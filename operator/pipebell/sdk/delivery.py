"""What the API server's answer to a new event means for its record, and emptying the spool by it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

from pipebell.backports import StrEnum
from pipebell.core.errors import PipebellError, SettingsError, Unavailable
from pipebell.core.vocabulary import GROUP, VERSION
from pipebell.sdk import log
from pipebell.sdk.spool import MAX_AGE

if TYPE_CHECKING:
    from pipebell.sdk.api import Answer, Api
    from pipebell.sdk.record import Record
    from pipebell.sdk.spool import Spool, Waiting

_INVALID: Final = (400, 413, 422)
_CREATED: Final = (200, 201, 202)
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = 500


class State(StrEnum):
    """What became of a call."""

    SENT = "sent"  # the API server has the event
    SPOOLED = "spooled"  # it waits on disk
    REJECTED = "rejected"  # the API server will never take it
    LOST = "lost"  # neither sent nor on disk; the log says why
    PENDING = "pending"  # not known within the timeout; the work goes on in the background


class SendResult(NamedTuple):
    """What one attempt came to. `again` says that nothing else will get through now either."""

    state: State
    reason: str = ""
    again: bool = False


def create(api: Api, record: Record, timeout: float) -> SendResult:
    """One attempt to create the event, within `timeout` seconds. Never raises."""
    try:
        namespace = record.namespace or api.endpoint.namespace
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{quote(namespace, safe='')}/pipelineevents"
        answer = api.request("POST", path, record.body(namespace), timeout=timeout)
    except (Unavailable, SettingsError) as error:
        return SendResult(State.SPOOLED, str(error), again=True)
    except Exception as error:  # noqa: BLE001  (whatever it is, the event is kept and the pipeline goes on)
        return SendResult(State.SPOOLED, f"unexpected {type(error).__name__}")  # its text may quote the request
    return judge(answer, namespace)


def judge(answer: Answer, namespace: str) -> SendResult:
    """The meaning of an answer. An event that exists already is ours: its name is drawn once."""
    if answer.status in _CREATED or answer.reason == "AlreadyExists":
        return SendResult(State.SENT)
    if answer.status in _INVALID:
        return SendResult(State.REJECTED, answer.message)
    if answer.status == _NOT_FOUND:
        return SendResult(State.SPOOLED, absent(answer, namespace))
    busy = answer.status == _TOO_MANY or answer.status >= _SERVER_ERRORS
    code = f"HTTP {answer.status}"
    reason = answer.message if code in answer.message else f"{answer.message} ({code})"
    return SendResult(State.SPOOLED, reason, again=busy)


def absent(answer: Answer, namespace: str) -> str:
    """A 404 in words: without a kind in its details the API server does not know the resource at all."""
    if (answer.document.get("details") or {}).get("kind") == "namespaces":
        return f"there is no namespace {namespace}"
    return "the cluster does not know PipelineEvents: install Pipebell's CRDs (kubectl apply -f crds/)"


class Emptied(NamedTuple):
    """What emptying the spool came to: how many were sent, set aside, set aside as too old, and still wait."""

    sent: int = 0
    rejected: int = 0
    expired: int = 0
    left: int = 0
    reason: str = ""


def empty(
    spool: Spool, api: Api, *, timeout: float, place: str = "", anywhere: bool = False, now: float | None = None
) -> Emptied:
    """Send what waits in the spool, the oldest first, `timeout` seconds each; stop when nothing gets through.

    Records meant for another API server stay, and so do those written where no server was known, unless that was at
    this `place` (see `access.Place`). With `anywhere` all go to this server. Raises OSError when the folder cannot be
    used.
    """
    with spool.claim() as mine:
        if not mine:
            return Emptied(left=len(spool), reason="another process is sending them")
        return _empty(spool, api, timeout, None if anywhere else place, time.time() if now is None else now)


def _empty(spool: Spool, api: Api, timeout: float, place: str | None, now: float) -> Emptied:
    sent = rejected = expired = left = 0
    reason, stopped = "", False
    for item in spool.waiting():
        if now - item.record.created > MAX_AGE:
            log.error("pipebell: %s waited in the spool for more than a day: set aside", item.record.label)
            spool.set_aside(item.path)
            expired += 1
            continue
        hindrance = reason if stopped else hindrance_of(item, api, place)
        if stopped or hindrance:
            left, reason = left + 1, reason or hindrance
            continue
        result = create(api, item.record, timeout)
        if result.state is State.SENT:
            spool.done(item.path)
            sent += 1
        elif result.state is State.REJECTED:
            log.error("pipebell: %s is rejected and set aside: %s", item.record.label, result.reason)
            spool.set_aside(item.path)
            rejected += 1
        else:
            left, reason, stopped = left + 1, result.reason, result.again
    return Emptied(sent, rejected, expired, left, reason)


def hindrance_of(item: Waiting, api: Api, place: str | None) -> str:
    """Why a record is not for this API server; empty when it is. With `place` None all are."""
    try:
        server = api.endpoint.server
    except PipebellError:
        return ""  # the attempt itself will say it
    if place is None:
        return ""
    if item.server is None:
        here = bool(place) and item.place == place
        return "" if here else "written where no cluster was known: `pipebell spool send --to-current-cluster`"
    return "" if item.server == server else f"meant for {item.server}"
