"""Whether root's own templates can be used. Root has no conditions: what is wrong stands where its other faults do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from pipebell.core.status import clip
from pipebell.engine.configs.follower import ConfigFollower

if TYPE_CHECKING:
    from pipebell.engine.configs.root import RootStore
    from pipebell.engine.ports import Notices, Templates

log = structlog.get_logger(__name__)


class RootTemplates(ConfigFollower):
    """Tries them once for each version of root: its state, the log and a Kubernetes Event say what cannot be used."""

    def __init__(self, root: RootStore, templates: Templates, notices: Notices) -> None:
        self._root, self._templates, self._notices = root, templates, notices
        self._changed = asyncio.Event()

    def on_root_change(self) -> None:
        """See `ConfigFollower`."""
        self._changed.set()

    async def run(self) -> None:
        """Try what is new, until cancelled."""
        tried = None
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._root.current.spec is not tried:  # an invalid version leaves it as it was
                tried = self._root.current.spec
                await self._try()

    async def _try(self) -> None:
        root, spec = self._root, self._root.current.spec
        wrong: list[str] = []
        if spec is not None and any(True for _ in spec.all_templates()):
            wrong = [str(each) for each in await self._templates.check(spec)]
        if root.current.spec is not spec:  # another version has come meanwhile, and is tried next
            return
        root.wrong_templates = tuple(wrong)
        if wrong:
            message = "; ".join(wrong) + "; the built-in text is used where it fails"
            log.error("root_templates_invalid", configmap=f"{root.namespace}/{root.name}", problems=message)
            self._notices.warn("ConfigMap", root.namespace, root.name, root.uid, "InvalidRootTemplates", clip(message))
