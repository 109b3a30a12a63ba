"""From an event to the configuration that serves it, with everything that configuration needs to be used."""

from __future__ import annotations

import asyncio
from operator import is_
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from pipebell.core import resolve
from pipebell.core.errors import NotFound, NotReady, Rejected, Unavailable
from pipebell.core.layers import Layer, Layers
from pipebell.core.placeholders import Environment, OrgSecrets
from pipebell.core.policy.configured import disabled, nobody
from pipebell.core.policy.situation import Resolved
from pipebell.core.status import ConfigReference
from pipebell.core.vocabulary import NotReadyReason
from pipebell.engine.configs.follower import Followers

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from pipebell.core.config import ConfigObject
    from pipebell.core.models import NotificationSpec
    from pipebell.core.policy.decision import Skip
    from pipebell.engine.configs.follower import ConfigFollower
    from pipebell.engine.configs.root import Root, RootStore
    from pipebell.engine.configs.store import ConfigStore
    from pipebell.engine.ports import Ports

MOST_KEPT: Final = 256  # configurations whose layers are kept ready, at some 5 KB each
KEPT: Final = 60.0  # seconds

log = structlog.get_logger(__name__)


class Resolver:
    """Finds and assembles configurations; asks the API only where the store is not enough."""

    def __init__(
        self,
        store: ConfigStore,
        root: RootStore,
        ports: Ports,
        *,
        environ: Mapping[str, str],
        shared_namespaces: Sequence[str],
    ) -> None:
        self._store, self._root = store, root
        self._configs, self._secrets, self._namespaces = ports.configs, ports.secrets, ports.namespaces
        self._environment = Environment(environ)
        self._shared = tuple(shared_namespaces)
        self._followers = Followers()
        self._lists: dict[tuple[str, str], _SharedList] = {}
        self._made: dict[tuple[str, str], _Made] = {}

    def subscribe(self, *followers: ConfigFollower) -> None:
        """Tell these which configurations events find unusable."""
        self._followers.subscribe(*followers)

    def refused(self, resolved: Resolved, error: NotReady) -> None:
        """An event found this configuration unusable. Root's own has no status that could say so."""
        if resolved.config is not None:
            self._followers.on_config_refused(resolved.config, error)

    def names(self, namespace: str, org_slug: str) -> bool:
        """Whether a configuration that may serve events of this namespace names this organisation."""
        return any(self._store.own(where, org_slug) is not None for where in (namespace, *self._shared))

    def reach(self, config: ConfigObject) -> str | None:
        """The only namespace whose events this configuration may serve; None when it may serve others' too."""
        return None if config.namespace in self._shared else config.namespace

    async def resolve(self, namespace: str, org_slug: str) -> Resolved | Skip:
        """The configuration for an event of this organisation in this namespace.

        Raises NotReady when there is one that cannot be used yet, Unavailable when the API could not be asked.
        """
        config = self._store.own(namespace, org_slug)
        if config is None:
            # The watch may be behind the event: nothing but its own configuration may be used before asking.
            await self._ask(namespace, org_slug)
            config = self._store.own(namespace, org_slug) or await self._shared_one(namespace, org_slug)
        if config is not None:
            return await self._with_org(config)
        return await self._with_root()

    async def _shared_one(self, namespace: str, org_slug: str) -> ConfigObject | None:
        found = (self._store.own(shared, org_slug) for shared in self._shared)
        known = [config for config in found if config is not None]
        labels = None
        if resolve.wants_labels(known, self._shared):
            try:
                labels = await self._namespaces.labels(namespace)
            except (NotFound, Rejected) as error:
                log.warning("namespace_labels_unknown", namespace=namespace, error=str(error))
        return resolve.shared(known, namespace, labels, self._shared)

    async def _with_org(self, config: ConfigObject) -> Resolved | Skip:
        if config.spec is None:
            raise NotReady(NotReadyReason.INVALID, "; ".join(map(str, config.problems)))
        reference = ConfigReference(
            kind="NotificationConfig", namespace=config.namespace, name=config.name, generation=config.generation
        )
        if config.spec.enabled is False:
            return disabled(reference)
        layers = await self.layers(config)
        return Resolved(layers, reference, config)

    async def _with_root(self) -> Resolved | Skip:
        await self._root.listed.wait()
        root = self._root.current
        if root.unusable:
            raise NotReady(NotReadyReason.INVALID, f"the root configuration is invalid: {root.problems}")
        if root.spec is None:
            return nobody()
        reference = ConfigReference(
            kind="RootConfig", namespace=self._root.namespace, name=self._root.name, generation=root.generation or None
        )
        if root.spec.enabled is False:
            return disabled(reference)
        return Resolved(Layers(None, self._root_layer()), reference, None)

    def _root_layer(self) -> Layer | None:
        spec = self._root.current.spec
        return None if spec is None else Layer(spec, self._environment, root=True)

    def platform(self) -> Layers | None:
        """Root's settings by themselves; None while there are none."""
        layer = self._root_layer()
        return None if layer is None else Layers(None, layer)

    def without_secrets(self, reference: ConfigReference) -> Layers:
        """The configuration of this name over root's, as it is now: for what no Secret decides."""
        config = None if reference.kind == "RootConfig" else self._store.get((reference.namespace, reference.name))
        spec = config.spec if config is not None else None
        org = None if spec is None else Layer(spec, OrgSecrets(None, {}))
        return Layers(org, self._root_layer(), reference.namespace)

    async def layers(self, config: ConfigObject, *, fresh: bool = False) -> Layers:
        """The organisation's settings over root's, with the Secrets that it references. `config.spec` must be there."""
        assert config.spec is not None  # noqa: S101  (callers have checked; tells mypy)
        await self._root.listed.wait()
        if self._root.current.unusable and leans_on_root(config.spec):
            raise NotReady(NotReadyReason.INVALID, f"the root configuration is invalid: {self._root.current.problems}")
        secrets: dict[str, Mapping[str, str] | None] = {}
        unreadable: dict[str, str] = {}
        for name in config.secrets:
            try:
                secrets[name] = await self._secrets.read(config.namespace, name, fresh=fresh)
            except (Rejected, NotFound) as error:
                unreadable[name] = str(error)
        root = self._root.current
        kept = self._made.get(config.key)
        if kept is not None and kept.of(config, root, secrets) and not unreadable:
            return kept.layers
        reference = config.spec.secret_ref
        org = Layer(config.spec, OrgSecrets(reference.name if reference else None, secrets, unreadable))
        layers = Layers(org, self._root_layer(), config.namespace)
        if not unreadable:
            self._keep(_Made(config, root, secrets, layers))
        return layers

    def _keep(self, made: _Made) -> None:
        """For the events that follow. Values of Secrets do not stay longer than a minute, even if none follows."""
        if not self._made:
            asyncio.get_running_loop().call_later(KEPT, self._made.clear)
        if len(self._made) >= MOST_KEPT:
            self._made.clear()
        self._made[made.config.key] = made

    async def _ask(self, namespace: str, org_slug: str) -> None:
        """A consistent list of the organisation's configurations, begun after now; shared by all who wait for it."""
        key = (namespace, org_slug)
        shared = self._lists.setdefault(key, _SharedList())
        shared.users += 1
        try:
            await shared.run(lambda: self._list(namespace, org_slug))
        finally:
            shared.users -= 1
            if not shared.users:
                self._lists.pop(key, None)

    async def _list(self, namespace: str, org_slug: str) -> None:
        namespaces = list(dict.fromkeys((namespace, *self._shared)))
        before = [config.key for where in namespaces for config in self._store.rivals(where, org_slug)]
        try:
            found = await self._configs.of_org(org_slug, namespaces)
        except (NotFound, Rejected) as error:
            raise Unavailable(f"configurations of {org_slug} cannot be listed: {error}") from error
        for config in found:
            self._store.put(config)
        for gone in self._store.missing_from((config.key for config in found), before):
            self._store.remove(gone)


