"""The root ConfigMap's watch: a list and a watch of exactly one name in the operator's own namespace.

kopf would watch ConfigMaps everywhere that it watches anything; other people's are none of our business.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import ApiError, Forbidden, Gone, Unavailable
from pipebell.kube.paths import core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.kube.client import ApiClient
    from pipebell.kube.clock import Clock

_log = structlog.get_logger(__name__)

FIRST_WAIT: Final = 0.25  # seconds; doubled each time
LONGEST_WAIT: Final = 10.0
WATCH_SECONDS: Final = 240.0
_TRUST: Final = 4  # failures in a row after which the version to go on from is doubted (a restored store is older)
_QUICK: Final = 1.0  # seconds; a watch that ends sooner, unasked, is not followed by the next one at once


class RootWatch:
    """Tells `on_change` the ConfigMap's data and resourceVersion whenever they change.

    Data is None once the ConfigMap is known to be absent: at the first list, or when it was deleted. `listed` is set
    after the first list. `on_change` must not block; what it raises is logged and changes nothing.
    """

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        *,
        namespace: str,
        name: str,
        on_change: Callable[[Mapping[str, str] | None, str], None],
    ) -> None:
        self.listed = asyncio.Event()
        self._client = client
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._on_change = on_change
        self._path = core("configmaps", namespace)
        self._params = {"fieldSelector": f"metadata.name={name}"}
        self._told: tuple[str, bool] | None = None  # the version told last, and whether it was there
        self._version: str | None = None  # where the watch goes on; None: list first

    async def run(self) -> None:
        """List and watch until cancelled; survives whatever the API does, by waiting and asking again."""
        failures = 0
        while True:
            began = self._clock.now()
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
                if self._clock.now() - began >= _QUICK:
                    failures = 0
                    continue
            except Gone:
                self._version = None
            except Forbidden as error:
                self._tell_forbidden(error)
            except ApiError as error:
                _log.info("root_watch_interrupted", error=str(error), failures=failures)
            except Exception:  # noqa: BLE001  (root's watch must outlive a surprise)
                self._version = None
                _log.exception("root_watch_failed")
            if self._clock.now() - began >= _QUICK:
                failures = 0  # it worked for a while: no reason to wait long
            failures += 1
            if failures % _TRUST == 0:
                self._version = None
            await self._clock.sleep(_wait(failures))

    async def _list(self) -> None:
        answer = await self._client.request("GET", self._path, params=self._params)
        items, version = answer.get("items") or [], answer["metadata"].get("resourceVersion") or ""
        found = next((item for item in items if item["metadata"]["name"] == self._name), None)
        self._tell(found, found["metadata"]["resourceVersion"] if found else version)
        self._version = version
        self.listed.set()

    async def _watch(self) -> None:
        # A little less or more each time: replicas started together do not come back together.
        seconds = WATCH_SECONDS * random.uniform(0.8, 1.2)  # noqa: S311  (no secret depends on it)
        params = {**self._params, "resourceVersion": self._version or ""}
        async for kind, item in self._client.watch(self._path, params=params, seconds=seconds):
            metadata = item.get("metadata") or {}
            version = metadata.get("resourceVersion")
            if not version:
                raise Unavailable(f"WATCH {self._path}: an object without resourceVersion")
            if kind != "BOOKMARK" and metadata.get("name") == self._name:
                self._tell(None if kind == "DELETED" else item, version)
            self._version = version

    def _tell(self, item: Mapping[str, Any] | None, version: str) -> None:
        told = (version, item is not None)
        # An absence has the list's version, which moves on without us: told once.
        if told == self._told or (item is None and self._told is not None and not self._told[1]):
            return
        self._told = told
        try:
            self._on_change(None if item is None else item.get("data") or {}, version)
        except Exception:  # noqa: BLE001  (the caller's fault must not end the watch)
            _log.exception("root_change_failed", namespace=self._namespace, name=self._name)

    def _tell_forbidden(self, error: Forbidden) -> None:
        _log.error(
            "root_configmap_forbidden",
            namespace=self._namespace,
            name=self._name,
            error=str(error),
            mend=f"allow get, list and watch on configmaps with resourceNames [{self._name}] "
            f"in namespace {self._namespace} to the operator's ServiceAccount (Role and RoleBinding of the manifests)",
        )


def _wait(failures: int) -> float:
    """Seconds before asking again: doubling, and up to half of it at random."""
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 10))
    return wait * random.uniform(1.0, 1.5)  # noqa: S311  (no secret depends on it)
