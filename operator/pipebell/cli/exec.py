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
    from collections.abc import Mapping, Sequence

    from pipebell.cli.tail import Line
    from pipebell.sdk.service import NotificationService

_MAX_TAIL: Final = 8_000  # characters
_MAX_COMMAND: Final = 4_000
_NOTIFY: Final = 5.0  # seconds; the command has ended, so waiting holds up nothing but the exit
_DESCRIPTION: Final = """Run CMD; when it fails, is killed or takes longer than --timeout, tell the organisation.

The exit code is CMD's own (128 + n when signal n killed it, 124 after --timeout). Its output passes through; the end of
it becomes part of the message, with secrets masked. Signals are passed on to it. That the message cannot be sent
changes nothing: it is kept in the spool."""


def parser() -> arguments.Parser:
    """What `pipebell exec` understands before the command."""
    parser = arguments.Parser("exec", _DESCRIPTION, "--org SLUG --pipeline ID [OPTIONS] -- CMD [ARG]...")
    add = parser.add_argument
    add("--org", default=os.environ.get("PIPEBELL_ORG"), metavar="SLUG",
        help="the organisation that the pipeline belongs to [default: PIPEBELL_ORG]")  # fmt: skip
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
    arguments.add_circumstances(parser)
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
    if not options.org:
        known.error("give --org, or set PIPEBELL_ORG")
    if not options.command_line:
        known.error("give the command after --")
    service = get_notification_service(
        namespace=options.namespace,
        kubeconfig=options.kubeconfig,
        context=options.context,
        timeout=options.notify_timeout,
    )
    masking = _Masking(os.environ, options.masks)
    teller = _Teller(service, options, masking)
    if options.on_start:
        teller.tell(EventType.PIPELINE_STARTED, None, {})
    ending = supervise(options.command_line, timeout=options.timeout, grace=options.grace)
    if ending.not_started:
        say(f"pipebell: {ending.not_started}", err=True)
    if ending.code != 0:
        event = EventType.DATA_QUALITY_FAILURE if ending.code in options.quality_exit else EventType.PIPELINE_FAILURE
        teller.tell(event, _message(ending, options.timeout, masking), _details(ending, masking))
    elif options.on_success:
        teller.tell(EventType.PIPELINE_SUCCESS, None, _details(ending, masking))
    ending.drain()
    return ending.code


class _Masking:
    """Masks secrets in what is sent, before anything is cut: half a secret would not be recognised."""

    def __init__(self, environ: Mapping[str, str] | None = None, patterns: Sequence[re.Pattern[str]] = ()) -> None:
        self._values, self._patterns = mask.values_in(environ or {}), patterns

    def text(self, text: str) -> str:
        """One text."""
        return mask.mask(text, self._values, self._patterns)

    def command(self, words: Sequence[str]) -> str:
        """A command line; quotes would hide a value from us, so that each argument is looked at before."""
        return self.text(shlex.join(mask.mask_command(words, self._values)))

    def lines(self, lines: Sequence[Line]) -> list[Line]:
        """The lines of both streams, each stream by itself: what one wrote in between hides nothing of the other."""
        found: list[Line] = []
        for err in (False, True):
            own = [line for line in lines if line.err is err]
            masked = mask.mask_lines([line.text for line in own], self._values, self._patterns)
            found += [line._replace(text=text) for line, text in zip(own, masked, strict=True) if text is not None]
        return sorted(found)


class _Teller:
    def __init__(self, service: NotificationService, options: argparse.Namespace, masking: _Masking) -> None:
        self._service, self._options = service, options
        self._command = sanitise.shorten(masking.command(options.command_line), _MAX_COMMAND)
        self._run = options.run_id or os.environ.get("PIPEBELL_RUN_ID") or _pod() or uuid.uuid4().hex

    def tell(self, event: EventType, message: str | None, details: dict[str, Any]) -> None:
        """Tell it. What goes wrong is logged by the service and changes nothing."""
        good = event in (EventType.PIPELINE_STARTED, EventType.PIPELINE_SUCCESS)
        receipt = self._service.notify_blocking(
            event,
            self._options.org,
            self._options.pipeline,
            self._run,
            message,
            {"command": self._command} | details,
            severity=None if good else self._options.severity,
            **arguments.circumstances_of(self._options),
        )
        if not receipt:
            say(f"pipebell: {event} could not be sent: {receipt.reason}", err=True)


def _pod() -> str | None:
    return os.environ.get("HOSTNAME") if os.environ.get("KUBERNETES_SERVICE_HOST") else None


def _message(ending: Ending, timeout: float | None, masking: _Masking | None = None) -> str:
    masking = masking or _Masking()
    if ending.not_started:
        return masking.text(ending.not_started)
    if ending.timed_out:
        return f"timed out after {timeout:g} s"
    what = f"killed by {ending.signal}" if ending.signal else f"exit code {ending.code}"
    said = _end(masking.text(ending.tail)) or _end("\n".join(line.text for line in masking.lines(ending.lines)))
    return f"{what}: {sanitise.shorten(said, 500)}" if said else what


def _end(text: str) -> str:
    """The last line that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _details(ending: Ending, masking: _Masking | None = None) -> dict[str, Any]:
    masking = masking or _Masking()
    reason = "timeout" if ending.timed_out else "signal" if ending.signal else "exit" if ending.code else None
    found: dict[str, Any] = {
        "reason": "not_started" if ending.not_started else reason,
        "exit_code": ending.code,
        "signal": ending.signal,
        "duration_seconds": round(ending.seconds, 3),
    }
    if ending.code:
        both = any(not line.err for line in ending.lines)
        # Where standard output said something, both stand there as they came; what standard error said is short then.
        found["stderr"] = _last(masking.text(ending.tail), _MAX_TAIL // 4 if both else _MAX_TAIL)
        if both:
            found["output"] = _both(masking.lines(ending.lines))
    return {key: value for key, value in found.items() if value not in (None, "")}


def _both(lines: Sequence[Line]) -> str:
    """The ends of both streams in order: a flood in one leaves half of the room to the other."""
    sizes = {err: sum(len(line.text) + 1 for line in lines if line.err is err) for err in (False, True)}
    room = {err: max(_MAX_TAIL - 200 - sizes[not err], (_MAX_TAIL - 200) // 2) for err in (False, True)}
    kept: list[Line] = []
    left_out = 0
    for line in reversed(lines):
        if room[line.err] > 0:
            text = _last(line.text, max(room[line.err], 100))
            kept.append(line._replace(text=text))
            room[line.err] -= len(text) + 1
        else:
            left_out += 1
    mark = f"… [{left_out} earlier lines left out]\n" if left_out else ""
    return _last(mark + "".join(f"{line.text}\n" for line in reversed(kept)), _MAX_TAIL)


def _last(text: str, limit: int) -> str:
    """The end of a text, with a mark where something is left out."""
    if len(text) <= limit:
        return text
    mark = f"… [{len(text) - limit} and more characters left out] …\n"
    return mark + text[len(text) - limit + len(mark) :]
