"""`pipebell replay`: send an event again, where it failed. Finished events are never reopened: it is a new one."""

from __future__ import annotations

import time
from typing import Any

import click

from pipebell.cli import completion, watching
from pipebell.cli.client import EVENTS, Client
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.core.errors import PipebellError
from pipebell.core.vocabulary import API_VERSION, FINAL_PHASES, Phase
from pipebell.sdk.record import draw_name


class NothingToReplay(PipebellError):  # noqa: N818  (it names the event's state)
    """The event needs no replay, or cannot have one yet."""


@click.command("replay")
@click.argument("event", shell_complete=completion.events)
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
    event: str, destinations: tuple[str, ...], force: bool, wait: bool, timeout: float, output: str, access: Access
) -> None:
    """Create a new event from EVENT (a PipelineEvent's name) for the destinations that failed."""
    with Client(access) as client:
        old = client.get(EVENTS, event.removeprefix("pipelineevent/").removeprefix("pe/"))
        chosen = choose(old, list(destinations), force=force)
        new = client.create(EVENTS, again(old, chosen, time.time()))
        where = f" to {', '.join(chosen)}" if chosen else ""
        click.echo(f"pipelineevent/{new['metadata']['name']} created: {event} again{where}", err=output == "json")
        if wait:
            finished = watching.watch(client, new, timeout, lambda line: click.echo(line, err=output == "json"))
            watching.conclude(finished, output)


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
        by = status.get("suppressedBy")
        raise NothingToReplay(f"{name} was held back by a cooldown, {by} stands for it; --force sends it all the same")
    if done := [place for place in wanted if place in deliveries and place not in failed]:
        raise NothingToReplay(f"{name} was delivered by {', '.join(done)}; --force sends it again")
    if deliveries and not failed:
        raise NothingToReplay(f"{name} was delivered by {', '.join(deliveries)}; --force sends it again")
    return wanted or failed or None


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
