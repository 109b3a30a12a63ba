"""Completion below `kubectl pipebell`: the program that kubectl calls for it."""

from __future__ import annotations

import sys

from click.shell_completion import ShellComplete

_NO_FILES, _DEFAULT = 4, 0  # cobra's directives, which kubectl obeys


def kubectl() -> None:
    """The program kubectl_complete-pipebell: kubectl calls it with the words after `kubectl pipebell`."""
    try:
        from pipebell.cli.group import pipebell  # noqa: PLC0415  (that may fail too)

        *words, incomplete = sys.argv[1:] or [""]
        found = ShellComplete(pipebell, {}, "pipebell", "_PIPEBELL_COMPLETE").get_completions(words, incomplete)
    except Exception:  # noqa: BLE001  (a key was pressed: there is nobody to tell)
        found = []
    plain = [item for item in found if item.type == "plain"]
    for item in plain:
        sys.stdout.write(f"{item.value}\t{item.help}\n" if item.help else f"{item.value}\n")
    sys.stdout.write(f":{_DEFAULT if len(plain) < len(found) else _NO_FILES}\n")
