"""Silences in the API (implements `pipebell.engine.ports.Silences`), and their watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from pipebell.core.errors import InvalidInput
from pipebell.kube.client import MERGE_PATCH
from pipebell.kube.events import PATIENCE
from pipebell.kube.kind_watch import KindWatch
from pipebell.kube.parse import parse_silence
from pipebell.kube.paths import custom
from pipebell.retry import retry_until_available

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pipebell.core.ports import Clock
    from pipebell.core.silences.resource import Silence
    from pipebell.kube.client import ApiClient

_log = structlog.get_logger(__name__)
_KIND: Final = "Silence"


class KubeSilences:
    """Reads Silences, and writes their status. `home` is the operator's own namespace."""

    def __init__(self, client: ApiClient, home: str, *, patience: float | None = PATIENCE) -> None:
        self._client, self._home, self._patience = client, home, patience

    async def scan(self, namespace: str | None) -> list[Silence]:
        """Those of a namespace, or (None) of all. Raises ApiErrors."""
        found: list[Silence] = []
        async for page in self._client.pages(custom(_KIND, namespace), patience=self._patience):
            found += (silence for item in page.get("items") or () if (silence := read(item, self._home)) is not None)
        return found

    async def patch_status(self, silence: Silence, status: Mapping[str, Any]) -> Silence | None:
        """Merge-patch the status, fenced by version; the silence as it is then. Raises Conflict when it has changed."""
        path = f"{custom(_KIND, silence.namespace, silence.name)}/status"
        metadata = {"resourceVersion": silence.resource_version, "uid": silence.uid}
        item = await retry_until_available(
            lambda: self._client.request(
                "PATCH", path, body={"metadata": metadata, "status": status}, content_type=MERGE_PATCH
            ),
            what="patch silence",
            limit=self._patience,
        )
        return read(item, self._home)


def read(item: Mapping[str, Any], home: str) -> Silence | None:
    """A Silence as the API gives it; None, with a line in the log, where its spec breaks the rules."""
    try:
        return parse_silence(item, home)
    except InvalidInput as error:
        metadata = item.get("metadata") or {}
        _log.error(
            "silence_unreadable", namespace=metadata.get("namespace"), name=metadata.get("name"), problems=str(error)
        )
        return None


class Store(Protocol):
    """Where silences are kept. `home` is the operator's own namespace."""

    home: str

    def put(self, silence: Silence) -> None:
        """A silence as it is now."""

    def remove(self, namespace: str, name: str) -> None:
        """A silence is gone."""

    def keep(self, namespace: str | None, names: Collection[tuple[str, str]]) -> None:
        """A list of a namespace, or (None) of all, has shown these and no others."""


class SilenceWatch(KindWatch):
    """Keeps a store as the API has it, in one namespace or (None) in all.

    Where the definition or the permission is missing, nothing is silenced there, and `trouble` says so.
    """

    def __init__(self, client: ApiClient, clock: Clock, store: Store, namespace: str | None) -> None:
        super().__init__(client, clock, _KIND, namespace)
        self._store, self._namespace = store, namespace
        self._shown: set[tuple[str, str]] | None = None

    def list_begins(self) -> None:
        """See `Listener`."""
        self._shown = set()

    def on_event(self, kind: str, item: Mapping[str, Any]) -> None:
        """See `Listener`."""
        metadata = item["metadata"]
        key = (metadata["namespace"], metadata["name"])
        silence = read(item, self._store.home) if kind != "DELETED" else None
        if silence is None:
            self._store.remove(*key)
            return
        if self._shown is not None:
            self._shown.add(key)
        self._store.put(silence)

    def list_ends(self, version: str) -> None:  # noqa: ARG002  (the Protocol's)
        """See `Listener`."""
        shown, self._shown = self._shown, None
        self._store.keep(self._namespace, shown or set())
