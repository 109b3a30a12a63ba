"""`pipebell replay`: send an event again, where it failed. Finished events are never reopened: it is a new one.

With `--failed`, all of late (`replay_failed`).
"""

from __future__ import annotations

import time
from typing import Any

import click

from pipebell.cli import completion, elsewhere, replay_failed, show, watching
from pipebell.cli.client import EVENTS, Client
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.core.errors import PipebellError
from pipebell.core.vocabulary import API_VERSION, FINAL_PHASES, Phase, Reason
from pipebell.sdk.record import draw_name


class NothingToReplay(PipebellError):  # noqa: N818  (it names the event's state)
    """The event needs no replay, or cannot have one yet."""


@click.command("replay")
@click.argument("event", required=False, metavar="[EVENT|ORG]", shell_complete=completion.events_or_organisations)
@click.option("--failed", is_flag=True, help="All that failed, of ORG or of everybody in the namespace.")
@click.option("--since", type=show.Period(), metavar="PERIOD", help="With --failed: in the last 30m, 2h, 1d …")
@click.option("--pipeline", metavar="ID", help="With --failed: only this pipeline's.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="With --failed: at most so many."
)
@click.option("-y", "--yes", is_flag=True, help="With --failed: do not ask.")
@click.option("--dry-run", is_flag=True, help="With --failed: say what would be sent, and send nothing.")
@click.option(
    "--to",
    "destinations",
    multiple=True,
    metavar="NAME",
    help="Only there. Repeatable.",
)
@click.option("--force", is_flag=True, help="Also where it was delivered, or held back by a cooldown.")
@click.option("--wait", is_flag=True, help="Wait until it is delivered; exit code 1 if it is not.")
@click.option("--timeout", type=float, default=60.0, show_default=True, metavar="SECONDS", help="For --wait.")
@output_option
@cluster_options
def command(
    event: str | None,
    destinations: tuple[str, ...],
    output: str,
    access: Access,
    *,
    failed: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Create a new event from EVENT (a PipelineEvent's name) for the destinations that failed.

    With --failed --since PERIOD, one for each event that failed in that time and was not sent again since.
    """
    if failed:
        _all(event, destinations, output, access, options)
        return
    if event is None:
        raise click.UsageError("name an EVENT, or say --failed --since PERIOD")
    if options["since"] or options["pipeline"] or options["yes"] or options["dry_run"]:
        raise click.UsageError("--since, --pipeline, --yes and --dry-run go with --failed")
    with Client(access) as client:
        old = elsewhere.event(client, event)
        chosen = choose(old, list(destinations), force=options["force"])
        new = client.create(EVENTS, again(old, chosen, time.time()))
        where = f" to {', '.join(chosen)}" if chosen else ""
        click.echo(
            f"pipelineevent/{new['metadata']['name']} created: {old['metadata']['name']} again{where}",
            err=output == "json",
        )
        if options["wait"]:
            finished = watching.watch(
                client, new, options["timeout"], lambda line: click.echo(line, err=output == "json")
            )
            watching.conclude(finished, output)


def _all(org: str | None, destinations: tuple[str, ...], output: str, access: Access, options: dict[str, Any]) -> None:
    if options["since"] is None:
        raise click.UsageError("--failed needs --since, such as --since 2h")
    if options["force"] or options["wait"]:
        raise click.UsageError("--force and --wait are for one event")
    choice = replay_failed.Choice(org, options["since"], options["pipeline"], destinations)
    with Client(access) as client:
        replay_failed.run(
            client,
            choice,
            again,
            limit=options["limit"],
            yes=options["yes"],
            dry_run=options["dry_run"],
            output=output,
        )


def choose(event: dict[str, Any], wanted: list[str], *, force: bool) -> list[str] | None:
    """The destinations to send to again; None for all that the configuration names. Raises NothingToReplay."""
    name, status = event["metadata"]["name"], event.get("status") or {}
    phase = status.get("phase")
    if phase not in FINAL_PHASES:
        raise NothingToReplay(f"{name} is not finished ({phase or Phase.PENDING.value}): it is still being sent")
    deliveries = {item["destination"]: item for item in status.get("deliveries") or ()}
    failed = [place for place, item in deliveries.items() if item.get("phase") != Phase.DELIVERED]
    if force:
        return wanted or None
    if phase == Phase.SUPPRESSED:
        if status.get("reason") == Reason.BATCHED:
            digests = "; ".join(
                f"{item['destination']} is told by {item['digest']}" for item in status.get("batch") or ()
            )
            raise NothingToReplay(f"{name} waits for a digest: {digests}; --force sends it all the same")
        by = status.get("suppressedBy")
        raise NothingToReplay(f"{name} was held back by a cooldown, {by} stands for it; --force sends it all the same")
    if done := [place for place in wanted if place in deliveries and place not in failed]:
        raise NothingToReplay(f"{name} was delivered by {', '.join(done)}; --force sends it again")
    if deliveries and not failed:
        raise NothingToReplay(f"{name} was delivered by {', '.join(deliveries)}; --force sends it again")
    return wanted or [place for place in failed if not replay_failed.taken_away(deliveries[place])] or None


def again(event: dict[str, Any], destinations: list[str] | None, now: float) -> dict[str, Any]:
    """The new event: what happened, when it happened, and what it replays."""
    spec = {key: value for key, value in event["spec"].items() if key != "replayOf"}
    spec.setdefault("occurredAt", event["metadata"].get("creationTimestamp") or _stamp(now))
    spec["replayOf"] = {"name": event["metadata"]["name"]} | ({"destinations": destinations} if destinations else {})
    name = draw_name(spec["orgSlug"], spec["event"])
    metadata = {"name": name, "namespace": event["metadata"]["namespace"]}
    return {"apiVersion": API_VERSION, "kind": "PipelineEvent", "metadata": metadata, "spec": spec}


def _stamp(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
