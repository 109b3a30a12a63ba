"""Command lines of plain commands: argparse, with the manners of the other commands."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipebell.cli import examples
from pipebell.cli.access import Access
from pipebell.cli.commands import program
from pipebell.core.vocabulary import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Parser(argparse.ArgumentParser):
    """A command's parser. A value may begin with `-`; wrong usage ends with exit code 2 and says how to go on."""

    def __init__(self, name: str, description: str, usage: str = "") -> None:
        prog = f"{program()} {name}"
        super().__init__(
            prog=prog,
            usage=f"{prog} {usage}" if usage else None,
            description=description,
            epilog=examples.below(name),
            allow_abbrev=False,
            formatter_class=_Formatter,
        )

    def error(self, message: str) -> NoReturn:
        """Usage, the way to help, and what is wrong; exit code 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"Try '{self.prog} --help' for help.\n\nError: {message}\n")

    def parse(self, argv: Sequence[str], *, command: bool = False) -> argparse.Namespace:
        """The options. With `command`, what begins at the first word that is none of ours becomes `command_line`."""
        words, rest = self._joined(argv, stop=command)
        options = self.parse_args(words)
        if command:
            options.command_line = rest
        return options

    def _joined(self, argv: Sequence[str], *, stop: bool) -> tuple[list[str], list[str]]:
        """`--option value` as `--option=value`: argparse takes a value that begins with `-` for an option."""
        names = {string: action for action in self._actions for string in action.option_strings}
        words: list[str] = []
        position = 0
        while position < len(argv):
            word = argv[position]
            position += 1
            if word == "--":
                return (words, list(argv[position:])) if stop else ([*words, word, *argv[position:]], [])
            if stop and (not word.startswith("-") or word == "-"):
                return words, list(argv[position - 1 :])
            action = names.get(word)
            if action is not None and action.nargs is None and position < len(argv):
                long = action.option_strings[-1]
                words.append(f"{long}={argv[position]}")
                position += 1
            else:
                words.append(word)
        return words, []


class _Formatter(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("Examples:"):
            return text  # lines that are typed are not wrapped
        return super()._fill_text(text, width, indent)

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        super().add_usage(usage, actions, groups, "Usage: " if prefix is None else prefix)


def add_access(parser: argparse.ArgumentParser) -> None:
    """`--kubeconfig`, `--context` and `-n`, as kubectl names them."""
    parser.add_argument("--kubeconfig", metavar="FILE", help="path of the kubeconfig file")
    parser.add_argument("--context", metavar="NAME", help="context of the kubeconfig to use")
    parser.add_argument(
        "-n", "--namespace", metavar="NAME",
        help="namespace [default: PIPEBELL_NAMESPACE_FOR_EVENTS, else the context's, or the pod's]",
    )  # fmt: skip


def add_circumstances(parser: argparse.ArgumentParser) -> None:
    """What rules may go by, and what else an event says: whose pipeline it is, which try, where to read more."""
    add = parser.add_argument
    add("--owner", metavar="NAME", help="who is responsible for the pipeline")
    add("--label", dest="labels", action="append", type=label, default=[], metavar="KEY=VALUE",
        help="what rules may go by, such as env=prod; repeatable")  # fmt: skip
    add("--attempt", type=count, metavar="N", help="which try of this run it was, from 1")
    add("--max-attempts", type=count, metavar="N", help="how many tries the run has")
    add("--link", dest="links", action="append", type=link, default=[], metavar="TITLE=URL",
        help="where to read more; repeatable")  # fmt: skip
    add("--dedup-key", metavar="KEY",
        help="the same key for the same pipeline is the same event, however often it is told")  # fmt: skip


def circumstances_of(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_circumstances` parsed, as `NotificationService.notify` takes it."""
    return {
        "owner": options.owner,
        "labels": dict(options.labels) or None,
        "attempt": options.attempt,
        "max_attempts": options.max_attempts,
        "links": options.links,
        "dedup_key": options.dedup_key,
    }


def access_of(options: argparse.Namespace) -> Access:
    """What `add_access` parsed."""
    return Access(options.kubeconfig, options.context, options.namespace)


def positive(text: str) -> float:
    """Seconds above 0."""
    seconds = not_negative(text)
    if seconds == 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be above 0")
    return seconds


def not_negative(text: str) -> float:
    """Seconds, 0 or more."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return seconds


def count(text: str) -> int:
    """A number from 1."""
    if not text.isdecimal() or int(text[:10]) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text[:10])


def label(text: str) -> tuple[str, str]:
    """KEY=VALUE as a pair."""
    key, mark, value = text.partition("=")
    if not mark or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def link(text: str) -> tuple[str, str]:
    """TITLE=URL as a pair, split at the first `=`."""
    title, mark, url = text.partition("=")
    if not mark or not url.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} is not TITLE=URL with an http(s) URL")
    return title, url


def details(text: str) -> dict[str, Any]:
    """A JSON object, or @FILE with one (@- for standard input)."""
    try:
        if text.startswith("@"):
            text = sys.stdin.read() if text == "@-" else Path(text[1:]).read_text(encoding="utf-8")
        document = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise argparse.ArgumentTypeError("must be a JSON object, such as '{\"rows\": 0}'")
    return document


def moment(text: str) -> datetime:
    """A time as in RFC 3339; without a zone it is local."""
    try:
        # Python 3.10 does not know the Z.
        return datetime.fromisoformat(f"{text[:-1]}+00:00" if text[-1:] in ("Z", "z") else text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-01-31T08:00:00Z") from None


def severity(text: str) -> str:
    """A severity in any case."""
    if text.lower() not in list(Severity):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(Severity)}")
    return text.lower()
