"""What a kind of destination is; its typed field in `pipebell.core.models.Blocks` registers it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, Protocol, Self

from pydantic import Field, model_validator

from pipebell.core.fields import (
    BESIDE,
    FOLLOWS_ENDPOINT,
    ROOT_ONLY,
    Destinations,
    FailoverSeconds,
    Flag,
    Glob,
    Spec,
    referable,
)
from pipebell.core.outcome import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.core.destinations.block import Block
    from pipebell.core.outcome import Attempt


# Of a block on the top level, and beside one in `destinations[]`.
FAILOVER: Final = "Destinations that get the message instead, when this one fails for good or is not reached in time."
FAILOVER_AFTER: Final = (
    "Seconds from the moment when a message was first due here until it also goes to failover. Default 300."
)
SEND_RECOVERY: Final = "Whether it is told there that an incident is over. Default true."


class Allow(Spec):
    """Which organisations may use one of root's destinations by name. All that is set must match."""

    namespaces: Annotated[list[Glob], Field(min_length=1, max_length=50)] = Field(
        description="Names of namespaces; * and ? stand for any characters and any one."
    )
    orgs: Annotated[list[Glob], Field(min_length=1, max_length=50)] | None = Field(
        None, description="Slugs of organisations, with * and ?. Unset: all in these namespaces."
    )


class Sourced(Spec):
    """An object with secrets, each of which has one source. Subclasses are decorated by `with_references`."""

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        for trait in referable(type(self)):
            if getattr(self, trait.name) is not None and getattr(self, f"{trait.name}_secret_ref") is not None:
                raise ValueError(f"set {trait.camel} or {trait.camel}SecretRef, not both")
        return self


class DestinationSpec(Sourced):
    """Settings of a destination of some kind. Subclasses are decorated by `with_references`."""

    enabled: Flag | None = Field(None, description="Whether messages may be sent there. Unset means yes.")
    allow: Annotated[Allow | None, ROOT_ONLY] = Field(
        None, description="In the root configuration: which organisations may name this destination."
    )
    failover: Annotated[Destinations | None, BESIDE, FOLLOWS_ENDPOINT] = Field(None, description=FAILOVER)
    failover_after_seconds: Annotated[FailoverSeconds | None, BESIDE] = Field(None, description=FAILOVER_AFTER)
    send_recovery: Annotated[Flag | None, BESIDE] = Field(None, description=SEND_RECOVERY)


class Target(Protocol):
    """Where exactly a message goes: a destination with all its settings resolved, filled and defaulted.

    A target is made for one attempt from the current configuration and thrown away; secrets in it never reach a `repr`.
    """

    @property
    def kind(self) -> str:
        """The name of its kind."""

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a "too many" answer pauses: the server and the account there."""

    @property
    def recipients(self) -> str:
        """The recipients there, for people: at most 200 characters, no number and nothing that is root's in full."""

    @property
    def trusted(self) -> bool:
        """Whether the endpoint comes from root's configuration, which may name any host."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """Which hosts organisations may have this kind reach over HTTPS.

    `exact` names are allowed on port 443 only; of `suffixes` (".example.com") every host below them. `anywhere` allows
    every host whose address may be connected to. A host that the platform team lists in PIPEBELL_ALLOWED_HOSTS is
    allowed beside `exact` and `suffixes`, and instead of `anywhere`. `http`: without TLS too, where
    PIPEBELL_PRIVATE_HOSTS lists the host or the address that it leads to.
    """

    exact: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    anywhere: bool = False
    http: bool = False


class Rate(NamedTuple):
    """How fast messages may go to one endpoint: `burst` at once, then `per_second`."""

    per_second: float
    burst: int = 1


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a kind can do, for documentation, tests and whoever sends a second message of the same thread.

    `idempotent`: the receiver drops a repeated message by its identity. `threads`: a handle continues a thread.
    `edits`: a handle changes the first message. `acknowledges`, `resolves`: alerts there can be.
    `limit` is bytes of an encoded request that the receiver takes; `characters` is what it takes of the text, as it
    counts them, where that is the narrower limit. `per_second` is how fast messages may go to one
    endpoint by its documents, and `burst` is how many may go at once after a while without any: in no window of the
    receiver's are there more than it allows.
    """

    idempotent: bool = False
    threads: bool = False
    edits: bool = False
    acknowledges: bool = False
    resolves: bool = False
    limit: int | None = None
    characters: int | None = None
    per_second: float | None = None
    burst: int = 1

    def can(self, action: Action) -> bool:
        """Whether the kind is able to do that at all; `Kind.can` knows of one destination."""
        return {
            Action.SEND: True,
            Action.REPLY: self.threads,
            Action.EDIT: self.edits,
            Action.ACKNOWLEDGE: self.acknowledges,
            Action.RESOLVE: self.resolves,
        }[action]


def _always(_target: Any) -> bool:  # noqa: ANN401  (a kind's target)
    return True


def _undivided(_block: Block) -> int:
    return 0


def _whole(target: Any, _position: int) -> Any:  # noqa: ANN401
    return target


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Everything about one kind of destination.

    `name` is what configurations and statuses call it (camelCase), `title` what people call it. `spec` is the model of
    its block, `target` makes a target from a block or raises NotReady that names the field. `example` is a complete
    block in camelCase: its values stand in for secrets that cannot be read, and every test and sample starts from it.

    `count` is how many deliveries a destination is, each with a record of its own: 0 for one that is not divided.
    `part` makes the target of the one at a position, from 1, out of the whole one. `follows_up` says whether messages
    by this target leave handles: of Slack, those of a bot token do and those of a webhook do not.
    """

    name: str
    title: str
    spec: type[DestinationSpec]
    target: Callable[[Block], Any]
    example: Mapping[str, Any]
    hosts: Hosts = field(default_factory=Hosts)
    capabilities: Capabilities = field(default_factory=Capabilities)
    count: Callable[[Block], int] = _undivided
    part: Callable[[Any, int], Any] = _whole
    follows_up: Callable[[Any], bool] = _always
    seed: bool = False  # one of the file-based system's two: organisations may name root's without `allow`

    def rate(self, target: Any) -> Rate | None:  # noqa: ANN401, ARG002  (a kind's target; for kinds that have one)
        """How fast messages may go to this endpoint; None where nobody says so."""
        return None

    def can(self, target: Target, action: Action) -> bool:
        """Whether an attempt at this destination may have this action: what else to do is for who decides."""
        by_handle = action in (Action.REPLY, Action.EDIT)
        return self.capabilities.can(action) and (not by_handle or self.follows_up(target))

    def feasible(self, target: Target, attempt: Attempt) -> Attempt | None:
        """The attempt as this destination is able to make it: a reply as a message of its own; None for nothing."""
        if self.can(target, attempt.action):
            return attempt
        return replace(attempt, action=Action.SEND, handle=None) if attempt.action is Action.REPLY else None


DEFAULT_KIND: Final = "email"
