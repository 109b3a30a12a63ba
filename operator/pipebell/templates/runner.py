"""Asks the templates' process: what a message says by them, and whether they can be used at all."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic.alias_generators import to_camel

from pipebell.core.fields import PLACEHOLDER
from pipebell.core.fields import templates as templates_of
from pipebell.core.models import KINDS
from pipebell.core.render.context import context, takes_templates, unknown_names
from pipebell.core.render.samples import samples
from pipebell.core.template import MOST, Printed, Template, TemplateError, assemble
from pipebell.templates.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipebell.core.message import Message
    from pipebell.core.models import NotificationSpec

PATIENCE: Final = 15.0  # seconds of this process for one job, its start included
BAN: Final = 300.0  # seconds that a template rests which had to be killed
STRIKES: Final = 5  # kills, after which all templates of its namespace rest
_REMEMBERED: Final = 1000
_GIVEN_UP_AFTER: Final = 3  # templates of a configuration that had to be stopped while it was checked
_LINE: Final = 8 << 20  # bytes of an answer
_PASSED_ON: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT")
_PLACEHOLDER: Final = re.compile(PLACEHOLDER)
_AWAY: Final = "templates cannot be run here"


class Complaint(NamedTuple):
    """What is wrong with a template. `field` is its place, `line` counts from 1; None where no line is to blame.

    `stopped`: it had to be, by force.
    """

    field: str
    line: int | None
    reason: str
    stopped: bool = False

    def __str__(self) -> str:
        return f"{self.field}{f', line {self.line}' if self.line else ''}: {self.reason}"


class TemplateRunner:
    """Runs templates in a process that is started when there is the first job: one at a time, namespaces taking turns.

    `now` is seconds, for how long a template rests that had to be killed. `on_lost` hears why the process had to be
    started anew, `on_escaped` of each field's values that do not stand in a text as they are.
    """

    def __init__(
        self,
        now: Callable[[], float],
        on_lost: Callable[[str], None] = lambda _: None,
        on_escaped: Callable[[str, list[str]], None] | None = None,
    ) -> None:
        self._now, self._on_lost, self._on_escaped = now, on_lost, on_escaped
        self._turns = Turns()
        self._process: asyncio.subprocess.Process | None = None
        self._resting: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._strikes: OrderedDict[str, list[float]] = OrderedDict()

    async def render(self, message: Message, kind: str, sources: Mapping[str, str]) -> tuple[Message, str]:
        """The message with what the templates of a destination make of it, and what could not be made, for people.

        `sources` are by the names of the kind's fields. It never raises: the built-in text stands in for what fails.
        """
        if not takes_templates(message):
            return message, ""
        namespace, known = message.event.namespace, templates_of(KINDS[kind].spec)
        usable = {name: text for name, text in sources.items() if not self._rests(namespace, text)}
        failed = [f"{to_camel(name)} rests after it had to be stopped" for name in sources if name not in usable]
        texts: dict[str, Any] = {}
        if usable:
            answer = await self._ask(namespace, {"templates": usable, "contexts": [context(message)], "most": MOST})
            if "died" in answer:
                failed += await self._blame(namespace, message, usable, texts, known)
            else:
                for name in usable:
                    self._take(answer["results"][0][name], name, known[name], texts, failed)
        return replace(message, texts=texts), "; ".join(failed)

    async def _blame(
        self,
        namespace: str,
        message: Message,
        sources: Mapping[str, str],
        texts: dict[str, Any],
        known: Mapping[str, Template],
    ) -> list[str]:
        """One of several templates had the process killed: each by itself, to know which one."""
        failed: list[str] = []
        for name, text in sources.items():
            job = {"templates": {name: text}, "contexts": [context(message)], "most": MOST}
            answer = await self._ask(namespace, job)
            if "died" in answer:
                failed.append(f"{to_camel(name)} {answer['died']}")
                if "away" not in answer:
                    self._rest(namespace, text)
            else:
                self._take(answer["results"][0][name], name, known[name], texts, failed)
        return failed

    def _take(
        self, made: Mapping[str, Any], name: str, template: Template, texts: dict[str, Any], failed: list[str]
    ) -> None:
        """Put what a template made among the texts, or why it could not among what failed."""
        if "error" in made:
            where = f", line {made['line']}" if made["line"] else ""
            failed.append(f"{to_camel(name)}{where}: {made['error']}")
            return
        escaped: list[str] | None = None if self._on_escaped is None else []
        try:
            texts[name] = assemble(made["text"], [Printed(*value) for value in made["values"]], template, escaped)
        except TemplateError as error:
            failed.append(f"{to_camel(name)}: {error}")
        if self._on_escaped is not None and escaped:
            self._on_escaped(name, escaped)

    async def check(self, spec: NotificationSpec, namespace: str = "") -> list[Complaint]:
        """What is wrong with the templates of a configuration of this namespace: each is run over all samples."""
        found: list[Complaint] = []
        stopped = 0
        for field, kind, name, source in _every(spec):
            if stopped >= _GIVEN_UP_AFTER:
                found.append(Complaint(field, None, "was not tried, since others had to be stopped"))
                continue
            complaint = await self._check(namespace, field, templates_of(KINDS[kind].spec)[name], source)
            if complaint is not None:
                found.append(complaint)
                stopped += complaint.stopped
        return found

    async def _check(self, namespace: str, field: str, template: Template, source: str) -> Complaint | None:
        known = [context(sample.message) for sample in samples()]
        job = {"templates": {"template": source}, "contexts": known, "most": MOST, "check": True}
        answer = await self._ask(namespace, job)
        if "died" in answer:
            return Complaint(field, None, answer["died"], stopped=True)
        unset = _PLACEHOLDER.search(source)
        if unset:
            return Complaint(field, _line_of(source, unset[0]), f"takes no {unset[0]}: a template is not filled")
        problems = unknown_names(answer["names"].get("template", ()), _complete())
        if problems:
            return Complaint(field, _line_of(source, problems[0][0]), problems[0][1])
        for sample, result in zip(samples(), answer["results"], strict=True):
            made = result["template"]
            if "error" in made:
                return Complaint(field, made["line"], made["error"])
            try:
                assemble(made["text"], [Printed(*value) for value in made["values"]], template)
            except TemplateError as error:
                return Complaint(field, None, f"{error} (of {sample.name})")
            await asyncio.sleep(0)  # nobody waits for all samples
        return None

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            _kill(process)
            await process.wait()

    # ------------------------------------------------------------------ the process

    async def _ask(self, namespace: str, job: Mapping[str, Any]) -> dict[str, Any]:
        line = json.dumps(job).encode() + b"\n"
        async with self._turns.take(namespace):
            for _ in range(2):  # once more with a new process, where the old one was gone
                try:
                    process = self._process or await self._start()
                    return await asyncio.wait_for(_talk(process, line), PATIENCE)
                except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
                    self._on_lost(str(error) or type(error).__name__)
                    await self.close()
                except asyncio.CancelledError:
                    await self.close()  # its answer would be taken for the next job's
                    raise
        return {"died": _AWAY, "away": True}

    async def _start(self) -> asyncio.subprocess.Process:
        """Nothing of this process's environment goes with it but where programs are: it holds root's variables."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pipebell.templates.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            limit=_LINE,
            start_new_session=True,
        )
        return self._process

    # ------------------------------------------------------------------ templates that had to be killed

    def _rests(self, namespace: str, source: str) -> bool:
        now = self._now()
        strikes = self._strikes.get(namespace, ())
        if sum(at > now - BAN for at in strikes) >= STRIKES:
            return True
        return self._resting.get((namespace, source), now) > now

    def _rest(self, namespace: str, source: str) -> None:
        now = self._now()
        self._resting[namespace, source] = now + BAN
        self._resting.move_to_end((namespace, source))
        strikes = [at for at in self._strikes.pop(namespace, []) if at > now - BAN]
        self._strikes[namespace] = [*strikes, now][-STRIKES:]
        for memory in (self._resting, self._strikes):
            while len(memory) > _REMEMBERED:
                memory.popitem(last=False)


