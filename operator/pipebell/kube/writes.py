"""Creates and patches at the API server, by the short way (`pipebell.posting`): an event's record is one of them."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from yarl import URL

from pipebell.posting import Answer, Poster

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from pipebell.kube.connection import Connection

# aiohttp's session repeats none of these when a kept connection breaks, and nor are they repeated here.
METHODS: Final = frozenset({"POST", "PATCH"})


class Writes:
    """Sends by the connections of `session`, authenticated with the current token; a 401 renews it and repeats once."""

    def __init__(self, connection: Connection, session: aiohttp.ClientSession) -> None:
        self._connection, self._poster = connection, Poster(session)
        server = URL(connection.server)
        self._origin, self._base = server.origin(), server.raw_path.rstrip("/")

    async def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Answer:
        """`target` is path and query, encoded. Raises TimeoutError after `seconds`, and aiohttp's ClientErrors."""
        connection = self._connection
        async with asyncio.timeout(seconds):
            credential = connection.headers()
            answer = await self._once(method, target, {**headers, **credential}, body)
            if answer.status != HTTPStatus.UNAUTHORIZED:
                return answer
            await connection.renew()
            renewed = connection.headers()
            if renewed == credential:  # what was sent: another request's 401 may have renewed it meanwhile
                return answer
            return await self._once(method, target, {**headers, **renewed}, body)

    async def _once(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return await self._poster.send(
            method,
            self._origin,
            f"{self._base}{target}",
            headers,
            body,
            read=_whole,
            server_hostname=self._connection.server_hostname,
        )


async def _whole(content: aiohttp.StreamReader) -> bytes:
    return await content.read()
