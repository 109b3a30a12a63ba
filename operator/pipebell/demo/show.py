"""How people see the demo: steps while it runs, then what a user sees, what was sent, what was not, and the verdict."""

from __future__ import annotations

import json
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pipebell.core.vocabulary import Phase, Reason
from pipebell.demo.cast import BURST_EVENTS, FULL
from pipebell.demo.evidence import body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pipebell.demo.claims import Claim
    from pipebell.demo.evidence import Evidence

_SHOWN_OF_BURST: Final = 3
_HEADERS: Final = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Pipebell-Delivery")
_TEXT_COLUMN: Final = 90
_LONGEST: Final = 400  # characters of what was seen instead of what was expected
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


class Show:
    """On a terminal with a spinner and colours, elsewhere plain lines."""

    def __init__(self, console: Console | None = None) -> None:
        # Without a terminal rich assumes 80 columns, and would break what scripts want to read.
        self.console = console or Console(highlight=False, soft_wrap=False)
        if not self.console.is_terminal:
            self.console.width = 160

    @contextmanager
    def step(self, text: str) -> Iterator[Callable[[str], None]]:
        """One step: a spinner while it lasts, then one line with a tick, what came of it, and how long it took."""
        began = time.monotonic()
        notes: list[str] = []
        ok = False
        try:
            with self.console.status(Text(text)):
                yield notes.append
            ok = True
        finally:
            line = Text.assemble(("✓ ", "green") if ok else ("✗ ", "red"), text)
            if notes:
                line.append(f": {notes[-1]}", "bold")
            line.append(f"  {time.monotonic() - began:.1f} s", "dim")
            self.console.print(line)

    def title(self, text: str) -> None:
        """Begin a part."""
        self.console.print()
        self.console.print(Rule(Text(text, "bold"), align="left", characters="─"))

    # ------------------------------------------------------------------ what there is to see

    def resources(self, evidence: Evidence) -> None:
        """`kubectl get`, as a user sees it; most of the burst is left out."""
        self.title("$ kubectl get nc,pe -A")
        hidden = {f"pipelineevent.pipebell.io/{name.partition('/')[2]}" for name in BURST_EVENTS[_SHOWN_OF_BURST:]}
        left_out = 0
        for line in evidence.table.splitlines():
            if hidden.intersection(line.split()):
                left_out += 1
                continue
            if left_out:
                self._plain(f"            … {left_out} more like these")
                left_out = 0
            self._plain(line)

    def email(self, evidence: Evidence, folder: Path) -> None:
        """One e-mail as text; its HTML as a file to open in a browser."""
        mail = evidence.mails_of(FULL)[0]
        (folder / "email.html").write_text(body(mail, "html"), encoding="utf-8")
        (folder / "email.eml").write_bytes(mail.raw)
        self.title(f"An e-mail: {FULL} (its HTML: {folder / 'email.html'})")
        headers = [Text(f"{name}: {mail.message[name]}", "dim") for name in _HEADERS if mail.message[name]]
        self.console.print(Panel(Group(*headers, Text(), Text(body(mail, "plain").rstrip())), expand=False))

    def slack(self, evidence: Evidence, folder: Path) -> None:
        """One Slack payload."""
        text = json.dumps(evidence.posts_of(FULL)[0].payload, indent=2, ensure_ascii=False)
        (folder / "slack.json").write_text(text, encoding="utf-8")
        self.title(f"A Slack message: {FULL} ({folder / 'slack.json'})")
        self.console.print_json(text)

    def reasons(self, evidence: Evidence) -> None:
        """What was not simply sent, and why: from the statuses."""
        self.title("Suppressed, retried, skipped, failed: what the statuses say")
        table = _table("Event", "Phase", "Attempts", "Why")
        burst = [event for event in BURST_EVENTS if evidence.status(event).get("phase") == Phase.SUPPRESSED]
        for event in evidence.events:
            if event in burst[1:]:
                continue
            status = evidence.status(event)
            name = f"{len(burst)} of {event.rpartition('-')[0]}-…" if event in burst else event
            tries = [delivery.get("attempts", 0) for delivery in status.get("deliveries", ())]
            retried = max(tries, default=0) > 1
            why = status.get("message", "")
            if retried:
                why += "; before: " + ", ".join(self._retries(evidence))
            elif status.get("phase") == Phase.DELIVERED and not status.get("suppressedCount"):
                continue
            if count := status.get("suppressedCount"):
                why += f"; it says that {count} were held back before"
            phase = "/".join(status[key] for key in ("phase", "reason") if status.get(key))
            table.add_row(_clean(name), phase, ", ".join(map(str, tries)), _clean(why))
        self.console.print(table)

    @staticmethod
    def _retries(evidence: Evidence) -> Iterator[str]:
        for seen in evidence.seen:
            if seen.reason == Reason.RETRYING:
                yield f"{seen.phase}/{seen.reason} after attempt {seen.attempts}, next at {seen.next_attempt}"

    def rejection(self, evidence: Evidence) -> None:
        """What kubectl says to a mistyped event."""
        self.title("A mistyped event, rejected by the API server")
        for line in evidence.typo.message.splitlines():
            if "<nil>" not in line:  # the API server's remark that it stopped checking
                self._plain(line)

    def verdict(self, claims: Sequence[Claim]) -> None:
        """Every claim with a tick or, where it does not hold, what was expected and what was seen."""
        self.title("Claims, each checked against what arrived and what was recorded")
        for claim in claims:
            line = Text.assemble(("✓ ", "green") if claim.holds else ("✗ ", "bold red"), claim.text)
            seen = claim.detail or (_short(claim.actual) if claim.holds else "")
            if seen:
                line.append(f"  {_clean(seen)}", "dim")
            self.console.print(line)
            if not claim.holds:
                expected, actual = _difference(claim.expected, claim.actual)
                self.console.print(Text(f"    expected: {expected}\n    seen:     {actual}", "red"))

    def error(self, text: str) -> None:
        """Something went wrong."""
        self.console.print(Text(_clean(text), "red"))

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(Text(text))

    def _plain(self, text: str) -> None:
        """As it is: no markup, no colours, no breaks but the terminal's own."""
        self.console.print(Text(_clean(text)), soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, overflow="fold", min_width=8)
    return table


def _short(value: object) -> str:
    """What was seen, in a few words beside a tick."""
    if isinstance(value, bool) or value in ([], {True}):
        return ""
    if isinstance(value, dict):
        text = ", ".join(f"{key}: {each}" for key, each in value.items())
    elif isinstance(value, set | list | tuple):
        flat = [str(each) for item in value for each in (sorted(item) if isinstance(item, set) else [item])]
        text = ", ".join(sorted(flat) if isinstance(value, set) else flat)
    else:
        return str(value)
    return text if len(text) <= _TEXT_COLUMN else f"{len(value)} as expected"


def _difference(expected: object, actual: object) -> tuple[str, str]:
    """Both sides, reduced to where they differ."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        keys = [key for key in {**expected, **actual} if expected.get(key) != actual.get(key)]
        expected, actual = ({key: side.get(key) for key in keys} for side in (expected, actual))
    elif isinstance(expected, set) and isinstance(actual, set):
        expected, actual = expected - actual or expected, actual - expected or actual
    return _cut(str(expected)), _cut(str(actual))


def _cut(text: str) -> str:
    return _clean(text if len(text) <= _LONGEST else text[:_LONGEST] + " …")


def _clean(text: str) -> str:
    """Hostile text reaches the terminal too: no control characters."""
    return _UNPRINTABLE.sub("�", text)
