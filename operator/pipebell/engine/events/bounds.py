"""How many unfinished events are kept track of; what is beyond the bounds stays in the API until there is room."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

TRACKED: Final = 50_000  # events, of about a kilobyte each while they wait
PER_NAMESPACE: Final = 10_000
PAYLOAD: Final = (
    64 << 20
)  # bytes of waiting events that are kept whole; the others are read again when it is their turn
PAYLOAD_PER_NAMESPACE: Final = 32 << 20
ANY: Final = "*"  # no organisation's slug: of whatever organisations the rest is
_MOST_ORGS: Final = 1_000  # remembered of one namespace's rest; beyond, it is of any


class Bounds:
    """Counts events by namespace and organisation, and says who may have one more.

    Besides the bounds nobody gets more than is left after that (as in `FairQueue`): a namespace that is full of
    one organisation's events always has room for another's, and so has the operator for another namespace's.
    """

    def __init__(
        self,
        *,
        tracked: int = TRACKED,
        per_namespace: int = PER_NAMESPACE,
        payload: int = PAYLOAD,
        payload_per_namespace: int = PAYLOAD_PER_NAMESPACE,
    ) -> None:
        self._tracked, self.per_namespace = tracked, per_namespace
        self._payload, self._payload_per_namespace = payload, payload_per_namespace
        self._orgs: dict[str, Counter[str]] = {}
        self._bytes: Counter[str] = Counter()
        self._all_events = self._all_bytes = 0
        self._behind: dict[str, set[str]] = {}

    def same_anew(self) -> Bounds:
        """The same bounds, with nothing counted yet."""
        return Bounds(
            tracked=self._tracked,
            per_namespace=self.per_namespace,
            payload=self._payload,
            payload_per_namespace=self._payload_per_namespace,
        )

    # ------------------------------------------------------------------ events

    def add(self, namespace: str, org: str) -> None:
        """One more event is kept track of."""
        orgs = self._orgs.get(namespace)
        if orgs is None:
            orgs = self._orgs[namespace] = Counter()
        orgs[org] += 1
        orgs[ANY] += 1
        self._all_events += 1

    def remove(self, namespace: str, org: str) -> None:
        """One fewer."""
        orgs = self._orgs[namespace]
        orgs[org] -= 1
        orgs[ANY] -= 1
        self._all_events -= 1
        if not orgs[org]:
            del orgs[org]
        if not orgs[ANY]:
            del self._orgs[namespace]

    def room(self, namespace: str, org: str = ANY) -> int:
        """How many more events this organisation of this namespace may have (`ANY`: one that has none yet)."""
        orgs = self._orgs.get(namespace)
        here = orgs[ANY] if orgs is not None else 0
        own = orgs[org] if orgs is not None and org != ANY else 0
        free = self._tracked - self._all_events
        most = min(self.per_namespace - here, free)
        if most <= 0:
            return 0
        as_namespace = max((free - here) // 2, 0 if here else 1)
        as_org = max((self.per_namespace - here - own) // 2, 0 if own else 1)
        return max(0, min(most, as_namespace, as_org))

    def full(self, namespace: str) -> bool:
        """Whether no organisation of this namespace may have one more."""
        return self.room(namespace) == 0

    # ------------------------------------------------------------------ what is left in the API

    def leave(self, namespace: str, org: str) -> None:
        """An event is left in the API: there is no room for it."""
        orgs = self._behind.setdefault(namespace, set())
        orgs.add(org if len(orgs) < _MOST_ORGS else ANY)

    @property
    def behind(self) -> Collection[str]:
        """Namespaces of which something is left in the API."""
        return self._behind.keys()

    def room_for_rest(self, namespace: str) -> int:
        """How many events could be taken in of what is left of this namespace, for all that is known of it."""
        return max((self.room(namespace, org) for org in self._behind.get(namespace, ())), default=0)

    def catch_up(self, namespace: str) -> None:
        """What is left of this namespace is about to be listed: whatever is left then is counted anew."""
        self._behind.pop(namespace, None)

    # ------------------------------------------------------------------ bytes

    def hold(self, namespace: str, size: int, *, share: float = 1.0) -> bool:
        """Keep an event of `size` bytes whole, if this takes no more than this share of what may be kept."""
        of_all, of_namespace = self._payload * share, self._payload_per_namespace * share
        if self._all_bytes + size > of_all or self._bytes[namespace] + size > of_namespace:
            return False
        self._bytes[namespace] += size
        self._all_bytes += size
        return True

    def release(self, namespace: str, size: int) -> None:
        """It is not kept any more, or is being worked on."""
        self._all_bytes -= size
        self._bytes[namespace] -= size
        if not self._bytes[namespace]:
            del self._bytes[namespace]
