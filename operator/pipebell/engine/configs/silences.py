"""Silences in memory: which there are, and which may concern an event."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from pipebell.core.versions import as_number
from pipebell.core.vocabulary import SilencePhase

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from pipebell.core.silences.resource import Silence

MOST: Final = 200  # silences of a namespace that have not ended and are looked at for each of its events

log = structlog.get_logger(__name__)


class _Holding(NamedTuple):
    """Those of a namespace that hold events back, from a time on until another one begins or ends."""

    silences: Sequence[Silence]
    since: float
    until: float


class SilenceStore:
    """All Silences, by namespace. `home` is the operator's own namespace: silences there concern all others too."""

    def __init__(self, home: str) -> None:
        self.home = home
        self._listed: set[str | None] = set()
        self._namespaces: dict[str, dict[str, Silence]] = {}
        self._holding: dict[str, _Holding] = {}
        self._followers: list[Callable[[str | None], None]] = []

    def __len__(self) -> int:
        return sum(map(len, self._namespaces.values()))

    def __iter__(self) -> Iterator[Silence]:
        return (silence for found in self._namespaces.values() for silence in found.values())

    def count(self, phase: SilencePhase, now: Callable[[], float]) -> int:
        """How many stand so."""
        return sum(silence.phase(now()) is phase for silence in self)

    def known(self, namespace: str) -> bool:
        """Whether the silences of this namespace have been listed: until then nobody knows which are gone."""
        return bool(self._listed & {None, namespace})

    def subscribe(self, *followers: Callable[[str | None], None]) -> None:
        """Call these whenever a silence has changed, come or gone, with its namespace, or None where it may be any.

        They must neither wait nor raise.
        """
        self._followers += followers

    def get(self, namespace: str, name: str) -> Silence | None:
        """The silence of this name."""
        return self._namespaces.get(namespace, {}).get(name)

    def by(self, namespace: str, by: str) -> Silence | None:
        """What an event of this namespace calls `silence/NAME` or `platform/NAME`."""
        kind, _, name = by.partition("/")
        return self.get(self.home if kind == "platform" else namespace, name)

    def put(self, silence: Silence) -> None:
        """A silence as it is now; one that is older than what is known changes nothing."""
        known = self.get(*silence.key)
        if (
            known is not None
            and known.uid == silence.uid
            and as_number(known.resource_version) >= as_number(silence.resource_version)
        ):
            return
        self._namespaces.setdefault(silence.namespace, {})[silence.name] = silence
        if known is None or known.spec != silence.spec or known.uid != silence.uid:
            self._holding.pop(silence.namespace, None)
            self._changed(silence.namespace)

    def remove(self, namespace: str, name: str) -> None:
        """A silence is gone."""
        found = self._namespaces.get(namespace, {})
        if found.pop(name, None) is None:
            return
        if not found:
            del self._namespaces[namespace]
        self._holding.pop(namespace, None)
        self._changed(namespace)

    def keep(self, namespace: str | None, names: Collection[tuple[str, str]]) -> None:
        """A list of a namespace, or (None) of all, has shown these and no others."""
        if namespace not in self._listed:
            self._listed.add(namespace)
            self._changed(namespace)
        for silence in list(self):
            if namespace in (None, silence.namespace) and silence.key not in names:
                self.remove(*silence.key)

    def of(self, namespace: str, now: float) -> Sequence[Silence]:
        """Those that hold events back at `now` (seconds since the epoch) and may concern events of this namespace."""
        if not self._namespaces:
            return ()
        own = self._active(namespace, now)
        return own if namespace == self.home else [*own, *self._active(self.home, now)]

    def _active(self, namespace: str, now: float) -> Sequence[Silence]:
        found = self._namespaces.get(namespace)
        if not found:
            return ()
        known = self._holding.get(namespace)
        if known is None or not known.since <= now < known.until:  # not for each event: there may be thousands
            moments = (moment for silence in found.values() for moment in (silence.starts, silence.ends))
            until = min((moment for moment in moments if moment > now), default=math.inf)
            known = self._holding[namespace] = _Holding(self._look(namespace, found, now), now, until)
        return known.silences

    def _look(self, namespace: str, found: dict[str, Silence], now: float) -> list[Silence]:
        active = [silence for silence in found.values() if silence.phase(now) is SilencePhase.ACTIVE]
        if len(active) > MOST:
            log.warning("silences_ignored", namespace=namespace, active=len(active), counted=MOST)
            active = sorted(active, key=lambda silence: (silence.created, silence.name))[:MOST]
        return active

    def _changed(self, namespace: str | None) -> None:
        for follower in self._followers:
            follower(None if namespace == self.home else namespace)
