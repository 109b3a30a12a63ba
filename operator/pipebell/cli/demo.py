"""`pipebell demo`: watch Pipebell do its job, on a real API server."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


@click.command()
@click.option("--keep", is_flag=True, help="Leave it running, and print how to use it.")
@click.option("--stop", is_flag=True, help="End what --keep left running.")
def demo(*, keep: bool, stop: bool) -> int:
    """Watch Pipebell do its job: a real API server, real e-mail and HTTPS, and every claim checked.

    Everything runs on this machine and is removed at the end; what was sent is saved in build/demo.
    """
    if keep and stop:
        raise click.UsageError("--keep and --stop exclude each other")
    from pipebell.demo import kept  # noqa: PLC0415  (the operator's libraries take a second to load)
    from pipebell.demo.main import play  # noqa: PLC0415
    from pipebell.demo.show import Show  # noqa: PLC0415

    if stop:
        click.echo("the demo is gone" if kept.stop() else "there is no demo that runs", err=True)
        return 0
    with _interruptible():
        return 0 if play(keep=keep, show=Show()) else 1


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does, once: a second signal must not disturb the clearing up."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001  (the signal module's signature)
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, interrupt) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
