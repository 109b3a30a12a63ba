"""Secrets by name (implements `pipebell.engine.ports.Secrets`). Only `get` is ever asked for, never a list."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.errors import NotFound
from pipebell.kube.cache import Cache
from pipebell.kube.paths import core
from pipebell.retry import retry_until_available

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient

_PATIENCE: Final = 10.0  # seconds; whoever needs a Secret waits and retries anyway
_LONGEST: Final = 16_384  # characters of a value that are kept: eight times what any field may have
_ENTRY: Final = 200  # bytes that a key takes besides its text


class KubeSecrets:
    """Secrets, kept for 60 s, and for 5 s that there is none; bounded in bytes, of one namespace and in all."""

    def __init__(self, client: ApiClient, clock: Clock, *, patience: float | None = _PATIENCE) -> None:
        self._client = client
        self._patience = patience
        self._cache: Cache[tuple[str, str], Mapping[str, str] | None] = Cache(
            self._get, clock, size=_size, owner=lambda key: key[0]
        )

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, str] | None:
        """The Secret's keys with decoded values; None when there is no such Secret. Cached unless fresh.

        Bytes that are not UTF-8 become lone surrogates: whoever uses such a value learns that it is no text. Raises
        ApiErrors when it cannot be known.
        """
        return await self._cache.get((namespace, name), fresh=fresh)

    async def _get(self, key: tuple[str, str]) -> Mapping[str, str] | None:
        path = core("secrets", *key)
        try:
            secret = await retry_until_available(
                lambda: self._client.request("GET", path), what="get secret", limit=self._patience
            )
        except NotFound:
            return None
        return _decoded(secret.get("data") or {})


def _decoded(data: Mapping[str, Any]) -> dict[str, str]:
    values = {}
    for key, encoded in data.items():
        try:
            values[key] = base64.b64decode(encoded).decode("utf-8", "surrogateescape")[:_LONGEST]
        except (binascii.Error, TypeError):
            continue
    return values


def _size(values: Mapping[str, str] | None) -> int:
    return sum(len(key) + len(value) + _ENTRY for key, value in values.items()) if values is not None else _ENTRY
