"""The table of commands: where each lives, what it needs, and what this program is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, NamedTuple


class Entry(NamedTuple):
    """Where a command lives, its line in `pipebell --help`, and the extra that it needs.

    A `plain` command's module has `main(argv: Sequence[str]) -> int`, where `argv` is what follows the command's name
    (options that stood before it come first). It may have `parser()`, from which the shell's completion knows its
    options. Any other module has a click command called `command`, or as in the table. A `raw` one writes what its
    terminal obeys on purpose; of the others, nothing but text and colours is shown.
    """

    module: str
    help: str
    extra: str = "cli"
    section: str = "Commands"
    plain: bool = False
    raw: bool = False


_PIPELINES: Final = "For pipelines"
_PEOPLE: Final = "For people"
_CONFIGURATION: Final = "For configuration"
_PLATFORM: Final = "For the platform"

COMMANDS: Final[dict[str, Entry]] = {
    "send": Entry("pipebell.cli.send", "Send an event.", "", _PIPELINES, plain=True),
    "exec": Entry(
        "pipebell.cli.exec", "Run a command; tell when it fails or hangs.", "", _PIPELINES, plain=True, raw=True
    ),
    "dbt": Entry(
        "pipebell.cli.dbt", "Run dbt; tell which models and tests failed.", "", _PIPELINES, plain=True, raw=True
    ),
    "spool": Entry("pipebell.cli.spool", "Events that could not be sent yet.", "", _PIPELINES, plain=True),
    "status": Entry("pipebell.cli.status", "Is anybody told? The operator, and what stands still.", section=_PEOPLE),
    "history": Entry("pipebell.cli.history", "Events of an organisation and what became of them.", section=_PEOPLE),
    "why": Entry(
        "pipebell.cli.why", "What each stage says of an event, and what would change it.", "operator", _PEOPLE
    ),
    "incidents": Entry("pipebell.cli.incidents", "What is wrong now, and who works on it.", section=_PEOPLE),
    "ack": Entry("pipebell.cli.respond", "Say that you work on an incident.", section=_PEOPLE),
    "snooze": Entry("pipebell.cli.respond", "Acknowledge an incident for a while.", section=_PEOPLE),
    "resolve": Entry("pipebell.cli.respond", "Say that an incident is over.", section=_PEOPLE),
    "silence": Entry("pipebell.cli.silence", "Hold messages back for a while.", section=_PEOPLE),
    "silences": Entry("pipebell.cli.silences", "What is silenced, why, and until when.", section=_PEOPLE),
    "unsilence": Entry("pipebell.cli.silence", "End a silence now.", section=_PEOPLE),
    "test": Entry("pipebell.cli.test", "Send a test event and watch its deliveries.", section=_PEOPLE),
    "replay": Entry("pipebell.cli.replay", "Send an event again where it failed.", section=_PEOPLE),
    "migrate": Entry("pipebell.cli.migrate", "Turn configs/ with JSON files into manifests.", section=_CONFIGURATION),
    "secret": Entry("pipebell.cli.secret", "Make a Secret of an environment file.", section=_CONFIGURATION),
    "validate": Entry("pipebell.cli.validate", "Check files offline by the cluster's rules.", section=_CONFIGURATION),
    "verify": Entry("pipebell.cli.verify", "Check SMTP login and webhooks without sending.", section=_CONFIGURATION),
    "preview": Entry("pipebell.cli.preview", "Show what would be sent, where, and why.", "operator", _CONFIGURATION),
    "template": Entry(
        "pipebell.cli.template", "Try your own texts; show the built-in ones.", "operator", _CONFIGURATION
    ),
    "run": Entry("pipebell.cli.run", "Run the operator.", "operator", _PLATFORM, raw=True),
    "cluster": Entry("pipebell.cli.cluster", "A real API server on this machine.", "cli,local", _PLATFORM, raw=True),
    "demo": Entry("pipebell.cli.demo", "Watch Pipebell do its job.", "operator,local", _PLATFORM, raw=True),
    "completion": Entry("pipebell.cli.completion", "Print the shell's completion script.", section=_PLATFORM, raw=True),
}


def program() -> str:
    """What this program was called as."""
    called = Path(sys.argv[0]).name
    return "kubectl pipebell" if called.startswith("kubectl-") else "pipebell"


def missing(name: str, entry: Entry, error: ModuleNotFoundError) -> str:
    """In words: what a command needs that is not installed, and how to get it."""
    module = (error.name or "").partition(".")[0]
    if module == "pipebell":
        return f"`{name}` is not part of this installation ({error.name} is missing)"
    return f"`{name}` needs the package {module}: pip install 'pipebell[{entry.extra or 'cli'}]'"
