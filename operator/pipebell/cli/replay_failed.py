"""`pipebell replay --failed`: everything that could not be delivered of late, again, once whatever was broken works."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli.client import EVENTS, Client
from pipebell.cli.terminal import clean
from pipebell.core.errors import Conflict, PipebellError
from pipebell.core.vocabulary import Phase, Reason
from pipebell.sdk.record import derive_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_FAILED: Final = (Phase.FAILED, Phase.PARTIALLY_DELIVERED)
_SHOWN: Final = 10  # events that the question names


class Stopped(PipebellError):  # noqa: N818  (it names what became of it)
    """Not all was sent again."""


@dataclass(frozen=True)
class Choice:
    """Which events: of whom, how far back (seconds), of which pipeline, to which destinations (all where it failed)."""

    org: str | None
    since: float
    pipeline: str | None = None
    destinations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """An event, and where it is to go again; None means wherever the configuration says now."""

    event: dict[str, Any]
    destinations: list[str] | None

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.event["metadata"]["name"])


def candidates(events: Iterable[dict[str, Any]], choice: Choice, now: float) -> list[Candidate]:
    """Events that failed and were not sent again since, the oldest first.

    Left out are tests, what the operator made itself, and what is too large ever to be sent.
    """
    failed, replayed = [], dict[str, list[list[str] | None]]()
    for event in events:
        spec = event["spec"]
        if replay := spec.get("replayOf"):
            replayed.setdefault(replay["name"], []).append(replay.get("destinations"))
        if _concerns(event, choice, now):
            failed.append(event)
    found = []
    for event in sorted(failed, key=_ended):
        destinations = _left(event, replayed.get(event["metadata"]["name"], []), choice.destinations)
        if destinations != []:
            found.append(Candidate(event, destinations))
    return found


def _concerns(event: dict[str, Any], choice: Choice, now: float) -> bool:
    spec, status = event["spec"], event.get("status") or {}
    if status.get("phase") not in _FAILED or status.get("reason") == Reason.TOO_LARGE:
        return False
    if spec.get("test") or spec.get("notice"):
        return False
    if choice.pipeline and spec.get("pipelineId") != choice.pipeline:
        return False
    return now - datetime.fromisoformat(_ended(event)).timestamp() <= choice.since


def _ended(event: dict[str, Any]) -> str:
    return str((event.get("status") or {}).get("completionTime") or event["metadata"]["creationTimestamp"])


def taken_away(delivery: Mapping[str, Any]) -> bool:
    """Whether the configuration stopped naming its destination: a replay there would wait until it does again."""
    return delivery.get("reason") == Reason.CONFIG_CHANGED


def _left(event: dict[str, Any], replays: list[list[str] | None], wanted: tuple[str, ...]) -> list[str] | None:
    """Destinations that failed and that no replay went to; None where nothing says which. Empty: nothing is left."""
    if None in replays:
        return []
    done = {name for names in replays for name in names or ()}
    deliveries = (event.get("status") or {}).get("deliveries") or ()
    failed = [item["destination"] for item in deliveries if item.get("phase") != Phase.DELIVERED]
    gone = {item["destination"] for item in deliveries if taken_away(item)} - {*wanted}
    if gone.issuperset(item["destination"] for item in deliveries):
        return [] if replays else list(wanted) or None
    failed = [name for name in failed if name not in gone]
    return [name for name in failed if name not in done and (not wanted or name in wanted)]


def run(
    client: Client,
    choice: Choice,
    again: Callable[[dict[str, Any], list[str] | None, float], dict[str, Any]],
    *,
    limit: int,
    yes: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Send them again once somebody has agreed. Raises Stopped when that ended early."""
    fields = {"spec.orgSlug": choice.org} if choice.org else None
    found = candidates(client.list(EVENTS, fields=fields), choice, time.time())
    chosen, err = found[:limit], output == "json"
    whose = f"of {choice.org or 'anybody'} in namespace {client.namespace}"
    done: list[dict[str, Any]] = []
    if not chosen:
        click.echo(f"Nothing {whose} failed in that time without being sent again since.", err=True)
    elif dry_run:
        done = [{"replayOf": candidate.name, "destinations": candidate.destinations} for candidate in chosen]
        for candidate in chosen:
            click.echo(f"{candidate.name} would go again{_where(candidate)}", err=err)
    elif yes or _agreed(chosen, whose):
        done = _send(client, chosen, again, err=err)
        click.echo(f"{len(done)} sent again.", err=err)
    if output == "json":
        click.echo(json.dumps(done, indent=2))
    if len(found) > limit:
        click.echo(f"{len(found) - limit} more failed: the same command again takes them (--limit {limit}).", err=True)


def _agreed(chosen: list[Candidate], whose: str) -> bool:
    """Ask; whoever cannot be asked has to say so beforehand."""
    count = f"{len(chosen)} event{'s' if len(chosen) > 1 else ''}"
    if not sys.stdin.isatty():
        raise click.UsageError(f"{count} {whose} would be sent again: --yes agrees, --dry-run lists them")
    for candidate in chosen[:_SHOWN]:
        spec = candidate.event["spec"]
        click.echo(f"  {candidate.name} {clean(spec.get('pipelineId') or '')}{_where(candidate)}", err=True)
    if len(chosen) > _SHOWN:
        kinds = Counter(str(candidate.event["spec"]["orgSlug"]) for candidate in chosen)
        click.echo(f"  … {', '.join(f'{number} of {org}' for org, number in kinds.most_common(5))}", err=True)
    return click.confirm(f"Send {count} {whose} again?", err=True)


def _where(candidate: Candidate) -> str:
    return f" to {', '.join(map(clean, candidate.destinations))}" if candidate.destinations else ""


def _send(
    client: Client,
    chosen: list[Candidate],
    again: Callable[[dict[str, Any], list[str] | None, float], dict[str, Any]],
    *,
    err: bool,
) -> list[dict[str, Any]]:
    """The new events by what they repeat. Raises Stopped with how far it came."""
    made = []
    for position, candidate in enumerate(chosen):
        manifest = again(candidate.event, candidate.destinations, time.time())
        manifest["metadata"]["name"] = name = _name(candidate)
        try:
            client.create(EVENTS, manifest)
        except Conflict:  # somebody else does the same at this moment
            click.echo(f"{candidate.name} is sent again already, as {name}", err=True)
            continue
        except PipebellError as error:
            done = f"{position} of {len(chosen)} were sent again" if position else "nothing was sent again"
            raise Stopped(f"{done}; {candidate.name}: {error}. The same command goes on with the rest") from None
        made.append({"event": name, "replayOf": candidate.name})
        click.echo(f"pipelineevent/{name} created: {candidate.name} again{_where(candidate)}", err=err)
    return made


def _name(candidate: Candidate) -> str:
    """The same for everybody who repeats this very event to the same destinations."""
    spec = candidate.event["spec"]
    key = json.dumps([candidate.event["metadata"]["uid"], sorted(candidate.destinations or [])])
    return derive_name(spec["orgSlug"], spec["event"], "replay", key)