async def _talk(process: asyncio.subprocess.Process, line: bytes) -> dict[str, Any]:
    assert process.stdin is not None  # noqa: S101  (it was started with pipes; tells mypy)
    assert process.stdout is not None  # noqa: S101  (the same)
    process.stdin.write(line)
    await process.stdin.drain()
    answer: dict[str, Any] = json.loads(await process.stdout.readuntil(b"\n"))
    return answer


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


def _line_of(source: str, word: str) -> int | None:
    """The first line that a word stands in."""
    return next((number for number, line in enumerate(source.split("\n"), 1) if word in line), None)


def _every(spec: NotificationSpec) -> Iterator[tuple[str, str, str, str]]:
    """Each template of a configuration: its place, its kind, its field and its text."""
    blocks = [("", kind, spec.block(kind)) for kind in KINDS]
    blocks += [(f"destinations[{item.name}].", item.kind, item.block(item.kind)) for item in spec.destinations or ()]
    for where, kind, block in blocks:
        for name in templates_of(type(block)) if block is not None else ():
            source = getattr(block, name)
            if source is not None:
                yield f"{where}{kind}.{to_camel(name)}", kind, name, source


def _complete() -> dict[str, Any]:
    """A context in which every name is set."""
    return context(next(sample.message for sample in reversed(samples()) if sample.message.event.spec.notice))
