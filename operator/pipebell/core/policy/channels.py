"""Who is notified of a failing destination, and by what: pure rules over a configuration's layers."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipebell.core.errors import NotReady
from pipebell.core.health import HealthState
from pipebell.core.layers import part_of
from pipebell.core.policy.triggers import MAX_DELIVERIES, destinations_in_use
from pipebell.core.status import HOUR, clip, rfc3339
from pipebell.core.vocabulary import EventType, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipebell.core.health import Health
    from pipebell.core.layers import Layers
    from pipebell.core.models import TriggerSpec

_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9-]")
_SHOWN: Final = 1_000  # characters of what the other side said


class Notice(NamedTuple):
    """One notice about a destination. `due` is when it was (seconds since the epoch): the same for one trouble.

    `root`: the destination is the platform's.
    """

    org: str
    destination: str
    event: EventType
    due: float
    root: bool = False

    def name(self, moment: float) -> str:
        """The event's name at a moment: the same for all who tell of this destination within one hour of UTC."""
        word = "failing" if self.event is EventType.CHANNEL_FAILING else "recovered"
        owner = "root-" if self.root else ""
        shown = _NOT_IN_NAMES.sub("-", self.destination.lower()).strip("-")
        hour = datetime.fromtimestamp(moment, UTC).strftime("%Y%m%d%H")
        digest = hashlib.sha256(f"{self.org}\0{self.destination}".encode()).hexdigest()[:8]
        return f"{owner}channel-{word}-{shown}-{hour}-{digest}"

    def names(self, created: float) -> tuple[str, str]:
        """The names that an event of this notice may have that was created then."""
        return self.name(created), self.name(created - HOUR)


def spec(notice: Notice, provider: str | None, health: Health, now: float) -> dict[str, Any]:
    """The event's spec, in the API's spelling."""
    whose = "the platform's destination" if notice.root else "destination"
    since = f"{rfc3339(health.since)[:19].replace('T', ' ')} UTC"
    if notice.event is EventType.CHANNEL_FAILING:
        minutes = max(0.0, now - health.since) / 60
        said = clip(health.message or health.reason or "no reason is known", _SHOWN)
        text = f"Messages to {whose} {notice.destination} have failed since {since} ({minutes:.0f} min): {said}"
    else:
        text = f"Messages to {whose} {notice.destination} get through again since {since}."
    details = {"destination": notice.destination, "provider": provider, "since": since, "reason": health.reason}
    return {
        "orgSlug": notice.org,
        "event": notice.event.value,
        "errorMessage": text,
        "details": {key: value for key, value in details.items() if value},
        "notice": {"kind": NoticeKind.CHANNEL.value, "destination": notice.destination, "due": rfc3339(notice.due)},
    }


def trigger_of(layers: Layers, event: EventType) -> TriggerSpec | None:
    """What the configuration says of notices about channels; without any trigger they are sent."""
    return next((item for item in layers.triggers or () if item.event is event), None)


def others(
    layers: Layers,
    event: EventType,
    failing: str,
    known: Callable[[str, bool], Health | None],
    *,
    root: bool = False,
) -> tuple[str, ...]:
    """The destinations that are notified of one that fails; none when there is no other one that works.

    What the event's trigger names; else those with an endpoint of the organisation's own, first the ones that its
    triggers use. Root's only where there is none, and `tellRoot` is set, or where it is root's own trouble (`root`).
    `known` gives a destination's health, by its name and whether its endpoint is root's.
    """
    working = _Working(layers, failing, known, root=root)
    trigger = trigger_of(layers, event)
    if trigger is not None and trigger.providers:
        return working.deliveries(trigger.providers)
    names = dict.fromkeys((*destinations_in_use(layers), *layers.names()))
    own = [name for name in names if not working.is_root(name)]
    used = set(destinations_in_use(layers))
    return (
        working.deliveries(name for name in own if name in used)
        or working.deliveries(own)
        or (working.deliveries(names) if root or layers.channel_health.tell_root else ())
    )


class _Working:
    """Which destinations would take a message, as far as is known."""

    def __init__(
        self, layers: Layers, failing: str, known: Callable[[str, bool], Health | None], *, root: bool
    ) -> None:
        self._layers, self._failing, self._known, self._root = layers, failing, known, root
        self._endpoint = self._endpoint_of(failing)

    def is_root(self, name: str) -> bool:
        """Whether a destination's endpoint is root's."""
        found = self._layers.destination(name)
        return found is not None and found.block.trusted

    def deliveries(self, names: Iterable[str]) -> tuple[str, ...]:
        """Of these, the ones that work, each with its parts."""
        parts = (part for name in names if self._works(name) for part in self._layers.deliveries(name))
        return tuple(dict.fromkeys(parts))[:MAX_DELIVERIES]

    def _works(self, name: str) -> bool:
        same = part_of(name)[0] == self._failing and self.is_root(name) == self._root
        endpoint = self._endpoint_of(name)
        if same or endpoint is None or endpoint == self._endpoint or not self._layers.enabled(name):
            return False
        health = self._known(part_of(name)[0], self.is_root(name))
        return health is None or health.state is not HealthState.FAILING

    def _endpoint_of(self, name: str) -> tuple[object, ...] | None:
        try:
            target = self._layers.target(name)
        except NotReady:
            return None
        return (target.kind, *target.endpoint)
