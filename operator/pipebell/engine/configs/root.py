"""Root's configuration over time: the last good one counts, and deleting it takes effect after a grace."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import InvalidInput
from pipebell.core.root import parse_root
from pipebell.core.versions import as_number
from pipebell.engine.configs.follower import Followers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.core.models import NotificationSpec
    from pipebell.core.ports import Clock
    from pipebell.engine.configs.follower import ConfigFollower
    from pipebell.engine.ports import Notices

DELETION_GRACE: Final = 30.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Root:
    """Root as it stands: `spec` is None when there is none. `problems` is set while the ConfigMap is invalid."""

    spec: NotificationSpec | None
    generation: int = 0
    problems: str | None = None

    @property
    def unusable(self) -> bool:
        """There is a ConfigMap, but no valid version of it has been seen yet."""
        return self.spec is None and self.problems is not None


class RootStore:
    """Takes the ConfigMap's versions and says what root is."""

    def __init__(
        self,
        namespace: str,
        name: str,
        clock: Clock,
        notices: Notices,
        load_yaml: Callable[[str], Any],
    ) -> None:
        self.namespace, self.name = namespace, name
        self.listed = asyncio.Event()
        self.current = Root(None)
        self.uid = ""
        self.wrong_templates: tuple[str, ...] = ()
        """Those of its own that cannot be used, each with its fault."""
        self._clock, self._notices, self._load_yaml = clock, notices, load_yaml
        self._followers = Followers()
        self._removal: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        """In a word: unread, none, valid, invalid (and no valid version is known), or kept (the last valid one).

        Or templates: it is valid, but some of its templates cannot be used.
        """
        if not self.listed.is_set():
            return "unread"
        if self.current.problems:
            return "invalid" if self.current.unusable else "kept"
        if self.current.spec is None:
            return "none"
        return "templates" if self.wrong_templates else "valid"

    def subscribe(self, *followers: ConfigFollower) -> None:
        """Tell these of every change, in this order."""
        self._followers.subscribe(*followers)

    def update(self, data: Mapping[str, str] | None, resource_version: str, uid: str = "") -> None:
        """The ConfigMap as it is now; None when there is none."""
        if data is None:
            if self.listed.is_set() and (self.current.spec is not None or self.current.problems):
                self._schedule_removal()
        else:
            self._cancel_removal()
            self._load(data, resource_version, uid)
        self.listed.set()

    def _load(self, data: Mapping[str, str], resource_version: str, uid: str) -> None:
        generation = as_number(resource_version)
        self.uid = uid
        if self.current.generation == generation and self.current.generation:
            return
        try:
            spec = parse_root(data, self._load_yaml)
        except InvalidInput as error:
            kept = (
                "the last valid version stays in use"
                if self.current.spec is not None
                else "there is no valid version yet"
            )
            log.error(  # noqa: TRY400  (the problems say it all)
                "root_config_invalid", configmap=f"{self.namespace}/{self.name}", problems=str(error), kept=kept
            )
            message = f"{error} ({kept})"
            self._notices.warn("ConfigMap", self.namespace, self.name, uid, "InvalidRootConfiguration", message)
            self.current = Root(self.current.spec, self.current.generation, str(error))
        else:
            log.info("root_config_loaded", configmap=f"{self.namespace}/{self.name}", version=resource_version)
            self.current = Root(spec, generation)
        self._followers.on_root_change()

    def _schedule_removal(self) -> None:
        if self._removal is None:
            log.warning("root_config_deleted", configmap=f"{self.namespace}/{self.name}", grace_seconds=DELETION_GRACE)
            self._removal = asyncio.create_task(self._remove_later())

    async def _remove_later(self) -> None:
        await self._clock.sleep(DELETION_GRACE)
        self._removal = None
        self.current = Root(None)
        self._followers.on_root_change()

    def _cancel_removal(self) -> None:
        if self._removal is not None:
            self._removal.cancel()
            self._removal = None

    def close(self) -> None:
        """Stop the pending removal."""
        self._cancel_removal()
