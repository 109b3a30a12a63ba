"""What every soak begins with, and what is kept of one that failed."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from tests.e2e.world import World

from pipebell.cluster import Cluster
from pipebell.sinks import Limits, Rate, SmtpSink, Trust

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack

CRDS = sorted(Path(__file__).parents[2].glob("crds/pipebell.io_*.yaml"))


def say(what: str) -> None:
    """A line for whoever waits."""
    click.echo(f"==> {what}", err=True)


def seeded(seed: int | None) -> int:
    """The seed that was given, or one that is drawn now."""
    return random.SystemRandom().randrange(1 << 32) if seed is None else seed


def begin(stack: ExitStack, folder: Path) -> World:
    """A real API server with our definitions, and the world on it, whose sinks do not run yet."""
    cluster = stack.enter_context(Cluster.start())
    for path in CRDS:
        cluster.kubectl("apply", "--server-side", "-f", path)
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    world = World(cluster, folder, Trust())
    stack.callback(world.api.close)
    return world


def throttled_mail(world: World, per_second: int) -> SmtpSink:
    """A mail server of the world's users that takes so many messages a second, on three connections."""
    sink = SmtpSink(users=world.users, trust=world.trust)
    sink.limit(Limits(rate=Rate(per_second, 1.0), connections=3))
    return sink


def keep(folder: Path, campaign: str) -> None:
    """Copy the operators' logs to where they outlive the run."""
    for log in folder.glob("operator-*.log"):
        kept = Path(tempfile.gettempdir(), f"{campaign}-{log.name}")
        kept.write_bytes(log.read_bytes())
        say(f"kept {kept}")


def end(faults: Iterable[str]) -> NoReturn:
    """Say what was wrong, and leave with a code that says whether anything was."""
    found = list(faults)
    for fault in found:
        click.echo(f"FAILED: {fault}")
    sys.exit(bool(found))
