"""`pipebell why`: what each stage says of an event, which one decided, and what would change that."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli import completion, effective, elsewhere, incidents, observe, observe_incidents, replicas, show
from pipebell.cli.client import Client
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.cli.terminal import clean
from pipebell.core.policy.configured import title
from pipebell.core.policy.decide import explain
from pipebell.core.policy.decision import Batch, Deliver, Skip, Suppress, Wait
from pipebell.core.policy.digest import moved
from pipebell.core.policy.hints import hint
from pipebell.core.policy.match import Match
from pipebell.core.policy.override import changes, find_override
from pipebell.core.policy.situation import CooldownFacts, Resolved
from pipebell.core.policy.triggers import match_trigger
from pipebell.core.vocabulary import Phase, StageName
from pipebell.engine.events.state import EventState
from pipebell.kube.parse import parse_event

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.core.policy.decide import Answer
    from pipebell.core.policy.decision import Decision
    from pipebell.core.policy.situation import Situation

_PHASES: Final = {Skip: Phase.SKIPPED, Wait: Phase.PENDING, Suppress: Phase.SUPPRESSED, Batch: Phase.SUPPRESSED}
PASSES: Final = "passes"


@dataclass(slots=True)
class Row:
    """One stage's answer. `recorded`: it is what the event's status says, not worked out now."""

    stage: str
    answer: str
    message: str = ""
    matched: str = ""
    reached: bool = True
    recorded: bool = False


@dataclass(slots=True)
class Why:
    """Everything that there is to say. `change` is what would change the decision."""

    event: str
    status: str
    message: str
    config: str
    stages: list[Row]
    incident: str = ""
    change: str = ""
    notes: list[str] = field(default_factory=list)


_NOT_FOUND: Final = "it depends on what an earlier stage did not find"


@click.command("why")
@click.argument("event", shell_complete=completion.events)
@observe.max_age_option
@effective.place_options
@output_option
@cluster_options
def command(event: str, access: Access, output: str, max_age: float, **options: Any) -> None:  # noqa: ANN401
    """Show what each stage says of EVENT (a PipelineEvent's name), which one decided, and what would change that.

    Of a finished event, the stage that decided is shown as its status has it; the others are worked out from the
    configuration of now, and it is said when that is another one than the event used.
    """
    where = effective.place(options["operator_namespace"], options["root_configmap"], options["shared_namespaces"])
    with Client(access) as client:
        item = elsewhere.event(client, event)
        subject = parse_event(item)
        finder = effective.Finder(client, where, effective.read_env(options["env_file"]))
        configuration, name = finder.answer(subject.spec.org_slug, subject.namespace)
        unserved = replicas.notes(client, where.namespace, subject.namespace)
        others = observe.others_like(client, subject, configuration)
        original = observe.original_of(client, subject)
        silences, unseen = observe.silences_of(client, subject, where.namespace)
        around = observe.Around(silences, observe_incidents.incidents_like(client, subject, configuration))
        record = (item.get("status") or {}).get("incident")
        incident = incidents.describe(client, record, subject.namespace) if record else ""
    situation = observe.situation(subject, configuration, others, time.time(), max_age, original, around)
    why = make(subject, situation, name)
    why.incident = incident
    why.notes += [*finder.notes, *unserved, *unseen]
    click.echo(json.dumps(asdict(why), indent=2)) if output == "json" else _print(why)


def make(event: Event, situation: Situation, config: str) -> Why:
    """What there is to say of an event in this situation."""
    status = event.status
    why = Why(
        event=f"{event.namespace}/{event.name}",
        status="/".join(filter(None, (status.phase or "not seen by the operator yet", status.reason))),
        message=status.message or "",
        config=config,
        stages=[],
        notes=_changed(event, situation),
    )
    for item in status.batch or ():
        why.notes.append(f"{item.destination} is told of it by {item.digest}, due {item.due}")
    if status.finished:
        why.notes += moved(situation, status.severity or event.severity, EventState.of(event).batch)
    recorded = status.decision.stage if status.finished and status.decision is not None else None
    if recorded is None:
        if status.finished:
            why.notes.append("which stage decided is not recorded: this is what would be decided now")
        for answer in explain(situation):
            why.stages.append(_row(answer, situation))
            if answer.reached and answer.decision is not None:
                why.change = hint(answer.decision, event)
                why.notes += _moved(answer.decision, situation)
        return why
    # Whatever came before has passed the event on then: nothing of what was sent since counts.
    then = situation._replace(
        now=event.created, cooldown=CooldownFacts(), incident=observe_incidents.unknown(situation.incident)
    )
    for answer in explain(then):
        why.stages.append(_recorded(event) if answer.stage is recorded else _row(answer, then))
    names = list(StageName)
    for row in why.stages:
        row.reached = names.index(StageName(row.stage)) <= names.index(recorded)
    why.change = _change(event, situation, recorded)
    return why


def _moved(decision: Decision, situation: Situation) -> list[str]:
    """Which digests will be held back, of those that an event waits for."""
    if isinstance(decision, Skip) or decision.match is None:
        return []
    return moved(situation, decision.match.severity, decision.batch)


def _change(event: Event, situation: Situation, stage: StageName) -> str:
    """What would change the recorded decision, if the configuration of now still decides so."""
    found = next((answer.decision for answer in explain(situation) if answer.stage is stage), None)
    if found is None or isinstance(found, Deliver):
        return ""
    return hint(found, event)


def _changed(event: Event, situation: Situation) -> list[str]:
    """That the configuration is not the one that the event used."""
    used, resolved = event.status.config_ref, situation.configuration
    if used is None:
        return []
    if not isinstance(resolved, Resolved):
        return [f"the event used {title(used)}, which does not serve it now: stages are worked out from what is there"]
    now = resolved.reference
    if (used.kind, used.namespace, used.name) != (now.kind, now.namespace, now.name):
        return [f"the event used {title(used)}; now {title(now)} counts, from which stages are worked out"]
    if used.generation is not None and now.generation is not None and used.generation != now.generation:
        generations = f"generation {used.generation} of {title(now)}; stages are worked out from {now.generation}"
        return [f"the event used {generations}"]
    return []


def _recorded(event: Event) -> Row:
    status = event.status
    assert status.decision is not None  # noqa: S101  (the caller has checked; tells mypy)
    words = "/".join(filter(None, (status.phase, status.reason)))
    matched = status.decision.matched or ""
    return Row(status.decision.stage.value, words, status.message or "", matched, recorded=True)


def _row(answer: Answer, situation: Situation) -> Row:
    stage = answer.stage
    if not answer.known:
        unseen = stage is StageName.TRIGGER and situation.event.spec.notice is not None
        words = "the operator's own state says whether a notice is due" if unseen else _NOT_FOUND
        return Row(stage.value, "not known", words, reached=answer.reached)
    if answer.decision is None:
        return Row(stage.value, PASSES, matched=_passed(stage, situation), reached=answer.reached)
    return Row(stage.value, _words(answer.decision), answer.decision.message, answer.decision.matched, answer.reached)


def _words(decision: Decision) -> str:
    if isinstance(decision, Deliver):
        return "delivers"
    phase = _PHASES[type(decision)]
    return f"{phase.value}/{decision.reason.value}" if decision.reason else phase.value


def _passed(stage: StageName, situation: Situation) -> str:
    """What a stage went by that passed the event on."""
    resolved = situation.configuration
    if not isinstance(resolved, Resolved):
        return ""
    if stage is StageName.CONFIGURED:
        return title(resolved.reference)
    layers, spec = resolved.layers, situation.event.spec
    if stage is StageName.OVERRIDE:
        return changes(layers, spec)
    if stage is StageName.TRIGGER and isinstance(
        match := match_trigger(layers, spec, find_override(layers, spec)), Match
    ):
        return f"{match.title} → {', '.join(match.destinations)}"
    return ""


def _print(why: Why) -> None:
    for name, value in (
        ("event", why.event),
        ("status", why.status),
        ("message", why.message),
        ("configuration", why.config),
        ("incident", why.incident.removeprefix("incident/")),
    ):
        if value:
            click.echo(f"{name + ':':15}{clean(value)}")
    for note in why.notes:
        click.echo(f"{'note:':15}{clean(note)}")
    click.echo()
    rows = []
    for row in why.stages:
        answer = f"{clean(row.answer)}{' (recorded)' if row.recorded else ''}"
        text = row.message or row.matched
        rows.append([row.stage, answer if row.reached else f"not reached ({answer})", clean(text)])
    show.table(["STAGE", "ANSWER", "WHY"], rows)
    if why.change:
        click.echo(f"\nWhat would change it: {clean(why.change)}")
