"""What a campaign tries: an area is a door that hostile input comes through, with a judge of what came of it."""

from __future__ import annotations

import faulthandler
import re
import signal
import sys
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypothesis.strategies import SearchStrategy

CPU_SECONDS = 2.0  # for one input, on any machine that is worth the name
WALL_SECONDS = 60.0  # the same for what waits; generous, because the machine may be busy
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SECRET = "S3cret-That-Never-Shows"


class Hang(AssertionError):  # noqa: N818  (it names what happened)
    """One input took too long."""


@dataclass(frozen=True)
class Area:
    """`quota` inputs in a full run. `opened` gives the check: with a sink, a folder, or nothing around it."""

    name: str
    quota: int
    inputs: SearchStrategy[Any]
    opened: Callable[[], AbstractContextManager[Callable[[Any], None]]]
    batch: int = 500


def plain(name: str, quota: int, inputs: SearchStrategy[Any], check: Callable[[Any], None]) -> Area:
    """An area that needs nothing around it."""
    return Area(name, quota, inputs, lambda: nullcontext(check))


@contextmanager
def bounded(cpu: float = CPU_SECONDS, wall: float = WALL_SECONDS) -> Iterator[None]:
    """Raises Hang when what is inside takes more. What never comes back to Python ends the process with its stacks."""

    def too_long(number: int, _frame: object) -> None:
        raise Hang(f"more than {cpu:g} s of CPU" if number == signal.SIGPROF else f"more than {wall:g} s")

    before = {number: signal.signal(number, too_long) for number in (signal.SIGPROF, signal.SIGALRM)}
    faulthandler.dump_traceback_later(2 * wall, exit=True, file=sys.__stderr__)
    signal.setitimer(signal.ITIMER_PROF, cpu)
    others, _ = signal.setitimer(signal.ITIMER_REAL, wall)  # pytest-timeout's, which has to go on afterwards
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        for number, handler in before.items():
            signal.signal(number, handler)
        if others:
            signal.setitimer(signal.ITIMER_REAL, others)


def keeps_secret(*shown: object, secrets: tuple[str, ...] = (SECRET,)) -> None:
    """None of these show in any of that."""
    text = "\n".join(map(str, shown))
    for secret in secrets:
        assert secret not in text, f"{secret!r} shows in {text[:500]!r}"


def one_line(text: str) -> None:
    """Text for people that a terminal, a status and a log can hold."""
    assert not _CONTROL.search(text), ascii(text[:500])
