"""A dead man's switch: a URL that is requested every minute while the operator is well.

Whoever watches it goes by silence: Healthchecks.io, Dead Man's Snitch and their like tell when the requests stay out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from pipebell.providers.http import Http
from pipebell.providers.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.ports import Clock
    from pipebell.settings import Settings

EVERY: Final = 60.0  # seconds
LOOK: Final = 5.0  # seconds until a replica that is not well, or not the one to do it, looks again
TIMEOUT: Final = 15.0  # seconds for one request
SHARD: Final = 0  # whoever holds it does it: one replica at a time
_OK: Final = range(200, 300)
_SAID: Final = 30  # failures of which one is logged

log = structlog.get_logger(__name__)


class Heartbeat:
    """Requests the URL every minute. The URL is a credential: it is in no log and no message.

    `mine` says whether this replica is the one to do it, `trouble` why the operator is not well (None when it is).
    `on_heartbeat` hears of each request, whether it was answered with success.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        mine: Callable[[], bool],
        trouble: Callable[[], str | None],
        on_heartbeat: Callable[[bool], None],
    ) -> None:
        self._url, self._clock, self._mine, self._trouble = settings.heartbeat_url, clock, mine, trouble
        self._on_heartbeat = on_heartbeat
        # A client of its own: what holds up the destinations must not hold this up.
        self._http = Http(client_context(settings.ca_file), TIMEOUT, proxy=settings.https_proxy)
        self._failures = 0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if self._mine() and self._trouble() is None:
                await self._beat()
                await self._clock.sleep(EVERY)
            else:
                await self._clock.sleep(LOOK)

    async def close(self) -> None:
        """Close its connection."""
        await self._http.close()

    async def _beat(self) -> None:
        why = ""
        try:
            answer = await self._http.send("GET", self._url, b"", {})
            if answer.status not in _OK:
                why = f"Http{answer.status}"
        except (OSError, ValueError) as error:
            why = type(error.__cause__ or error).__name__  # never its text, which may hold the URL
        self._on_heartbeat(not why)
        if why and self._failures % _SAID == 0:
            log.warning("heartbeat_failed", reason=why, times=self._failures + 1)
        self._failures = self._failures + 1 if why else 0
