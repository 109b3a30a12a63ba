"""What an event may wait for: whoever changes it wakes those that wait by its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipebell.core.incidents.keys import IncidentKey
    from pipebell.engine.events.ledger import CooldownKey


@dataclass(frozen=True, slots=True)
class Config:
    """A change of the configuration of an organisation in a namespace, or of root's."""

    namespace: str
    org: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """The past of a shard's organisations."""

    shard: int


@dataclass(frozen=True, slots=True)
class Lease:
    """That this replica may send again."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The outcome of the event that is being sent for this cooldown."""

    key: CooldownKey


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of the event that is being sent for this incident."""

    key: IncidentKey


Key = Config | Ledger | Lease | Turn | Outcome
LEASE: Final = Lease()
