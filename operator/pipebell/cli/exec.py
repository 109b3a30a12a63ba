"""`pipebell exec`: any command as a pipeline that tells when it fails, hangs or is killed."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import uuid
from typing import TYPE_CHECKING, Any, Final

from pipebell.cli import arguments
from pipebell.cli.child import Ending, supervise
from pipebell.cli.terminal import say
from pipebell.core.vocabulary import EventType, Severity
from pipebell.sdk import mask, sanitise
from pipebell.sdk.factory import get_notification_service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.sdk.service import NotificationService

_MAX_TAIL: Final = 8_000  # characters
_NOTIFY: Final = 5.0  # seconds; the command has ended, so waiting holds up nothing but the exit
_DESCRIPTION: Final = """Run CMD; when it fails, is killed or takes longer than --timeout, tell the organisation.

The exit code is CMD's own (128 + n when signal n killed it, 124 after --timeout). Its output passes through; the end of
it becomes part of the message, with secrets masked. Signals are passed on to it. That the message cannot be sent
changes nothing: it is kept in the spool."""


def parser() -> arguments.Parser:
    """What `pipebell exec` understands before the command."""
    parser = arguments.Parser("exec", _DESCRIPTION, "--org SLUG --pipeline ID [OPTIONS] -- CMD [ARG]...")
    add = parser.add_argument
    add("--org", required=True, metavar="SLUG", help="the organisation that the pipeline belongs to")
    add("--pipeline", required=True, metavar="ID", help="which pipeline this is")
    add("--run", dest="run_id", metavar="ID",
        help="which run of it [default: PIPEBELL_RUN_ID, the pod's name, or drawn]")  # fmt: skip
    add("--timeout", type=arguments.positive, metavar="SECONDS", help="end it after so long")
    add("--grace", type=arguments.not_negative, default=10.0, metavar="SECONDS",
        help="between SIGTERM and SIGKILL [default: 10]")  # fmt: skip
    add("--on-start", action="store_true", help="tell pipeline_started, too")
    add("--on-success", action="store_true", help="tell pipeline_success, too")
    add("--quality-exit", action="append", type=int, default=[], metavar="CODE",
        help="this exit code means data_quality_failure; repeatable")  # fmt: skip
    add("--severity", type=arguments.severity, metavar="LEVEL", help=f"of a failure: {', '.join(Severity)}")
    add("--link", dest="links", action="append", type=arguments.link, default=[], metavar="TITLE=URL",
        help="where to read more; repeatable")  # fmt: skip
    add("--mask", dest="masks", action="append", type=_pattern, default=[], metavar="REGEX",
        help="hide what matches in what is told; repeatable")  # fmt: skip
    add("--notify-timeout", type=arguments.not_negative, default=_NOTIFY, metavar="SECONDS",
        help="what telling may take [default: 5]")  # fmt: skip
    arguments.add_access(parser)
    return parser


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not a regular expression: {error}") from None


def main(argv: Sequence[str]) -> int:
    """Run a command; tell the organisation how it ended; the command's own exit code."""
    known = parser()
    options = known.parse(argv, command=True)
    if not options.command_line:
        known.error("give the command after --")
    service = get_notification_service(
        namespace=options.namespace,
        kubeconfig=options.kubeconfig,
        context=options.context,
        timeout=options.notify_timeout,
    )
    teller = _Teller(service, options)
    if options.on_start:
        teller.tell(EventType.PIPELINE_STARTED, None, {})
    ending = supervise(options.command_line, timeout=options.timeout, grace=options.grace)
    if ending.not_started:
        say(f"pipebell: {ending.not_started}", err=True)
    if ending.code != 0:
        event = EventType.DATA_QUALITY_FAILURE if ending.code in options.quality_exit else EventType.PIPELINE_FAILURE
        teller.tell(event, _message(ending, options.timeout), _details(ending))
    elif options.on_success:
        teller.tell(EventType.PIPELINE_SUCCESS, None, _details(ending))
    return ending.code


class _Teller:
    def __init__(self, service: NotificationService, options: argparse.Namespace) -> None:
        self._service, self._options = service, options
        self._values = mask.values_in(os.environ)
        self._command = self._masked(shlex.join(options.command_line))
        self._run = options.run_id or os.environ.get("PIPEBELL_RUN_ID") or _pod() or uuid.uuid4().hex

    def tell(self, event: EventType, message: str | None, details: dict[str, Any]) -> None:
        """Tell it, masked. What goes wrong is logged by the service and changes nothing."""
        good = event in (EventType.PIPELINE_STARTED, EventType.PIPELINE_SUCCESS)
        receipt = self._service.notify_blocking(
            event,
            self._options.org,
            self._options.pipeline,
            self._run,
            None if message is None else self._masked(message),
            {"command": self._command}
            | {key: self._masked(value) if isinstance(value, str) else value for key, value in details.items()},
            links=self._options.links,
            severity=None if good else self._options.severity,
        )
        if not receipt:
            say(f"pipebell: {event} could not be told: {receipt.reason}", err=True)

    def _masked(self, text: str) -> str:
        return mask.mask(text, self._values, self._options.masks)


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
