"""`pipebell`, also `kubectl pipebell`: how a command is called, and how every command ends.

Plain commands need the standard library alone; the others are click's, and come with an extra. Nothing is imported
before it is called. Exit codes: 0 done, 1 failed, 2 usage. What can be expected to go wrong ends in one line on stderr,
never a traceback.
"""

from __future__ import annotations

import contextlib
import os
import sys
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Final

from pipebell.cli import terminal
from pipebell.cli.commands import COMMANDS, Entry, missing, program
from pipebell.core.errors import PipebellError
from pipebell.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


# Options that may stand before the command, as with kubectl; each takes a value.
_ACCESS: Final = ("--kubeconfig", "--context", "--namespace", "-n")
_NEWER: Final = (3, 11)  # what everything but the SDK and the plain commands is written for


def main(args: Sequence[str] | None = None) -> None:
    """The console script: run a command and exit with its code."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: Sequence[str]) -> int:
    """Run a command; its exit code. Expected errors have become one line on stderr."""
    try:
        code = _run(list(args))
        sys.stdout.flush()
    except PipebellError as error:
        return _fail(terminal.clean(" ".join(str(error).split())))
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201  (this is a program)
        return 1
    except BrokenPipeError:
        # Whoever read our output (`| head`) has seen enough; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(args: list[str]) -> int:
    if os.environ.get("_PIPEBELL_COMPLETE"):
        return _click(args, "completion")
    before, rest = _before_the_command(args)
    if not rest:
        sys.stderr.write(_help())
        return 2
    name, after = rest[0], rest[1:]
    entry = COMMANDS.get(name)
    if entry is None:
        return _no_command(name)
    with contextlib.nullcontext() if entry.raw else terminal.guarded():
        return _plain(name, entry, [*before, *after]) if entry.plain else _click(args, name)


def _no_command(word: str) -> int:
    """What stands where a command should: `--help`, `--version`, or a mistake."""
    if word in ("-h", "--help"):
        sys.stdout.write(_help())
        return 0
    if word in ("-V", "--version"):
        sys.stdout.write(f"{program()} {__version__}\n")
        return 0
    what = "option" if word.startswith("-") else "command"
    near = get_close_matches(word, COMMANDS, n=1) if what == "command" else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    sys.stderr.write(f"{_USAGE.format(program())}\n\nError: No such {what} {word!r}.{hint}\n")
    return 2


def _plain(name: str, entry: Entry, argv: list[str]) -> int:
    """A plain command: its module's `main`."""
    try:
        module = import_module(entry.module)
    except ModuleNotFoundError as error:
        return _fail(missing(name, entry, error))
    try:
        return int(module.main(argv))
    except SystemExit as end:  # argparse's way out
        return end.code if isinstance(end.code, int) else int(bool(end.code))


def _before_the_command(args: list[str]) -> tuple[list[str], list[str]]:
    """Options of `_ACCESS` at the beginning, and the rest."""
    position = 0
    while position < len(args):
        word = args[position]
        if word in _ACCESS:
            position += 2
        elif word.partition("=")[0] in _ACCESS[:-1] or (word[:2] == "-n" and len(word) > len("-n")):
            position += 1
        else:
            break
    return args[:position], args[position:]


def _click(args: list[str], name: str) -> int:
    """A command that click parses, or the shell's completion, which click makes."""
    if sys.version_info < _NEWER:
        return _fail(f"`{name}` needs Python 3.11 or later; this is {sys.version.split()[0]}")
    try:
        from pipebell.cli import group  # noqa: PLC0415  (plain commands work without click)
    except ModuleNotFoundError as error:
        return _fail(missing(name, COMMANDS[name], error))
    return group.run(args, program())


def _fail(message: str) -> int:
    sys.stderr.write(f"Error: {message}\n")
    return 1


_USAGE: Final = "Usage: {} [--kubeconfig FILE] [--context NAME] [-n NAME] COMMAND [ARGS]..."


def _help() -> str:
    lines = [_USAGE.format(program()), "", "  Tell people when their data pipelines fail.", ""]
    width = max(map(len, COMMANDS)) + 2
    for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
        lines += [f"{section}:"]
        lines += [f"  {name:{width}}{entry.help}" for name, entry in COMMANDS.items() if entry.section == section]
        lines += [""]
    lines += [
        "Options:",
        "  --kubeconfig FILE     Path of the kubeconfig file.",
        "  --context NAME        Context of the kubeconfig to use.",
        "  -n, --namespace NAME  Namespace [default: the context's, or the pod's].",
        "  -V, --version         Show the version.",
        "  -h, --help            Show this; `COMMAND --help` shows a command's.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
