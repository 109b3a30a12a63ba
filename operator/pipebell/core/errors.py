"""Pipebell's exceptions and how a wrong input is described to people.

- PipebellError
- - InvalidInput: a document breaks the rules; carries every problem, by path
- - - InvalidEvent: a stored PipelineEvent
- - - InvalidIncident: a stored Incident
- - SettingsError: an environment variable or flag cannot be used
- - - NotHonouredError: a kubeconfig asks for what cannot be done (`kubeconfig.context`)
- - NotReady: a configuration cannot be used for a destination, and why
- - Fenced: this replica may not send, for its leases ran out; nothing was sent
- - ApiError: the Kubernetes API did not do what was asked
- - - Conflict: 409, the object changed since it was read
- - - NotFound: 404, the object (or its namespace) is gone
- - - Rejected: other 4xx, asking again the same way will not help
- - - - TooLarge: more bytes than the API server, or etcd behind it, takes
- - - - Forbidden: 403, this identity may not do that
- - - - Gone: 410, the resourceVersion or the list's snapshot is forgotten
- - - TooLong: the answer has more bytes than are wanted
- - - Unavailable: 5xx, 429, timeouts, broken connections; asking again later may help
- - - - Silent: nothing came for so long that the connection is taken for dead (`kube.client`)
- - ClusterError: the local control plane did not do what was asked (`cluster.errors`)
- - - StuckNamespace: objects in a namespace do not go away (`cluster.errors`)
- - - Refused: its API server did not (`cluster.client`)
- - - PortTaken: another process listens there (`cluster.launch`)
- - StageError: the demo's stage did not come up (`demo.process`)
- - Unusable: no configuration can be shown (`cli.effective`)
- - NotDelivered: an event that was waited for (`cli.watching`)
- - NothingToReplay: there is no delivery that failed (`cli.replay`)
- - NothingToSay: an incident is so already (`cli.respond`)
- - Stopped: some events were not sent again (`cli.replay_failed`)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.core.vocabulary import NotReadyReason


class PipebellError(Exception):
    """Base of all errors that Pipebell raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `path` as the user wrote it (`email.smtp_port`), `message` with how to fix it."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidInput(PipebellError):  # noqa: N818  (it names the input's state)
    """A document breaks the rules."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class InvalidEvent(InvalidInput):
    """A stored PipelineEvent whose spec cannot be parsed; who it is, so that this can be recorded on it."""

    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        namespace: str,
        name: str,
        uid: str,
        resource_version: str,
        phase: str | None = None,
    ) -> None:
        super().__init__(problems)
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.resource_version = resource_version
        self.phase = phase  # what its status says so far


class InvalidIncident(InvalidInput):
    """A stored Incident whose spec cannot be parsed."""

    def __init__(self, problems: Sequence[Problem], *, namespace: str, name: str) -> None:
        super().__init__(problems)
        self.namespace, self.name = namespace, name


class SettingsError(PipebellError):
    """An environment variable or flag cannot be used."""


class NotReady(PipebellError):  # noqa: N818
    """A configuration cannot be used. `message` names the field or variable, never a value."""

    def __init__(self, reason: NotReadyReason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(f"{reason}: {message}")


class Fenced(PipebellError):  # noqa: N818  (it names what this replica is)
    """This replica may not send for this organisation (any more). Nothing was sent."""


class ApiError(PipebellError):
    """The Kubernetes API did not do what was asked. The message carries no credential."""


class Conflict(ApiError):  # noqa: N818
    """409: the object changed since it was read, or exists already."""


class NotFound(ApiError):  # noqa: N818
    """404: the object is gone."""


class Rejected(ApiError):  # noqa: N818
    """The request was refused: not permitted, or invalid."""


class TooLarge(Rejected):
    """The object is larger than what the API server, or etcd behind it, takes."""


class Forbidden(Rejected):
    """403: this identity is not permitted to do that."""


class TooLong(ApiError):  # noqa: N818
    """The answer has more bytes than are wanted."""


class Gone(Rejected):
    """410: the resourceVersion or the list's snapshot is forgotten. `continue_token` goes on at the present state."""

    def __init__(self, message: str, continue_token: str | None = None) -> None:
        self.continue_token = continue_token
        super().__init__(message)


class Unavailable(ApiError):  # noqa: N818
    """The API server did not answer in time, or is overloaded. `retry_after` is seconds, when it named a time."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)