def leans_on_root(spec: NotificationSpec) -> bool:
    """Whether which events notify, and through what, is for root to say."""
    triggers = spec.event_triggers
    if triggers is None:
        return True
    lists = [trigger.providers for trigger in triggers]
    lists += [item.providers for item in spec.pipeline_overrides or () if item.providers is not None]
    return spec.default_provider is None and not all(lists)


class _Made(NamedTuple):
    """Layers, and what they were made of."""

    config: ConfigObject
    root: Root
    secrets: Mapping[str, Mapping[str, str] | None]
    layers: Layers

    def of(self, config: ConfigObject, root: Root, secrets: Mapping[str, Mapping[str, str] | None]) -> bool:
        """Whether it is all the same objects; where anything was read anew, it may say something else."""
        same = self.config is config and self.root is root  # the same configuration names the same Secrets
        return same and all(map(is_, self.secrets.values(), secrets.values()))


class _SharedList:
    """Runs a list at most once at a time; whoever asks while one is under way shares the next one."""

    def __init__(self) -> None:
        self.users = 0
        self._current: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def run(self, fetch: Callable[[], Coroutine[None, None, None]]) -> None:
        if self._current is None or self._current.done():
            self._current = asyncio.ensure_future(fetch())
            await asyncio.shield(self._current)
            return
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._current, fetch))
        await asyncio.shield(self._next)

    async def _after(self, earlier: asyncio.Task[None], fetch: Callable[[], Coroutine[None, None, None]]) -> None:
        await asyncio.wait({earlier})
        self._current, self._next = self._next, None
        await fetch()
