"""How fresh the watches are: when each was opened last.

Ours say so themselves (`asked`, `granted`, `heard`). kopf's work in the background and tell nobody when they stop: of
those the requests are seen. Each ends by itself after minutes and is opened again; one that is not opened again for
long has stalled. The API server sends a bookmark every minute: where nothing at all is heard for longer, we are deaf.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

LONGEST: Final = 300  # seconds that a watch of kopf's lasts, then it goes on where it was; the API takes no fractions
DEAF: Final = 90.0  # seconds
STALLED: Final = 900.0  # seconds without an attempt to open it; an API server that is away is no stall


class Watches:
    """Notes when watches are asked for and when they are granted; also as a middleware of aiohttp's client.

    `on_list` gets the plural of what was listed: a watch begins anew with a list, which shows no deletions.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, *, on_list: Callable[[str], None] = lambda _: None
    ) -> None:
        self._now, self._on_list = now, on_list
        self._asked: dict[str, float] = {}
        self._granted: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._waiting: dict[str, float] = {}  # asked for and not granted, since when

    def subscribe(self, on_list: Callable[[str], None]) -> None:
        """Tell this of lists from now on."""
        self._on_list = on_list

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """One request, as aiohttp calls it."""
        path = request.url.path
        if request.url.query.get("watch") != "true":
            response = await handler(request)
            if request.method == "GET" and response.status == HTTPStatus.OK:
                self._on_list(path.rpartition("/")[2])
            return response
        self.asked(path)
        response = await handler(request)
        if response.status == HTTPStatus.OK:
            self.granted(path)
        return response

    def asked(self, path: str) -> None:
        """Somebody tries to watch the objects at this path."""
        self._asked[path] = now = self._now()
        self._waiting.setdefault(path, now)

    def granted(self, path: str) -> None:
        """The API server lets them."""
        self._granted[path] = self._now()
        self._waiting.pop(path, None)

    def heard(self, path: str) -> None:
        """The API server said something of these objects, be it that nothing has happened."""
        self._heard[path] = self._now()

    def deaf(self) -> str | None:
        """What has not been heard of for too long; None when all is well. Of kopf's watches, whether they are open."""
        now = self._now()
        quiet = {path: when for path, when in self._heard.items() if now - when > DEAF}
        shut = {path: when for path, when in self._waiting.items() if path not in self._heard and now - when > DEAF}
        silent = quiet | shut
        if not silent:
            return None
        longest = now - min(silent.values())
        return f"nothing has been heard of {', '.join(sorted(silent))} for {longest:.0f} s"

    def age(self, plural: str) -> float:
        """Seconds since the watch of this kind was opened last, in the namespace where that is longest ago."""
        opened = [when for path, when in self._granted.items() if path.endswith(f"/{plural}")]
        return self._now() - min(opened) if opened else 0.0

    def stalled(self) -> str | None:
        """Which watches nobody tries to open any more; None when all is well."""
        now = self._now()
        silent = [path for path, when in self._asked.items() if now - when > STALLED]
        return f"no watch of {', '.join(silent)} for {STALLED:g} s" if silent else None
