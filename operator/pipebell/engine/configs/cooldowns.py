"""Which cooldown is configured now, for whoever asks about events of the past."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.policy.triggers import DEFAULT_COOLDOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipebell.core.models import NotificationSpec
    from pipebell.core.vocabulary import EventType
    from pipebell.engine.configs.root import RootStore
    from pipebell.engine.configs.store import ConfigStore, Key


class ConfiguredCooldowns:
    """Looks cooldowns up in the configurations that there are."""

    def __init__(self, store: ConfigStore, root: RootStore) -> None:
        self._store, self._root = store, root

    def of(self, key: Key | None, kind: EventType) -> float:
        """The longest cooldown (seconds) configured for events of a type in a configuration, or (None) in root's."""
        config = self._store.get(key) if key is not None else None
        specs = [config.spec if config is not None else None, self._root.current.spec]
        triggers = next((s.event_triggers for s in specs if s is not None and s.event_triggers is not None), None)
        cooldown: float = DEFAULT_COOLDOWN
        for trigger in triggers or ():
            if trigger.event is kind and trigger.cooldown_seconds is not None:
                cooldown = trigger.cooldown_seconds
        return max(cooldown, *_of_overrides(specs, kind), 0)


def _of_overrides(specs: Sequence[NotificationSpec | None], kind: EventType) -> Iterator[float]:
    """Those of rules for some pipelines: the longest decides how long an event is needed."""
    overrides = next((s.pipeline_overrides for s in specs if s is not None and s.pipeline_overrides is not None), None)
    for item in overrides or ():
        if item.cooldown_seconds is not None and (item.events is None or kind in item.events):
            yield item.cooldown_seconds
