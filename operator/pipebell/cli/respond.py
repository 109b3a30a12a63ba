"""`pipebell ack`, `resolve` and `snooze`: what people say of an incident, by the name that the cluster has for them.

Each is one write, fenced by the version that was read: when something else changed the incident meanwhile, it is read
and judged again, so that nobody's word is overwritten unseen.
"""

from __future__ import annotations

import getpass
import json
import time
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli import completion, show
from pipebell.cli.client import INCIDENTS, Client, bare
from pipebell.cli.incidents import phase_of, slim
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.cli.terminal import clean
from pipebell.core.errors import Conflict, NotFound, PipebellError
from pipebell.core.incidents.resource import MAX_NOTE, IncidentPhase

if TYPE_CHECKING:
    from collections.abc import Callable

_TRIES: Final = 8  # of a write that something else overtakes: counts are written to an incident every ten seconds
_LONGEST_BY: Final = 256  # characters
_LONGEST_SNOOZE: Final = 31 * 86_400.0  # seconds
_QUIET: Final = "no reminder and no escalation"


class NothingToSay(PipebellError):  # noqa: N818  (it names the incident's state)
    """The incident is in a state in which this changes nothing, or somebody else was first."""


@dataclass(frozen=True)
class Word:
    """What somebody says: who, with which note, and whether another's word may be replaced."""

    by: str
    note: str | None = None
    take_over: bool = False

    def document(self) -> dict[str, Any]:
        """As the spec has it; null takes away the note of an earlier one."""
        return {"by": self.by, "note": self.note}


class _Note(click.ParamType):  # type: ignore[type-arg]  # (click's older versions know no argument)
    name = "note"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401
        if len(value) > MAX_NOTE:
            self.fail(f"it has {len(value)} characters; at most {MAX_NOTE} are kept", param, ctx)
        return str(value)


_argument = click.argument("incident", shell_complete=completion.incidents)
_note = click.option("--note", type=_Note(), metavar="TEXT", help="What is known, or being done.")
_take_over = click.option("--take-over", is_flag=True, help="Also when somebody else has acknowledged it.")


@click.command("ack")
@_argument
@_note
@_take_over
@click.option("--undo", is_flag=True, help="Take the acknowledgement back: reminders and escalation go on.")
@output_option
@cluster_options
def ack(incident: str, access: Access, note: str | None, take_over: bool, undo: bool, output: str) -> None:
    """Say that you work on INCIDENT (its name, or its pipeline's while that has one alone).

    No reminder and no escalation follow until it is resolved, or gets worse.
    """
    if undo and (note is not None or take_over):
        raise click.UsageError("--undo takes no --note and no --take-over")
    with Client(access) as client:
        word = Word(myself(client), note, take_over)
        if undo:
            _say(client, incident, _undone, "no longer acknowledged: reminders and escalation go on", output)
        else:
            said = f"acknowledged by {word.by}: {_QUIET} until it is resolved or gets worse"
            _say(client, incident, lambda found: _acknowledged(found, word, None), said, output)


@click.command("snooze")
@_argument
@click.option("--for", "seconds", type=show.Period(), required=True, metavar="PERIOD", help="30m, 2h, 1d …")
@_note
@_take_over
@output_option
@cluster_options
def snooze(incident: str, access: Access, seconds: float, note: str | None, take_over: bool, output: str) -> None:
    """Acknowledge INCIDENT for a while: if it is open then, reminders and escalation go on."""
    if not 0 < seconds <= _LONGEST_SNOOZE:
        raise click.BadParameter(f"from 1s to {_LONGEST_SNOOZE / 86_400:.0f}d", param_hint="'--for'")
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    with Client(access) as client:
        word = Word(myself(client), note, take_over)
        said = f"snoozed by {word.by}: {_QUIET} until {until}, unless it gets worse"
        _say(client, incident, lambda found: _acknowledged(found, word, until), said, output)


@click.command("resolve")
@_argument
@_note
@output_option
@cluster_options
def resolve(incident: str, access: Access, note: str | None, output: str) -> None:
    """Say that INCIDENT is over. Nobody is told; alerts on call are closed. It cannot be taken back.

    The next failure opens a new one.
    """
    with Client(access) as client:
        word = Word(myself(client), note)
        said = f"resolved by {word.by}: the next failure opens a new incident"
        _say(client, incident, lambda found: _resolved(found, word), said, output)


def myself(client: Client) -> str:
    """Whom the cluster takes us for; this machine's name for us where it does not say."""
    name = " ".join(client.user().split())
    if not name:
        try:
            name = " ".join(getpass.getuser().split()) or "unknown"
        except (OSError, KeyError, ImportError):
            name = "unknown"
        click.echo(
            f"The cluster does not say who you are: {clean(name)}, as this machine has it, is written.", err=True
        )
    return name[:_LONGEST_BY]


# ------------------------------------------------------------------ what a word changes, purely


