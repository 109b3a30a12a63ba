"""Whether we may write what became of events and configurations: without that, being ready would be a lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from pipebell.core.errors import ApiError, Rejected
from pipebell.core.vocabulary import GROUP
from pipebell.kube.paths import PLURALS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient

_log = structlog.get_logger(__name__)

EVERY: Final = 30.0  # seconds between two looks while all is well; more where there are many namespaces to ask about
PACE: Final = 4.0  # questions a second, on average
SOON: Final = 5.0  # seconds, while something is missing or could not be asked
_PATH: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class _Right(NamedTuple):
    """`patch` on the status of one kind, in one namespace or (None) in all."""

    plural: str
    namespace: str | None

    def __str__(self) -> str:
        where = "all namespaces" if self.namespace is None else f"namespace {self.namespace}"
        return f"patch {self.plural}/status in {where}"


class Permissions:
    """Asks the API server (SelfSubjectAccessReview, which everybody may create) about each right, again and again.

    `events` and `configs` are the namespaces whose PipelineEvents and NotificationConfigs are served; none means all.
    """

    def __init__(self, client: ApiClient, clock: Clock, *, events: Sequence[str], configs: Sequence[str]) -> None:
        self._client, self._clock = client, clock
        self._rights = [
            *_rights(PLURALS["PipelineEvent"], events),
            *_rights(PLURALS["NotificationConfig"], configs),
        ]
        self.trouble: str | None = "the operator's permissions have not been checked yet"

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self._clock.sleep(max(EVERY if await self.check() else SOON, len(self._rights) / PACE))

    async def check(self) -> bool:
        """Whether every right was found to be there; `trouble` says which is not."""
        try:
            missing = [right for right in self._rights if not await self._allowed(right)]
        except (
            ApiError
        ) as error:  # whoever cannot be asked changes nothing; an API server that is away is reported elsewhere
            _log.debug("permissions_not_checked", error=str(error))
            return False
        before, self.trouble = self.trouble, None
        if missing:
            self.trouble = f"the operator may not {', '.join(map(str, missing))}: allow it (RBAC of the manifests)"
            if self.trouble != before:
                _log.error("permissions_missing", missing=[str(right) for right in missing])
        return not missing

    async def _allowed(self, right: _Right) -> bool:
        attributes = {"group": GROUP, "resource": right.plural, "subresource": "status", "verb": "patch"}
        if right.namespace is not None:
            attributes["namespace"] = right.namespace
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        try:
            answer = await self._client.request("POST", _PATH, body=body)
        except Rejected as error:  # Forbidden included: a cluster that does not say is believed to allow
            _log.debug("permission_check_failed", right=str(right), error=str(error))
            return True
        return bool((answer.get("status") or {}).get("allowed"))


def _rights(plural: str, namespaces: Iterable[str]) -> list[_Right]:
    return [_Right(plural, namespace) for namespace in namespaces or (None,)]
