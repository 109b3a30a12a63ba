"""All NotificationConfigs that there are, by organisation: a plain dict fed by the watch, healed by lists.

Whoever has subscribed hears of every change, wherever it was learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.versions import as_number
from pipebell.engine.configs.follower import Followers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipebell.core.config import ConfigObject
    from pipebell.engine.configs.follower import ConfigFollower

Key = tuple[str, str]


class ConfigStore:
    """Configurations by (namespace, name) and by organisation. Older versions never replace newer ones."""

    def __init__(self) -> None:
        self._followers = Followers()
        self._by_key: dict[Key, ConfigObject] = {}
        self._by_org: dict[str, dict[Key, ConfigObject]] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[ConfigObject]:
        return iter(list(self._by_key.values()))

    def subscribe(self, *followers: ConfigFollower) -> None:
        """Tell these of every change, in this order."""
        self._followers.subscribe(*followers)

    def get(self, key: Key) -> ConfigObject | None:
        """The configuration of this namespace and name."""
        return self._by_key.get(key)

    def of_org(self, org_slug: str) -> Sequence[ConfigObject]:
        """All configurations of one organisation, in any namespace."""
        return tuple(self._by_org.get(org_slug, {}).values())

    def knows(self, key: Key, resource_version: str) -> bool:
        """Whether this very version, or a newer one, is in the book already."""
        known = self._by_key.get(key)
        return known is not None and as_number(known.resource_version) >= as_number(resource_version)

    def put(self, config: ConfigObject) -> ConfigObject | None:
        """Take in a version unless a newer one is known. Returns what it replaced; the same object when it did not."""
        old = self._by_key.get(config.key)
        if old is not None:
            if as_number(old.resource_version) >= as_number(config.resource_version):
                return config
            self._unlink(old)
        self._by_key[config.key] = config
        self._by_org.setdefault(config.org_slug, {})[config.key] = config
        if old is None or (old.uid, old.generation) != (config.uid, config.generation):
            self._followers.on_config_change(old, config)
        return old

    def remove(self, key: Key, uid: str | None = None) -> ConfigObject | None:
        """Forget a configuration, unless another one has taken its name meanwhile. Returns what was forgotten."""
        old = self._by_key.get(key)
        if old is None or (uid is not None and old.uid != uid):
            return None
        self._unlink(old)
        self._followers.on_config_change(old, None)
        return old

    def missing_from(self, seen: Iterable[Key], known_before: Iterable[Key]) -> list[Key]:
        """Keys that were here before a list began, and that the list did not show: deleted without our knowing."""
        present = set(seen)
        return [key for key in known_before if key not in present and key in self._by_key]

    def _unlink(self, config: ConfigObject) -> None:
        del self._by_key[config.key]
        org = self._by_org[config.org_slug]
        del org[config.key]
        if not org:
            del self._by_org[config.org_slug]
