"""`pipebell exec`: any command as a pipeline that tells when it fails, hangs or is killed."""

from __future__ import annotations

import os
import re
import shlex
import uuid
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli.child import Ending, supervise
from pipebell.cli.event_options import Links, parse_severity
from pipebell.cli.options import Access, cluster_options
from pipebell.core.vocabulary import EventType, Severity
from pipebell.sdk import mask, sanitise
from pipebell.sdk.factory import get_notification_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.sdk.service import NotificationService

_MAX_TAIL: Final = 8_000  # characters
_NOTIFY: Final = 5.0  # seconds; the command has ended, so waiting holds up nothing but the exit


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("--org", required=True, metavar="SLUG", help="The organisation that the pipeline belongs to.")
@click.option("--pipeline", required=True, metavar="ID", help="Which pipeline this is.")
@click.option(
    "--run", "run_id", metavar="ID", help="Which run of it [default: PIPEBELL_RUN_ID, the pod's name, or drawn]."
)
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="End it after so long.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Between SIGTERM and SIGKILL.",
)
@click.option("--on-start", is_flag=True, help="Tell pipeline_started, too.")
@click.option("--on-success", is_flag=True, help="Tell pipeline_success, too.")
@click.option(
    "--quality-exit",
    type=int,
    multiple=True,
    metavar="CODE",
    help="This exit code means data_quality_failure. Repeatable.",
)
@click.option("--severity", callback=parse_severity, metavar="LEVEL", help=f"Of a failure: {', '.join(Severity)}.")
@click.option(
    "--link", "links", type=Links(), multiple=True, metavar="TITLE=URL", help="Where to read more. Repeatable."
)
@click.option("--mask", "masks", multiple=True, metavar="REGEX", help="Hide what matches in what is told. Repeatable.")
@click.option(
    "--notify-timeout",
    type=click.FloatRange(min=0),
    default=_NOTIFY,
    show_default=True,
    metavar="SECONDS",
    help="What telling may take.",
)
@cluster_options
@click.argument("command_line", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD [ARG]...")
@click.pass_context
def command(ctx: click.Context, /, access: Access, command_line: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401
    """Run CMD; when it fails, is killed or takes longer than --timeout, tell the organisation.

    The exit code is CMD's own (128 + n when signal n killed it, 124 after --timeout). Its output passes through; the
    end of its standard error becomes part of the message, with secrets masked. Signals are passed on to it. That the
    message cannot be sent changes nothing: it is kept in the spool.
    """
    try:
        patterns = [re.compile(pattern) for pattern in options["masks"]]
    except re.error as error:
        raise click.BadParameter(f"not a regular expression: {error}", param_hint="--mask") from None
    service = get_notification_service(
        namespace=access.namespace,
        kubeconfig=access.kubeconfig,
        context=access.context,
        timeout=options["notify_timeout"],
    )
    teller = _Teller(service, options, patterns, command_line)
    if options["on_start"]:
        teller.tell(EventType.PIPELINE_STARTED, None, {})
    ending = supervise(command_line, timeout=options["timeout"], grace=options["grace"])
    if ending.not_started:
        click.echo(f"pipebell: {ending.not_started}", err=True)
    if ending.code != 0:
        event = EventType.DATA_QUALITY_FAILURE if ending.code in options["quality_exit"] else EventType.PIPELINE_FAILURE
        teller.tell(event, _message(ending, options["timeout"]), _details(ending))
    elif options["on_success"]:
        teller.tell(EventType.PIPELINE_SUCCESS, None, _details(ending))
    ctx.exit(ending.code)


class _Teller:
    def __init__(
        self,
        service: NotificationService,
        options: Mapping[str, Any],
        patterns: list[re.Pattern[str]],
        line: tuple[str, ...],
    ) -> None:
        self._service, self._options, self._patterns = service, options, patterns
        self._values = mask.values_in(os.environ)
        self._command = self._masked(shlex.join(line))
        self._run = options["run_id"] or os.environ.get("PIPEBELL_RUN_ID") or _pod() or uuid.uuid4().hex

    def tell(self, event: EventType, message: str | None, details: dict[str, Any]) -> None:
        """Tell it, masked. What goes wrong is logged by the service and changes nothing."""
        good = event in (EventType.PIPELINE_STARTED, EventType.PIPELINE_SUCCESS)
        receipt = self._service.notify_blocking(
            event,
            self._options["org"],
            self._options["pipeline"],
            self._run,
            None if message is None else self._masked(message),
            {"command": self._command}
            | {key: self._masked(value) if isinstance(value, str) else value for key, value in details.items()},
            links=self._options["links"],
            severity=None if good else self._options["severity"],
        )
        if not receipt:
            click.echo(f"pipebell: {event} could not be told: {receipt.reason}", err=True)

    def _masked(self, text: str) -> str:
        return mask.mask(text, self._values, self._patterns)


def _pod() -> str | None:
    return os.environ.get("HOSTNAME") if os.environ.get("KUBERNETES_SERVICE_HOST") else None


def _message(ending: Ending, timeout: float | None) -> str:
    if ending.not_started:
        return ending.not_started
    if ending.timed_out:
        return f"timed out after {timeout:g} s"
    what = f"killed by {ending.signal}" if ending.signal else f"exit code {ending.code}"
    last = next((line.strip() for line in reversed(ending.tail.splitlines()) if line.strip()), "")
    return f"{what}: {sanitise.shorten(last, 500)}" if last else what


def _details(ending: Ending) -> dict[str, Any]:
    reason = "timeout" if ending.timed_out else "signal" if ending.signal else "exit" if ending.code else None
    found = {
        "reason": "not_started" if ending.not_started else reason,
        "exit_code": ending.code,
        "signal": ending.signal,
        "duration_seconds": round(ending.seconds, 3),
        "stderr": sanitise.shorten(ending.tail, _MAX_TAIL) if ending.code else None,
    }
    return {key: value for key, value in found.items() if value not in (None, "")}
