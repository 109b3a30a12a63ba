"""All NotificationConfigs that there are, by organisation and namespace: plain dicts fed by the watch, healed by lists.

Whoever has subscribed hears of every change, wherever it was learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.resolve import seniority
from pipebell.core.versions import as_number
from pipebell.engine.configs.follower import Followers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipebell.core.config import ConfigObject
    from pipebell.engine.configs.follower import ConfigFollower

Key = tuple[str, str]


class _Rivals:
    """The configurations of one organisation in one namespace, and which of them counts."""

    __slots__ = ("all", "first")

    def __init__(self, first: ConfigObject) -> None:
        self.all: dict[Key, ConfigObject] = {first.key: first}
        self.first = first

    def put(self, config: ConfigObject) -> None:
        known = self.all.get(config.key)
        self.all[config.key] = config
        if known is not None and known is self.first and seniority(known) != seniority(config):
            self.first = min(self.all.values(), key=seniority)  # another object of the same name
        elif known is self.first or seniority(config) < seniority(self.first):
            self.first = config

    def remove(self, key: Key) -> bool:
        """Whether any is left."""
        gone = self.all.pop(key)
        if self.all and gone is self.first:
            self.first = min(self.all.values(), key=seniority)
        return bool(self.all)


class ConfigStore:
    """Configurations by (namespace, name), and by organisation in each namespace: nobody pays for another's.

    Older versions never replace newer ones.
    """

    def __init__(self) -> None:
        self._followers = Followers()
        self._by_key: dict[Key, ConfigObject] = {}
        self._by_org: dict[str, dict[str, _Rivals]] = {}

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
        return tuple(config for rivals in self._by_org.get(org_slug, {}).values() for config in rivals.all.values())

    def own(self, namespace: str, org_slug: str) -> ConfigObject | None:
        """The one of an organisation's configurations in this namespace that counts there."""
        rivals = self._by_org.get(org_slug, {}).get(namespace)
        return rivals.first if rivals is not None else None

    def count(self, namespace: str, org_slug: str) -> int:
        """How many configurations an organisation has in this namespace."""
        rivals = self._by_org.get(org_slug, {}).get(namespace)
        return len(rivals.all) if rivals is not None else 0

    def rivals(self, namespace: str, org_slug: str) -> Sequence[ConfigObject]:
        """All of an organisation's configurations in this namespace."""
        rivals = self._by_org.get(org_slug, {}).get(namespace)
        return tuple(rivals.all.values()) if rivals is not None else ()

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
            if old.org_slug != config.org_slug:
                self._unlink(old)
        self._by_key[config.key] = config
        namespaces = self._by_org.setdefault(config.org_slug, {})
        rivals = namespaces.get(config.namespace)
        if rivals is None:
            namespaces[config.namespace] = _Rivals(config)
        else:
            rivals.put(config)
        if old is None or (old.uid, old.generation) != (config.uid, config.generation):
            self._followers.on_config_change(old, config)
        elif old.verify != config.verify:
            self._followers.on_verify_requested(config)
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
        namespaces = self._by_org[config.org_slug]
        if not namespaces[config.namespace].remove(config.key):
            del namespaces[config.namespace]
        if not namespaces:
            del self._by_org[config.org_slug]
