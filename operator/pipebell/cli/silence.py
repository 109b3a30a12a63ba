"""`pipebell silence` and `pipebell unsilence`: hold messages back for a time, and tell them again."""

from __future__ import annotations

import json
import re
import secrets
import time
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import click
from pydantic import ValidationError

from pipebell.cli import completion, known, show
from pipebell.cli.client import SILENCES, Client, bare
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.cli.respond import myself
from pipebell.cli.silences import describe, slim
from pipebell.core.crds import SILENCED_BY
from pipebell.core.errors import NotFound, Rejected
from pipebell.core.explain import explain
from pipebell.core.silences.resource import SilenceSpec
from pipebell.core.status import epoch, rfc3339
from pipebell.core.vocabulary import API_VERSION, CatchUpMode, EventType, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST: Final = 366 * 86_400.0  # seconds
_PATIENCE: Final = 5.0  # seconds in which an operator takes it in
_LOOK: Final = 0.2  # seconds between two looks


class _Moment(click.ParamType):  # type: ignore[type-arg]  # (click's older versions know no argument)
    """A time as in RFC 3339, in seconds since the epoch; without a zone it is local."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        if isinstance(value, float):
            return value
        try:
            return datetime.fromisoformat(str(value)).astimezone().timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is not a time such as 2026-01-31T08:00:00Z", param, ctx)


class _Label(click.ParamType):  # type: ignore[type-arg]  # (click's older versions know no argument)
    name = "label"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:  # noqa: ANN401
        if isinstance(value, tuple):
            return value
        key, mark, wanted = str(value).partition("=")
        if not key or not mark:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, wanted


@click.command("silence")
@click.argument("org", required=False, shell_complete=completion.organisations)
@click.option("--all-orgs", is_flag=True, help="Instead of ORG: of every organisation.")
@click.option(
    "--pipelines", multiple=True, metavar="GLOB", help="Only these, with * and ?; a,b for several. Repeatable."
)
@click.option(
    "--event",
    "events",
    type=click.Choice([event.value for event in EventType]),
    multiple=True,
    help="Only these types. Repeatable.",
)
@click.option("--label", "labels", type=_Label(), multiple=True, metavar="KEY=GLOB", help="Only with this. Repeatable.")
@click.option(
    "--max-severity",
    type=click.Choice([severity.value for severity in Severity]),
    help="More severe ones are told all the same.",
)
@click.option("--for", "seconds", type=show.Period(), metavar="PERIOD", help="30m, 2h, 1d …")
@click.option("--until", type=_Moment(), metavar="TIME", help="Instead of --for, such as 2026-01-31T08:00:00Z.")
@click.option("--from", "starts", type=_Moment(), metavar="TIME", help="When it begins [default: now].")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it stands on the events that are held back.")
@click.option("--ticket", metavar="TEXT", help="Where more of it is written.")
@click.option(
    "--catch-up",
    type=click.Choice([mode.value for mode in CatchUpMode]),
    help="What is told afterwards [default: StillFailing].",
)
@click.option("--name", metavar="NAME", help="Of the silence [default: a new one].")
@output_option
@cluster_options
def silence(
    org: str | None,
    access: Access,
    name: str | None,
    output: str,
    *,
    all_orgs: bool,
    **given: Any,  # noqa: ANN401
) -> None:
    """Tell nobody of ORG's events for a while; afterwards, one message lists what was held back.

    It concerns the events of its namespace; in the operator's own namespace, those of all. What is being sent already
    goes out, and so do tests and replays. `pipebell unsilence` ends it early.
    """
    if (org is None) is not all_orgs:
        raise click.UsageError("name the organisation, or say --all-orgs (and not both)")
    now = time.time()
    spec = _spec(org, given, now)
    with Client(access) as client:
        if org is not None and (note := known.stranger(client, org)):
            click.echo(note, err=True)
        metadata = {"name": name or _draw(org), "annotations": {SILENCED_BY: myself(client)}}
        document = {"apiVersion": API_VERSION, "kind": "Silence", "metadata": metadata, "spec": spec}
        made = _seen(client, client.create(SILENCES, document))
    if output == "json":
        click.echo(json.dumps(slim(made), indent=2))
    else:
        click.echo(f"silence/{made['metadata']['name']} created in namespace {client.namespace}: {describe(made)}")
    if not (made.get("status") or {}).get("phase"):
        click.echo("No operator has taken it in yet: see `pipebell status`.", err=True)


def _spec(org: str | None, given: dict[str, Any], now: float) -> dict[str, Any]:
    """What the silence says. Raises UsageError for what cannot be meant."""
    seconds, until, starts = given["seconds"], given["until"], given["starts"]
    if (seconds is None) is (until is None):
        raise click.UsageError("say when it ends: --for PERIOD or --until TIME (and not both)")
    begins = now if starts is None else starts
    ends = until if until is not None else begins + seconds
    if ends <= max(begins, now):
        raise click.UsageError(f"it would end at {rfc3339(ends)}, before it begins or in the past")
    if ends - now > _LONGEST:
        raise click.UsageError(f"it would end at {rfc3339(ends)}: a silence of more than a year is forgotten")
    spec = {
        "orgSlug": org,
        "pipelines": [part for text in given["pipelines"] for part in text.split(",") if part],
        "events": list(dict.fromkeys(given["events"])),
        "labels": dict(given["labels"]),
        "maxSeverity": given["max_severity"],
        "startsAt": None if starts is None else _time(starts),
        "endsAt": _time(ends),
        "reason": given["reason"],
        "ticket": given["ticket"],
        "catchUp": given["catch_up"],
    }
    spec = {key: value for key, value in spec.items() if value}
    try:
        SilenceSpec.model_validate({"reason": "", **spec})
    except ValidationError as error:
        raise click.UsageError(str(explain(error, SilenceSpec))) from None
    return spec


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(round(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _draw(org: str | None) -> str:
    """A name that tells whose it is."""
    word = re.sub("[^a-z0-9]+", "-", (org or "all").lower()).strip("-")[:40].strip("-") or "org"
    return f"{word}-{secrets.token_hex(3)}"


def _seen(client: Client, made: dict[str, Any]) -> dict[str, Any]:
    """The silence as the operator has taken it in; as it is after a while without one."""
    end = time.monotonic() + _PATIENCE
    while not (made.get("status") or {}).get("phase") and time.monotonic() < end:
        time.sleep(_LOOK)
        try:
            made = client.get(SILENCES, made["metadata"]["name"])
        except Rejected:  # who may make one need not be one who may look
            return made
    return made


@click.command("unsilence")
@click.argument("names", metavar="SILENCE...", nargs=-1, required=True, shell_complete=completion.silences)
@cluster_options
def unsilence(names: Sequence[str], access: Access) -> None:
    """End each SILENCE now: what it held back is told at once, as its catchUp says."""
    with Client(access) as client:
        for given in names:
            name = bare(given, SILENCES)
            found = _find(client, name)
            client.delete(SILENCES, name)
            click.echo(f"silence/{name} ended{_afterwards(found)}")


def _find(client: Client, name: str) -> dict[str, Any]:
    try:
        return client.get(SILENCES, name)
    except NotFound as error:
        names = [str(item["metadata"]["name"]) for item in client.list(SILENCES)]
        near = get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; `pipebell silences` lists those that there are"
        raise NotFound(f"{error}{hint}") from None


def _afterwards(silence: dict[str, Any]) -> str:
    """What follows from its end."""
    spec, matched = silence["spec"], (silence.get("status") or {}).get("matched") or 0
    if epoch(spec["endsAt"]) <= time.time():
        return " (it was over already)"
    if not matched:
        return ": events are told again"
    plural = "" if matched == 1 else "s"
    summary = "nobody is told of" if spec.get("catchUp") == CatchUpMode.NONE else "one message tells of"
    return f": events are told again, and {summary} the {matched} event{plural} that it held back"
