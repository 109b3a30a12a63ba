"""How replicas share the organisations: which shard an organisation is in, and which replica should have which shards.

Each shard belongs to one replica at a time, so each cooldown key has exactly one owner. Pure rules: `engine.shards`
holds the Leases that make them true.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

SHARDS: Final = 24  # divisible by 1, 2, 3, 4, 6, 8 and 12 replicas; more than 24 replicas have some that only stand by
ALL_SHARDS: Final = frozenset(range(SHARDS))
FORMAT: Final = 3
"""Of what is written on resources, and of what shards mean. Raise it with any change by which replicas of this release
and of the one before must not work side by side: the younger ones stand by until the elder ones have left."""
REPLICA: Final = "replica-"
GROUP: Final = "pipebell.io/replicas"  # a Lease's label that says which installation it is of
# What a replica's Lease says in annotations, which people read as well (`pipebell status`).
LEAVING: Final = "pipebell.io/leaving"  # that it gives everything back
FORMAT_NUMBER: Final = "pipebell.io/format"  # how it writes
VERSION: Final = "pipebell.io/version"  # which release it is
SCOPE: Final = "pipebell.io/namespaces"  # which namespaces it serves; "" for all
ROOT: Final = "pipebell.io/root"  # how the root configuration stands, in a word
_SHARD: Final = "shard-"


@lru_cache(maxsize=20_000)
def shard_of(org_slug: str) -> int:
    """The shard of an organisation. Every replica of every version must say the same: never change it alone."""
    return crc32(org_slug.encode()) % SHARDS


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A Lease as it was read: a replica's or a shard's. `holder` is "" when nobody holds it.

    `acquired` orders replicas (text that sorts by time); `scope` is what a replica serves, "" for all namespaces;
    `format` is its `FORMAT`, 1 for a release that did not say. One
    that is `leaving` still has what it has not given back, and gets nothing more.
    """

    name: str
    holder: str
    version: str
    uid: str
    acquired: str
    scope: str = ""
    format: int = FORMAT
    transitions: int = 0
    leaving: bool = False

    @property
    def shard(self) -> int | None:
        """The shard whose Lease this is; None for a replica's."""
        number = self.name.removeprefix(_SHARD)
        return int(number) if number != self.name and number.isdecimal() else None


def shard_lease(shard: int) -> str:
    """The name of a shard's Lease within its group."""
    return f"{_SHARD}{shard:02}"


def replica_lease(replica: str) -> str:
    """The name of a replica's Lease within its group."""
    return f"{REPLICA}{replica}"


class Plan(NamedTuple):
    """What one replica should do next: shards to take that nobody has, and shards to give to others.

    `standby`: replicas of another scope or format are there, and came first.
    """

    take: Sequence[int]
    give: Sequence[int]
    standby: bool = False


def plan(
    me: str,
    replicas: Collection[LeaseRecord],
    holders: Mapping[int, str],
    busy: Collection[int] = (),
    leaving: Collection[int] = (),
) -> Plan:
    """Everybody works out the same shares from the same Leases, so nobody has to be asked.

    `replicas` are the Leases of those that live, this one included. `holders` says who holds which shard; one whose
    holder does not live is free. Shares differ by one at most, and a shard moves only when its holder has more than
    its share. While replicas of different scopes or formats are there at once (an upgrade that changes the namespaces
    to serve, or what is written), those of another than the eldest's hold nothing. `busy` shards are not taken: what
    this replica did there has not ended yet. Those `leaving` are given before others, and idle ones before busy ones,
    for they go at once.
    """
    staying = [lease for lease in replicas if not lease.leaving]
    eldest = min(staying, key=lambda lease: (lease.acquired, lease.holder), default=None)
    kind = None if eldest is None else (eldest.scope, eldest.format)
    peers = sorted(lease.holder for lease in staying if (lease.scope, lease.format) == kind)
    mine = sorted(
        (shard for shard, holder in holders.items() if holder == me),
        key=lambda shard: (shard in leaving, shard not in busy, shard),
    )
    if me not in peers:
        return Plan((), mine, standby=True)
    place = peers.index(me)
    share = SHARDS // len(peers) + (place < SHARDS % len(peers))
    if len(mine) > share:
        return Plan((), mine[share:])
    alive = {lease.holder for lease in replicas}
    free = [shard for shard in sorted(ALL_SHARDS.difference(busy)) if holders.get(shard) not in alive]
    start = place * len(free) // len(peers)  # replicas that look at the same moment do not reach for the same ones
    return Plan((free[start:] + free[:start])[: share - len(mine)], ())
