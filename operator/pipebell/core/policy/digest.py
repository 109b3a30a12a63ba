"""Which of an event's destinations get it in a digest, later."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipebell.core.layers import part_of
from pipebell.core.models import KINDS
from pipebell.core.policy.batches import Rhythm, Waiting, place, rhythm_of
from pipebell.core.policy.decision import Batch, Wait, WaitsFor
from pipebell.core.policy.situation import Resolved, Situation, Stage
from pipebell.core.silences.hold import held_by_quiet_hours, silent
from pipebell.core.status import clip
from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipebell.core.batching import DigestSpec
    from pipebell.core.layers import Layers
    from pipebell.core.policy.decision import Decision
    from pipebell.core.vocabulary import Severity


def apart(s: Situation) -> Situation:
    """The same with the destinations that get digests apart from those that get it now.

    What was recorded as waiting goes on to wait, whatever is configured by now; once anything was sent, nothing is
    added to it.
    """
    match, recorded = s.matched, {item.destination for item in s.progress.batch}
    wanted = match.digest
    if wanted is not None and (wanted.enabled is False or s.event.exempt or s.progress.tried):
        wanted = None
    if wanted is None and not recorded:
        return s
    layers = s.resolved.layers
    now: list[str] = []
    later: list[str] = []
    for name in match.destinations:
        whole = part_of(name)[0]
        waits = whole in recorded or (wanted is not None and _gets_digests(layers, wanted, whole))
        (later if waits else now).append(whole if waits else name)
    return s._replace(match=replace(match, destinations=tuple(now), batched=tuple(dict.fromkeys(later))))


def _gets_digests(layers: Layers, digest: DigestSpec, name: str) -> bool:
    """Whether a destination gets digests: those that the settings name, else all that nobody is on call for.

    One that is not known waits by itself until it is.
    """
    if digest.destinations is not None:
        return name in digest.destinations
    kind = layers.kind(name)
    return kind is not None and not KINDS[kind].capabilities.resolves


def waiting(s: Situation) -> tuple[Waiting, ...]:
    """What waits for which digest: what is recorded as it is, the rest by now."""
    match = s.matched
    if not match.batched:
        return s.progress.batch
    recorded = {item.destination: item for item in s.progress.batch}
    if match.digest is None or not s.batches.known:
        return s.progress.batch
    rhythm, namespace = rhythm_of(match.digest, s.event.spec.org_slug), s.event.namespace
    found = {name: recorded.get(name) or place(s.batches, rhythm, namespace, name, s.now) for name in match.batched}
    return tuple({**recorded, **found}.values())


def digest(s: Situation) -> Decision | Situation:
    """Batch an event that goes nowhere now; pass any other on with the destinations that wait."""
    match = s.matched
    if not match.batched and not s.progress.batch:
        return s
    if not s.batches.known:
        message = "which digests are due is being read"
        return Wait(StageName.DIGEST, WaitsFor.LEDGER, None, message, match=match)
    batch = tuple({item.destination: item for item in (*s.batch, *waiting(s))}.values())
    if match.destinations:
        return s._replace(batch=batch)
    return deferred(s, StageName.DIGEST, batch)


def together(s: Situation, every: int, why: str) -> Decision | Situation:
    """Have what is not on call told in one digest, `every` seconds after its first member; the rest gets it now."""
    match, layers = s.matched, s.resolved.layers
    if not s.batches.known:
        return Wait(StageName.DIGEST, WaitsFor.LEDGER, None, "which digests are due is being read", match=match)
    rhythm = Rhythm(s.event.spec.org_slug, every)
    now: list[str] = []
    later: list[str] = []
    for name in match.destinations:
        found = layers.destination(name)
        waits = found is not None and not found.kind.capabilities.resolves
        (later if waits else now).append(name)
    wholes = dict.fromkeys(part_of(name)[0] for name in later)
    placed = tuple(place(s.batches, rhythm, s.event.namespace, name, s.now) for name in wholes)
    if not placed:
        return s
    s = s._replace(match=replace(match, destinations=tuple(now)), batch=(*waiting(s), *placed))
    return s if now else deferred(s, StageName.DIGEST, s.batch, why)


def deferred(s: Situation, stage: StageName, batch: Sequence[Waiting], why: str = "") -> Batch:
    """The decision that all destinations get it in digests."""
    said = f"{why}{'; '.join(map(str, batch))}"
    return Batch(stage, Reason.BATCHED, clip(said), tuple(batch), s.matched.title, s.matched)


def moved(s: Situation, severity: Severity, waits: Iterable[Waiting]) -> list[str]:
    """Of digests that wait, those that quiet hours or a silence of everything will hold back when due: in words.

    `severity` is that of the event; a digest goes by its most severe one.
    """
    if s.silences is None or not isinstance(s.configuration, Resolved):
        return []
    said = []
    for item in waits:
        due = max(item.due, s.now)
        hold = silent(s.silences, s.event, severity, due)
        hold = hold or held_by_quiet_hours(s.configuration.layers.quiet_hours, severity, due)
        if hold is not None and item.digest not in s.batches.closed:
            said.append(f"{item.digest} is {hold.message} (with something more severe in it, it comes when due)")
    return said


DIGEST = Stage(StageName.DIGEST, digest)
