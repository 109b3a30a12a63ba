"""Who is on the way, who waits for what, and who has arrived: the engine's memory of events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipebell.core.shards import shard_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pipebell.engine.events.state import Journey

HELD: Final = 64 << 20  # bytes of waiting events; beyond these, they stay in memory as identities only
REMEMBERED: Final = 50_000  # finished events whose late echoes must not start them again


class Roster:
    """Journeys by uid. A finished uid is remembered until the watch has said its last word about it."""

    def __init__(self) -> None:
        self._active: dict[str, Journey] = {}
        self._finished: dict[str, None] = {}
        self._for_config: dict[str, set[str]] = {}
        self._for_ledger: dict[str, None] = {}
        self._for_lease: dict[str, None] = {}
        self._held = 0

    def __len__(self) -> int:
        return len(self._active)

    def __contains__(self, uid: str) -> bool:
        return uid in self._active or uid in self._finished

    def get(self, uid: str) -> Journey | None:
        """The journey that is under way."""
        return self._active.get(uid)

    def active(self, namespace: str | None) -> list[str]:
        """Uids of the journeys that are under way, in one namespace or (None) in all."""
        return [uid for uid, journey in self._active.items() if namespace in (None, journey.namespace)]

    def add(self, journey: Journey) -> None:
        """A journey begins, by waiting for its turn."""
        self._active[journey.uid] = journey
        self.rest(journey)

    def remove(self, journey: Journey, *, forget_oldest: bool) -> None:
        """A journey is over. `forget_oldest` bounds the memory of finished ones."""
        self.discard(journey)
        self._finished[journey.uid] = None
        if forget_oldest and len(self._finished) > REMEMBERED:
            del self._finished[next(iter(self._finished))]

    def discard(self, journey: Journey) -> None:
        """A journey is somebody else's to go on with: nothing of it is remembered."""
        self.unpark(journey)
        self.work(journey)
        self._active.pop(journey.uid, None)
        self._wait_no_more(journey)

    def _wait_no_more(self, journey: Journey) -> None:
        self._for_ledger.pop(journey.uid, None)
        self._for_lease.pop(journey.uid, None)
        self.needs_no_config(journey)

    def of_shards(self, shards: Collection[int]) -> list[Journey]:
        """Journeys under way of these shards' organisations."""
        return [journey for journey in self._active.values() if shard_of(journey.org) in shards]

    def last_word(self, uid: str) -> None:
        """The watch will not speak of this event again."""
        self._finished.pop(uid, None)

    def rest(self, journey: Journey) -> None:
        """It waits for its turn or to be woken; without the event itself, when those that wait hold too much.

        What is stale is read again in any case. Those that wait to be woken leave half of the room to those that queue.
        """
        if journey.held or journey.event is None:
            return
        if journey.stale or self._held + journey.event.size > (HELD if journey.queued else HELD // 2):
            journey.event = None
            return
        journey.held = journey.event.size
        self._held += journey.held

    def work(self, journey: Journey) -> None:
        """It is being worked on, as only a few are at once."""
        self._held -= journey.held
        journey.held = 0

    def park(self, journey: Journey) -> None:
        """Wait without a slot."""
        if journey.parked or journey.uid not in self._active:
            return
        self.rest(journey)
        journey.parked = True

    @staticmethod
    def unpark(journey: Journey) -> None:
        """Wait no more."""
        journey.parked = False

    def await_config(self, journey: Journey) -> None:
        """This journey waits for its organisation's configuration (or root's) to be mended."""
        self._for_config.setdefault(journey.org, set()).add(journey.uid)

    def await_ledger(self, journey: Journey) -> None:
        """This journey waits until the past of its organisation's events is known."""
        self._for_ledger[journey.uid] = None

    def ledger_opened(self) -> list[str]:
        """Those who waited for that, in order; they wait no more."""
        waiting, self._for_ledger = self._for_ledger, {}
        return list(waiting)

    def await_lease(self, journey: Journey) -> None:
        """This journey waits until this replica may send again."""
        self._for_lease[journey.uid] = None

    def lease_renewed(self) -> list[str]:
        """Those who waited for that, in order; they wait no more."""
        waiting, self._for_lease = self._for_lease, {}
        return list(waiting)

    def needs_no_config(self, journey: Journey) -> None:
        """This journey has all it wants of its configuration."""
        waiting = self._for_config.get(journey.org)
        if waiting is not None:
            waiting.discard(journey.uid)
            if not waiting:
                del self._for_config[journey.org]

    def config_changed(self, org_slug: str | None) -> list[str]:
        """Those who waited for this organisation's configuration, or for any (None); they wait no more."""
        orgs = list(self._for_config) if org_slug is None else [org_slug]
        return [uid for org in orgs for uid in self._for_config.pop(org, ())]

    def overdue(self, now: float, max_age: float) -> Iterator[Journey]:
        """Waiting journeys that have just become too old, each once."""
        for journey in list(self._active.values()):
            if journey.parked and not journey.expired and now - journey.created > max_age:
                journey.expired = True
                yield journey
