"""Which installation this is, among all that may send to the same receiver."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import Forbidden, NotFound, Rejected
from pipebell.retry import retry_until_available

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pipebell.kube.client import ApiClient

_TRIES: Final = 5  # of a read that is forbidden: rights may be granted a moment after the operator has started
_BETWEEN_TRIES: Final = 2.0  # seconds

log = structlog.get_logger(__name__)


class Installation:
    """Its identity: what the setting says, else the uid of the operator's namespace, which outlives every restart.

    Where the namespace may not be read it is the namespace's name, which another cluster's may have as well.
    """

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        given: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client, self._namespace, self._given, self._sleep = client, namespace, given, sleep
        self._id = given or namespace

    def __call__(self) -> str:
        """The identity, once `learn` has ended."""
        return self._id

    async def learn(self) -> None:
        """Ask the API, unless it was given; waits while the API is away."""
        path = f"/api/v1/namespaces/{self._namespace}"
        for again in () if self._given else reversed(range(_TRIES)):
            try:
                found = await retry_until_available(
                    lambda: self._client.request("GET", path), what="get the operator's namespace", sleep=self._sleep
                )
            except (NotFound, Rejected) as error:
                if again and isinstance(error, Forbidden):
                    await self._sleep(_BETWEEN_TRIES)
                    continue
                log.warning("installation_by_name", namespace=self._namespace, error=str(error))
                return
            self._id = str(found["metadata"]["uid"])
            return
