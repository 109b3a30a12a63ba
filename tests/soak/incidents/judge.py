"""Compares what came of it with the model: incidents, events, messages, and their order."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.soak.incidents.model import Episode, Key, kind_of
from tests.soak.incidents.scene import RULES
from tests.soak.scene import recorded

from pipebell.core.wire import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.incidents.model import End, Expected
    from tests.soak.incidents.scene import Scene

Item = dict[str, Any]


@dataclass
class Verdict:
    """What was found; `faults` are lines for people, by what is wrong."""

    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, Any] = field(default_factory=dict)

    def fault(self, what: str, which: object) -> None:
        self.faults[what].append(str(which))


@dataclass
class Found:
    """What there is, read once."""

    events: dict[str, Item]
    incidents: list[Item]
    sent: Counter[str]

    def __post_init__(self) -> None:
        self.named = {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in self.events.values()}


def found_in(scene: Scene) -> Found:
    """Everything that there is now."""
    return Found(scene.events(), scene.incidents(), scene.sent())


def compare(scene: Scene, model: Expected, found: Found, may_repeat: Counter[str]) -> Verdict:
    """What is wrong, and the numbers of what is there."""
    verdict = Verdict()
    _events(verdict, model, found)
    pairs = list(_incidents(verdict, model, found))
    for episode, incident in pairs:
        _resource(verdict, episode, incident)
    arrivals = _arrivals(scene)
    for episode, incident in pairs:
        _messages(verdict, episode, incident, found, arrivals)
    _notices(verdict, found)
    _threads(verdict, scene, pairs, found)
    _sent(verdict, found, may_repeat)
    phases = Counter(item.get("status", {}).get("phase") for item in found.incidents)
    in_model = sum(map(len, model.episodes.values()))
    verdict.numbers |= {
        "events": dict(Counter(_phase(item) for item in found.events.values())),
        "incidents": f"{len(found.incidents):,}: {dict(phases)}; the model has {in_model:,}",
        "failures": sum(item.get("status", {}).get("failures") or 0 for item in found.incidents),
        "told": sum(bool(item.get("status", {}).get("openedTime")) for item in found.incidents),
    }
    return verdict


def _phase(item: Item) -> str:
    status = item.get("status", {})
    return "/".join(filter(None, (status.get("phase") or "(none)", status.get("reason"))))


# ---------------------------------------------------------------------- events


def _events(verdict: Verdict, model: Expected, found: Found) -> None:
    late = {
        (episode.key.namespace, said.name)
        for episodes in model.episodes.values()
        for episode in episodes
        if episode.ended_by
        for said in episode.failures
    }
    for place, end in model.ends.items():
        item = found.named.get(place)
        if item is None:
            verdict.fault("events are missing", place)
            continue
        rules = RULES[kind_of(item["spec"]["orgSlug"])]
        other = end._replace(reason="Superseded")
        if not (
            _agrees(item, end)
            or (end.phase == "Suppressed" and place in late and _agrees(item, other))
            or (rules.cooldown and _held_or_told(item, end))
        ):
            verdict.fault(
                "events ended otherwise", f"{place} {_phase(item)} {item.get('status', {}).get('incident')}, not {end}"
            )


def _agrees(item: Item, end: End) -> bool:
    status = item.get("status", {})
    record = status.get("incident") or {}
    return (
        status.get("phase") == end.phase
        and (end.reason is None or status.get("reason") == end.reason)
        and record.get("action") == end.action
        and (end.failures is None or record.get("failures") == end.failures)
    )


def _held_or_told(item: Item, end: End) -> bool:
    """Where a cooldown holds openings back: counted alike, whether held, told or told already."""
    status = item.get("status", {})
    record = status.get("incident") or {}
    if end.failures is None:
        phases = ("Delivered", "Skipped") if end.action else ("Skipped",)
        return status.get("phase") in phases and record.get("action") == end.action
    ends = ("Delivered", "Cooldown", "Repeated", "Superseded")
    return (status.get("reason") or status.get("phase")) in ends and record.get("failures") == end.failures


# ---------------------------------------------------------------------- incidents


def _incidents(verdict: Verdict, model: Expected, found: Found) -> Iterator[tuple[Episode, Item]]:
    """Each incident of the model with its resource, by the failure that opened it."""
    opened = {(item["metadata"]["namespace"], item["spec"]["openedBy"]): item for item in found.incidents}
    if len(opened) != len(found.incidents):
        verdict.fault("incidents", "two were opened by the same event")
    for episode in (each for episodes in model.episodes.values() for each in episodes):
        place = (episode.key.namespace, episode.failures[0].name)
        item = opened.pop(place, None)
        if item is None:
            verdict.fault(
                "incidents are missing", f"{episode.key} opened by {place[1]}, {len(episode.failures)} failures"
            )
        else:
            yield episode, item
    for item in opened.values():
        verdict.fault("incidents too many", f"{item['spec']} {item.get('status')}")


def _resource(verdict: Verdict, episode: Episode, item: Item) -> None:
    rules, status = RULES[kind_of(episode.key.org)], item.get("status", {})
    kind = {"Run": "Run", "System": "System"}[episode.key.kind]
    first, last = episode.failures[0], episode.failures[-1]
    wanted: dict[str, Any] = {
        "class": kind,
        "failures": len(episode.failures),
        "phase": episode.phase(rules),
        "resolvedBy": episode.ended_by,
        "firstError": first.error,
        "lastError": last.error,
        "lastEvent": last.name,
    }
    seen = {name: status.get(name) for name in wanted} | {"class": item["spec"]["class"]}
    if rules.cooldown and seen["phase"] == "Pending" and episode.ended_by is None:
        del wanted["phase"]  # its opening is held, and the window may not be over
    wrong = {name: (seen[name], value) for name, value in wanted.items() if seen[name] != value}
    if wrong:
        verdict.fault("incidents differ", f"{_name(item)} {episode.key.org} seen, wanted: {wrong}")


def _name(item: Item) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


# ---------------------------------------------------------------------- messages


def _arrivals(scene: Scene) -> dict[str, float]:
    """When each delivery was accepted first, by its identity."""
    first: dict[str, float] = {}
    for post in (*scene.world.slack.posts, *scene.threads.posts):
        first.setdefault(post.headers["x-pipebell-delivery"], post.time)
    for mail in scene.throttled.mails:
        first.setdefault(str(mail.message["Message-ID"]), mail.time)
    return first


def _deliveries(item: Item | None) -> dict[str, str]:
    """Who was told by an event: destination → identity of the delivery."""
    if item is None:
        return {}
    return {
        each["destination"]: each.get("messageId") or f"{item['metadata']['uid']}.{each['destination']}"
        for each in item.get("status", {}).get("deliveries", ())
        if each["phase"] == "Delivered"
    }


def _messages(verdict: Verdict, episode: Episode, incident: Item, found: Found, arrivals: dict[str, float]) -> None:
    """Each destination has one opening and one recovery, in this order; nobody else has anything."""
    rules, place = RULES[kind_of(episode.key.org)], episode.key.namespace
    openings: Counter[str] = Counter()
    first: dict[str, float] = {}
    notice = f"{incident['metadata']['name']}-opening"
    tells = [found.named.get((place, said.name)) for said in episode.failures]
    tells += (
        [item for (where, name), item in found.named.items() if where == place and name.startswith(notice)]
        if rules.cooldown
        else []
    )
    for item in tells:
        for name, identity in _deliveries(item).items():
            openings[name] += 1
            first[name] = arrivals.get(identity, float("inf"))
    end = found.named.get((place, episode.ended_by)) if episode.ended_by else None
    ends = _deliveries(end)
    told = episode.told(rules) if not rules.cooldown else bool(openings)
    wanted = set(rules.destinations) if told else set()
    if openings != Counter(wanted):
        verdict.fault("openings", f"{_name(incident)} {episode.key.org}: {dict(openings)}, not {sorted(wanted)}")
    if end is not None and set(ends) != wanted:
        verdict.fault("recoveries", f"{_name(incident)} {episode.key.org}: {sorted(ends)}, not {sorted(wanted)}")
    for name, identity in ends.items():
        if arrivals.get(identity, 0.0) < first.get(name, float("inf")):
            verdict.fault("a recovery came before its opening", f"{_name(incident)} {name}")
    notified = {each["destination"] for each in incident.get("status", {}).get("notifications", ())}
    if notified != wanted:
        verdict.fault("notifications", f"{_name(incident)} {episode.key.org}: {sorted(notified)}, not {sorted(wanted)}")


def _notices(verdict: Verdict, found: Found) -> None:
    """What the operator makes by itself here: openings that a cooldown held, and edits of first messages."""
    for item in found.events.values():
        notice = item["spec"].get("notice")
        if notice is None:
            continue
        kind, org = notice["kind"], kind_of(item["spec"]["orgSlug"])
        if (kind, org) not in (("Opening", "cool"), ("Resolved", "thread")):
            verdict.fault("notices that nothing calls for", f"{_name(item)} {kind} {item['spec']['orgSlug']}")
        elif _phase(item) not in ("Delivered", "Suppressed/Superseded"):
            verdict.fault("notices that did not end well", f"{_name(item)} {kind}: {_phase(item)}")


def _threads(verdict: Verdict, scene: Scene, pairs: list[tuple[Episode, Item]], found: Found) -> None:
    """A recovery is in the thread of its opening, which says that it is over; a mail is a reply to the first one."""
    shown = {each.ts: each for each in list(scene.threads.shown)}
    bodies = {post.headers["x-pipebell-delivery"]: decode(post.body) for post in list(scene.threads.posts)}
    mails = {str(mail.message["Message-ID"]): mail.message for mail in list(scene.throttled.mails)}
    count = 0
    for episode, incident in pairs:
        if episode.ended_by is None:
            continue
        ends = _deliveries(found.named.get((episode.key.namespace, episode.ended_by)))
        for told in incident.get("status", {}).get("notifications", ()):
            end, handle = ends.get(told["destination"]), told.get("handle") or ""
            if end is None or kind_of(episode.key.org) not in ("thread", "mail", "both"):
                continue
            if told["provider"] == "email":
                count += 1
                message = mails.get(end)
                if message is None or (message["In-Reply-To"], message["References"]) != (handle, handle):
                    verdict.fault("a mail is no reply to its opening", _name(incident))
            elif kind_of(episode.key.org) == "thread":
                count += 1
                ts = handle.split("/")[1] if "/" in handle else ""
                if bodies.get(end, {}).get("thread_ts") != ts:
                    verdict.fault("a recovery is not in its thread", f"{_name(incident)} {handle}")
                elif ts not in shown or not shown[ts].edits or "recovered" not in shown[ts].text.lower():
                    verdict.fault("a first message does not say that it is over", f"{_name(incident)} {shown.get(ts)}")
    verdict.numbers["conversations that ended"] = count


def _sent(verdict: Verdict, found: Found, may_repeat: Counter[str]) -> None:
    """What arrived is what is recorded; twice only what was in flight when a replica or the API server died."""
    known = recorded(found.events)
    repeated = Counter({identity: times - 1 for identity, times in found.sent.items() if times > 1})
    for identity in known - set(found.sent):
        verdict.fault("recorded as delivered, and never arrived", identity)
    for identity in set(found.sent) - known:
        verdict.fault("arrived, and is not recorded", identity)
    for identity in repeated - may_repeat:
        verdict.fault("repeated, and was not in flight", identity)
    verdict.numbers["messages"] = f"{found.sent.total():,} arrived, {len(known):,} recorded, {repeated.total()} twice"


__all__ = ["Found", "Key", "Verdict", "compare", "found_in"]
