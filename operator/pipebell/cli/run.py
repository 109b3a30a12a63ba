"""`pipebell run`: the operator."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import sys
import time
from typing import Any, Final, cast

import click

from pipebell.core.errors import SettingsError
from pipebell.process import UNUSED, without
from pipebell.settings import Settings

RESTARTS: Final = 5  # within …
RESTART_WINDOW: Final = 300.0  # … within this many seconds; after that somebody else should restart us, and see it


def _options(command: Any) -> Any:  # noqa: ANN401  (click's decorators)
    for item in reversed(dataclasses.fields(Settings)):
        flag = f"--{item.name.replace('_', '-')}"
        variable = f"PIPEBELL_{item.name.upper()}"
        command = click.option(
            flag, item.name, envvar=variable, show_envvar=True, metavar="VALUE", help=item.metadata["help"]
        )(command)
    return command


@click.command()
@_options
def run(**given: str | None) -> None:
    """Run the operator, on the cluster of KUBECONFIG or of the pod that this runs in."""
    environ = {f"PIPEBELL_{name.upper()}": value for name, value in given.items() if value}
    settings = Settings.from_env(environ)
    with without(*UNUSED):
        import pipebell.handlers  # noqa: F401, PLC0415  (the operator's libraries take a second to load)
        from pipebell.logs import set_up_logging  # noqa: PLC0415
    set_up_logging(settings.log_format, settings.log_level)
    sys.exit(asyncio.run(_supervise(settings)))


async def _supervise(settings: Settings) -> int:
    """Keep the operator running: kopf ends on some errors of the API, and starting anew is safe by design."""
    import kopf  # noqa: PLC0415
    import structlog  # noqa: PLC0415

    from pipebell.handlers import Shared, scope  # noqa: PLC0415
    from pipebell.kube.connection import connect  # noqa: PLC0415

    connect()  # what cannot be used stops the start; kopf would try it again and again
    log = structlog.get_logger("pipebell.run")
    stop = asyncio.Event()
    ends: list[float] = []
    namespaces = scope(settings)
    while not stop.is_set():
        task = asyncio.create_task(
            kopf.operator(
                memo=Shared(settings=settings),
                clusterwide=not namespaces,
                namespaces=namespaces,
                standalone=True,
                # kopf would ask for the user's name, and a container's user seldom has one.
                identity=cast("Any", "pipebell"),
                settings=kopf.OperatorSettings(),
            )
        )
        try:
            await task
        except SettingsError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever ended it, the answer is the same)
            log.error("operator_restarted", error=str(error))  # noqa: TRY400  (kopf has logged the rest)
        else:
            return 0  # a signal
        now = time.monotonic()
        ends = [end for end in ends if now - end < RESTART_WINDOW] + [now]
        if len(ends) > RESTARTS:
            log.error("operator_ended_too_often", times=len(ends), seconds=RESTART_WINDOW)
            return 1
        for name in (signal.SIGINT, signal.SIGTERM):  # kopf takes them over while it runs, and does not give them back
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(2.0 ** len(ends), 10.0))
    return 0
