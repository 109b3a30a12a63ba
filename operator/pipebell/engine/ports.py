"""What the engine needs from the outside, as Protocols: a clock, the API, providers. `wiring` joins them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from pipebell.core.config import ConfigObject
    from pipebell.core.event import Event, EventPage
    from pipebell.core.incidents.resource import Incident, IncidentPhase, IncidentSpec
    from pipebell.core.message import Message
    from pipebell.core.models import NotificationSpec
    from pipebell.core.ports import Clock, Provider
    from pipebell.core.shards import LeaseRecord
    from pipebell.core.silences.resource import Silence
    from pipebell.core.vocabulary import Phase


class Ownership(Protocol):
    """Which organisations are this replica's."""

    def owns(self, org_slug: str) -> bool:
        """Whether this organisation is this replica's to serve."""

    def may_send(self, org_slug: str) -> bool:
        """Whether this replica may send for it at this very moment."""


class Events(Protocol):
    """PipelineEvents in the API. All methods raise `ApiError`s."""

    async def get(self, namespace: str, name: str) -> Event:
        """The event as it is now (a consistent read)."""

    async def patch_status(
        self, namespace: str, name: str, uid: str, resource_version: str, status: Mapping[str, Any]
    ) -> str:
        """Merge-patch the status, fenced by uid and resourceVersion; returns the new resourceVersion."""

    def scan(
        self, phases_excluded: Sequence[str] = (), wanted: Callable[[str, str, bool], bool] | None = None
    ) -> AsyncIterator[EventPage]:
        """All events in the watched namespaces, page by page, with a consistent first page.

        `wanted(namespace, org, new)` says of each whether it is of any interest; `new`: nothing has been tried for it,
        and it is not finished.
        """

    def unfinished(self, namespace: str, known: Callable[[str], bool]) -> AsyncIterator[list[Event]]:
        """The unfinished events of one namespace but those whose uid is `known`, some at a time."""

    def ended(self, namespace: str, phase: Phase) -> AsyncIterator[list[Event]]:
        """The events of one namespace that ended in this phase, page by page."""

    async def delete(self, namespace: str, name: str, uid: str) -> None:
        """Delete the event if it still has this uid."""

    async def create(self, namespace: str, name: str, spec: Mapping[str, Any]) -> None:
        """Create an event. Raises Conflict when there is one of this name, Rejected when it is not admitted."""


class Incidents(Protocol):
    """Incidents in the API. All methods raise `ApiError`s."""

    async def get(self, namespace: str, name: str) -> Incident:
        """The incident as it is now (a consistent read)."""

    def scan(
        self, *, org_slug: str | None = None, phases_excluded: Sequence[IncidentPhase] = ()
    ) -> AsyncIterator[list[Incident]]:
        """Incidents in the watched namespaces, of one organisation or of all, page by page."""

    async def create(self, namespace: str, name: str, spec: IncidentSpec) -> Incident:
        """A new incident; its status is another write. Raises Conflict when one of this name exists already."""

    async def patch_status(self, incident: Incident, status: Mapping[str, Any]) -> str:
        """Merge-patch the status, fenced by the incident's uid and version; returns the new resourceVersion."""

    async def delete(self, namespace: str, name: str, uid: str) -> None:
        """Delete it if it still has this uid."""


class Silences(Protocol):
    """Silences in the API. All methods raise `ApiError`s."""

    async def patch_status(self, silence: Silence, status: Mapping[str, Any]) -> Silence | None:
        """Merge-patch the status, fenced by version; the silence as it is then. Raises Conflict when it has changed."""


class Configs(Protocol):
    """NotificationConfigs in the API."""

    async def of_org(self, org_slug: str, namespaces: Sequence[str]) -> list[ConfigObject]:
        """A consistent list of the configurations of one organisation in these namespaces."""

    def scan(self) -> AsyncIterator[list[ConfigObject]]:
        """All configurations, page by page, with a consistent first page."""

    async def patch_status(
        self,
        config: ConfigObject,
        status: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
        allowed: Callable[[], bool] = ...,
    ) -> None:
        """Merge-patch the status of the object with this uid, whatever else changed; raises Fenced if not `allowed`.

        A `status` that can be called is asked for before each try: what else is written there meanwhile may change it.
        """


class Secrets(Protocol):
    """Secrets by name; only those that a configuration references are ever asked for."""

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Mapping[str, str] | None:
        """The Secret's keys with decoded values; None when there is no such Secret. Cached up to 60 s unless fresh.

        Keys whose values are not UTF-8 text are left out. Raises ApiError when it cannot be known.
        """


class Namespaces(Protocol):
    """Labels of namespaces, for `eventNamespaces.selector`."""

    async def labels(self, namespace: str) -> Mapping[str, str]:
        """The namespace's labels, cached up to 60 s. Raises ApiError."""


class Notices(Protocol):
    """Kubernetes Events: what `kubectl describe` shows."""

    def warn(self, kind: str, namespace: str, name: str, uid: str, reason: str, message: str) -> None:
        """Post a Warning in the background, rate-limited; failures are only logged."""


class Templates(Protocol):
    """Organisations' own texts. Nothing is raised, and nobody waits long: built-in texts stand in for what fails."""

    async def render(self, message: Message, kind: str, sources: Mapping[str, str]) -> tuple[Message, str]:
        """The message with what these templates of a kind's fields make of it; and what failed, for people."""

    async def check(self, spec: NotificationSpec, namespace: str = "") -> Sequence[object]:
        """What is wrong with the templates of a namespace's configuration, each as one line for people."""


class BuiltInTexts:
    """Where no templates can be run: see `Templates`."""

    async def render(self, message: Message, kind: str, sources: Mapping[str, str]) -> tuple[Message, str]:  # noqa: ARG002
        """Nothing is made, and that is said."""
        return message, "templates cannot be run here"

    async def check(self, spec: NotificationSpec, namespace: str = "") -> Sequence[object]:  # noqa: ARG002  (see above)
        """Nothing is known of them."""
        return ()


class Leases(Protocol):
    """The Leases of one group of replicas. All methods raise ApiErrors, and give up within a few seconds."""

    async def list(self) -> Sequence[LeaseRecord]:
        """All of them (a consistent read)."""

    async def create(self, name: str, holder: str, scope: str, number: int = ...) -> LeaseRecord:
        """Raises Conflict when it exists already, NotFound when the namespace does not."""

    async def renew(self, name: str, *, leaving: bool) -> None:
        """Say that its holder lives, and whether it is leaving. Raises NotFound when it was taken away."""

    async def hand(self, lease: LeaseRecord, holder: str) -> LeaseRecord:
        """Give it to a holder ("" for none) if it is as it was read. Raises Conflict when it is not."""

    async def delete(self, lease: LeaseRecord) -> None:
        """Remove it if it is as it was read. Raises Conflict when it is not."""


def _unnamed() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Ports:
    """All that the engine needs from the outside, as one value.

    `installation` names this operator to receivers that several may send to; it stays the same over restarts.
    """

    clock: Clock
    events: Events
    configs: Configs
    secrets: Secrets
    namespaces: Namespaces
    notices: Notices
    ownership: Ownership
    providers: Mapping[str, Provider]
    installation: Callable[[], str] = _unnamed
    incidents: Incidents | None = None
    templates: Templates = field(default_factory=BuiltInTexts)