def _acknowledged(incident: dict[str, Any], word: Word, until: str | None) -> list[dict[str, Any]]:
    """Changes of the spec, one after the other; none where it says so already. Raises NothingToSay."""
    _check_open(incident, "acknowledge")
    before = incident["spec"].get("acknowledgement") or {}
    now = before.get("by")
    standing = phase_of(incident) == IncidentPhase.ACKNOWLEDGED
    if now and now != word.by and not word.take_over and (standing or not _seen(incident)):
        said = f": {before['note']}" if before.get("note") else ""
        raise NothingToSay(
            f"{_name(incident)} was acknowledged by {now}{_when(incident)}{said}; --take-over puts your name there"
        )
    change = {"acknowledgement": word.document(), "snoozedUntil": until}
    if _same(incident["spec"], change) and _seen(incident):
        if standing:
            return []
        # The acknowledgement was outlived (it got worse, or the snooze ended), and the same words again change nothing
        # that anybody could see.
        return [{"acknowledgement": None, "snoozedUntil": None}, change]
    return [change]


def _undone(incident: dict[str, Any]) -> list[dict[str, Any]]:
    _check_open(incident, "take back")
    spec = incident["spec"]
    if not spec.get("acknowledgement") and not spec.get("snoozedUntil"):
        raise NothingToSay(f"{_name(incident)} is not acknowledged: nothing to take back")
    return [{"acknowledgement": None, "snoozedUntil": None}]


def _resolved(incident: dict[str, Any], word: Word) -> list[dict[str, Any]]:
    _check_open(incident, "resolve")
    return [{"resolution": word.document()}]


def _check_open(incident: dict[str, Any], what: str) -> None:
    """Raise NothingToSay of an incident that is over."""
    resolution, status = incident["spec"].get("resolution"), incident.get("status") or {}
    if phase_of(incident) != IncidentPhase.RESOLVED and not resolution:
        return
    by = status.get("resolvedBy") or (resolution or {}).get("by")
    since = f" {show.age(status['resolvedTime'])} ago" if status.get("resolvedTime") else ""
    raise NothingToSay(
        f"{_name(incident)} was resolved{f' by {by}' if by else ''}{since}: nothing to {what}; the next failure opens "
        "a new incident"
    )


def _same(spec: dict[str, Any], change: dict[str, Any]) -> bool:
    now = spec.get("acknowledgement") or {}
    then = change["acknowledgement"]
    return (now.get("by"), now.get("note"), spec.get("snoozedUntil")) == (
        *(then["by"], then["note"]),
        change["snoozedUntil"],
    )


def _seen(incident: dict[str, Any]) -> bool:
    """Whether the operator has seen the spec as it is."""
    observed = (incident.get("status") or {}).get("observedGeneration")
    return observed is not None and observed >= incident["metadata"].get("generation", 0)


def _when(incident: dict[str, Any]) -> str:
    then = (incident.get("status") or {}).get("acknowledgedTime")
    return f" {show.age(then)} ago" if then else ""


def _name(incident: dict[str, Any]) -> str:
    return f"incident/{incident['metadata']['name']}"


# ------------------------------------------------------------------ saying it


def _say(
    client: Client,
    incident: str,
    judge: Callable[[dict[str, Any]], list[dict[str, Any]]],
    said: str,
    output: str,
) -> None:
    """Change the incident as `judge` says of what is there now."""
    found = find(client, incident)
    name = found["metadata"]["name"]
    for _ in range(_TRIES):
        try:
            for change in judge(found):
                found = client.patch(INCIDENTS, name, found["metadata"]["resourceVersion"], change)
        except Conflict:
            found = client.get(INCIDENTS, name)
        except NotFound:
            raise NotFound(f"incident/{name} was deleted meanwhile: nothing is left to say of it") from None
        else:
            click.echo(json.dumps(slim(found), indent=2) if output == "json" else f"{_name(found)} {said}")
            return
    raise Conflict(f"incident/{name} changed {_TRIES} times while this was to be written: try again")


def find(client: Client, word: str) -> dict[str, Any]:
    """The incident of this name, else the one that a pipeline of this name has. Raises NotFound, NothingToSay."""
    name = bare(word, INCIDENTS)
    try:
        return client.get(INCIDENTS, name)
    except NotFound as error:
        absent = error
    others = list(client.list(INCIDENTS, unlike={"status.phase": IncidentPhase.RESOLVED.value}))
    of_pipeline = [item for item in others if item["spec"].get("pipelineId") == name]
    if len(of_pipeline) == 1:
        return of_pipeline[0]
    if of_pipeline:
        names = ", ".join(sorted(map(_told_apart, of_pipeline)))
        raise NothingToSay(f"pipeline {name} has {len(of_pipeline)} unresolved incidents: name one of {names}")
    known = {
        str(value) for item in others for value in (item["metadata"]["name"], item["spec"].get("pipelineId")) if value
    }
    near = get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "; `pipebell incidents` lists what is open"
    raise NotFound(f"{absent}{hint}")


def _told_apart(incident: dict[str, Any]) -> str:
    """Its name, and what makes it another one than its pipeline's others."""
    return f"{incident['metadata']['name']} ({incident['spec'].get('class')}, {phase_of(incident)})"
