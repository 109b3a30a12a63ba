"""What stands still among configurations and events, by what their status says. Pure rules for `pipebell status`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.vocabulary import FINAL_PHASES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipebell.cli.replicas import Operator

FRESH: Final = 60.0  # seconds within which an event need not have a status yet
OVERDUE: Final = 900.0  # seconds after its time at which a next attempt has been forgotten by everybody
_CHANGED: Final = "ConfigChanged"
_BUSY: Final = "RateLimited"


@dataclass(slots=True)
class Standing:
    """One object, or one destination, that somebody should look at."""

    namespace: str
    org: str
    name: str = ""
    destination: str = ""
    reason: str = ""
    message: str = ""
    fix: str = ""
    time: str = ""
    count: int = 1


def unready(configs: Iterable[Mapping[str, Any]]) -> list[Standing]:
    """Configurations whose condition Ready is not True."""
    found = []
    for config in configs:
        conditions = (config.get("status") or {}).get("conditions") or ()
        ready = next((item for item in conditions if item.get("type") == "Ready"), None)
        if ready is not None and ready.get("status") == "True":
            continue
        standing = _of(config)
        standing.reason = (ready or {}).get("reason") or "NotJudged"
        standing.message = (ready or {}).get("message") or "no operator has looked at it yet"
        found.append(standing)
    return found


def destinations(events: Iterable[Mapping[str, Any]], now: float, since: float) -> list[Standing]:
    """Destinations whose last attempt in the last `since` seconds failed. Being busy is no failure."""
    last: dict[tuple[str, str, str], tuple[float, Standing | None]] = {}
    for event in events:
        for delivery in (event.get("status") or {}).get("deliveries") or ():
            tried = seconds(delivery.get("deliveredTime") or delivery.get("lastAttemptTime"))
            reason, key = delivery.get("reason") or "", (*_place(event), delivery.get("destination") or "")
            if not tried or now - tried > since or reason in (_CHANGED, _BUSY):
                continue
            if tried < last.get(key, (0.0, None))[0]:
                continue
            standing = None
            if delivery.get("phase") != "Delivered" and reason:
                standing = _of(event)
                standing.destination, standing.reason = key[2], reason
                standing.message = delivery.get("message") or ""
                standing.time = delivery.get("lastAttemptTime") or ""
            last[key] = tried, standing
    return [standing for _, standing in last.values() if standing is not None]


def channels(configs: Iterable[Mapping[str, Any]], events: Iterable[Mapping[str, Any]]) -> list[Standing]:
    """Destinations that fail by what the operator wrote on their configuration.

    That is written once a minute at most: what an event says has got through since then counts.
    """
    through: dict[tuple[str, str, str], float] = {}
    for event in events:
        for delivery in (event.get("status") or {}).get("deliveries") or ():
            name = (delivery.get("destination") or "").partition("/")[0]
            key = (*_place(event), name)
            through[key] = max(through.get(key, 0.0), seconds(delivery.get("deliveredTime")))
    found = []
    for config in configs:
        for record in (config.get("status") or {}).get("destinations") or ():
            name, since = record.get("name") or "", record.get("since") or ""
            if record.get("state") != "Failing" or through.get((*_place(config), name), 0.0) > seconds(since):
                continue
            standing = _of(config)
            standing.destination, standing.time = name, since
            standing.reason, standing.message = record.get("reason") or "", record.get("message") or ""
            standing.fix = f"see what is wrong: pipebell verify {standing.org} -n {standing.namespace}"
            found.append(standing)
    return found


def unserved(events: Iterable[Mapping[str, Any]], operator: Operator, now: float) -> list[Standing]:
    """Unfinished events that nobody works on: of a namespace that is not served, without any status, or overdue."""
    found = []
    for event in events:
        status, standing = event.get("status") or {}, _of(event)
        if status.get("phase") in FINAL_PHASES:
            continue
        trouble = operator.trouble(standing.namespace)
        age = now - seconds(event["metadata"].get("creationTimestamp"))
        if trouble:
            standing.reason, standing.message = "NotServed", trouble
            standing.fix = f"have namespace {standing.namespace} served: watchNamespaces in the operator's chart"
        elif not status.get("phase") and age > FRESH:
            standing.reason, standing.message = "NotSeen", f"no operator has looked at it for {age / 60:.0f} min"
            standing.fix = "see the operator's log, and whether it is behind (metric pipebell_namespaces_behind)"
        elif (overdue := now - _next(status)) > OVERDUE:
            standing.reason, standing.message = "Overdue", f"its next attempt was due {overdue / 60:.0f} min ago"
            standing.fix = "see the operator's log"
        else:
            continue
        standing.time = event["metadata"].get("creationTimestamp") or ""
        found.append(standing)
    return found


def _next(status: Mapping[str, Any]) -> float:
    """The first time at which something was to happen; infinity for none."""
    times = [seconds(item.get("nextAttemptTime")) for item in status.get("deliveries") or ()]
    return min(filter(None, times), default=float("inf"))


def paused(events: Iterable[Mapping[str, Any]]) -> list[Standing]:
    """Destinations whose other side is busy, with how many events wait for it."""
    found: dict[tuple[str, str, str], Standing] = {}
    for event in events:
        status = event.get("status") or {}
        if status.get("phase") in FINAL_PHASES:
            continue
        for delivery in status.get("deliveries") or ():
            if delivery.get("phase") in ("Delivered", "Failed"):
                continue
            if _BUSY not in (delivery.get("reason"), status.get("reason")):
                continue
            key = (*_place(event), delivery.get("destination") or "")
            if key in found:
                found[key].count += 1
                continue
            standing = found[key] = _of(event)
            standing.destination, standing.reason = key[2], _BUSY
            standing.message, standing.time = delivery.get("message") or "", delivery.get("nextAttemptTime") or ""
    return list(found.values())


def _place(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["metadata"].get("namespace") or "", (item.get("spec") or {}).get("orgSlug") or ""


def _of(item: Mapping[str, Any]) -> Standing:
    namespace, org = _place(item)
    return Standing(namespace, org, item["metadata"].get("name") or "")


def seconds(text: str | None) -> float:
    """An RFC 3339 time as seconds since the epoch; 0 for none."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0
