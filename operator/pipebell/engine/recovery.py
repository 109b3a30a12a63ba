"""What a start has to find out: the cooldowns that run, and the events that are not finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from pipebell.core.errors import ApiError

if TYPE_CHECKING:
    from pipebell.core.event import Event
    from pipebell.engine.engine import Engine
    from pipebell.engine.ledger import CooldownLedger
    from pipebell.engine.ports import Clock, Events

log = structlog.get_logger(__name__)


async def recover(events: Events, ledger: CooldownLedger, engine: Engine, clock: Clock) -> None:
    """One pass over all events, folded and not retained; then the unfinished ones go on, the oldest first.

    The watch tells of those too, but a sender that was deleted before the watch began would hold its cooldown for ever.
    """
    while True:
        began, count, unfinished = clock.now(), 0, []
        try:
            async for page in events.scan():
                for event in page:
                    count += 1
                    _fold(ledger, event)
                    if event.status.phase is None or not event.status.phase.final:
                        unfinished.append(event)
        except ApiError as error:
            log.warning("cooldowns could not be rebuilt, trying again", error=str(error))
            ledger.start_over()
            await clock.sleep(1.0)
        else:
            break
    for event in sorted(unfinished, key=lambda item: item.created):
        engine.submit(event)
    engine.start_cooldowns()
    seconds = round(clock.now() - began, 2)
    log.info("cooldowns rebuilt", events=count, unfinished=len(unfinished), seconds=seconds)


def _fold(ledger: CooldownLedger, event: Event) -> None:
    """One event whose status cannot be understood must not keep everybody's cooldowns from being known."""
    try:
        ledger.fold(event)
    except ValueError as error:
        log.warning("event left out of the cooldowns", _event=f"{event.namespace}/{event.name}", error=str(error))
