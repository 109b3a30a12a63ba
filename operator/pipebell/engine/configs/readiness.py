"""Whether each NotificationConfig can be used: its conditions `Ready` and `Shared`, kept true."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import ApiError, Fenced, NotFound, NotReady
from pipebell.core.policy.triggers import check_plans, destinations_to_check
from pipebell.core.shards import shard_of
from pipebell.core.status import Condition, clip, rfc3339
from pipebell.core.vocabulary import NotReadyReason
from pipebell.engine.configs.follower import ConfigFollower, Followers
from pipebell.engine.queue import FairQueue
from pipebell.engine.shards.follower import ShardFollower
from pipebell.engine.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pipebell.core.config import ConfigObject
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.configs.store import ConfigStore, Key
    from pipebell.engine.ports import Ports

FIRST_POLL, LAST_POLL, POLL_GROWTH = 4.0, 45.0, 1.5  # seconds between looks for a missing Secret
AT_ONCE: Final = 32  # evaluations; of one namespace a quarter of them
FEW: Final = 8  # rivals that are evaluated at once when another one counts
PACE: Final = 0.01  # seconds between two evaluations that nobody waits for
CHECK_PATIENCE: Final = 1.0  # seconds for looking up a host; a slow name server must not delay the condition
LAST_WAKE: Final = 600.0  # seconds between two times that events are woken which are refused although it is Ready
SOON: Final = 60.0  # seconds after it was found Ready in which a refusal is of what was known then
DISTRUST: Final = 60.0  # seconds that a refusal at connect time outweighs a check that finds nothing wrong
_DELIVERABLE: Final = "Deliverable"  # judged by what became of messages (engine.upkeep.health)
_OF_OTHERS: Final = (
    NotReadyReason.MISSING_SECRET,
    NotReadyReason.MISSING_VARIABLE,
    NotReadyReason.HOST_NOT_ALLOWED,
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ConditionValue:
    """One condition's value."""

    type: str
    status: bool
    reason: str
    message: str


@dataclass(slots=True)
class _State:
    """What is remembered per configuration that is not Ready, or that events were refused by all the same."""

    polls: int = 0
    polling: bool = False
    refused: bool = False  # since it was judged last
    ready_at: float | None = None  # when it was found Ready although an event had been refused

    def forget_refusals(self) -> None:
        """Settings are other ones now: whoever was refused may go on."""
        self.polls, self.ready_at = 0, None

    distrusted_generation: int = 0
    distrusted_until: float = 0.0
    distrust: str = ""


class Readiness(ConfigFollower, ShardFollower):
    """Evaluates configurations after each change, writes their conditions, and tells the engine who can go on."""

    def __init__(
        self,
        ports: Ports,
        store: ConfigStore,
        resolver: Resolver,
        shared_namespaces: Sequence[str],
    ) -> None:
        self._store, self._resolver, self._shared = store, resolver, shared_namespaces
        self._followers = Followers()
        self._configs, self._providers, self._notices = ports.configs, ports.providers, ports.notices
        self._clock, self._ownership, self._timers = ports.clock, ports.ownership, Timers(ports.clock)
        self._queue: FairQueue[Key] = FairQueue(self._work, slots=AT_ONCE, per_namespace=AT_ONCE // 4)
        self._todo: dict[Key, bool] = {}  # what waits in the queue; and whether its Secrets are to be read again
        self._busy: set[Key] = set()
        self._later: dict[Key, None] = {}
        self._reviews: dict[tuple[str, str], None] = {}  # namespaces and organisations with many configurations
        self._wanted = asyncio.Event()
        self._states: dict[Key, _State] = {}
        self._runner = ports.templates
        self._tried: dict[Key, tuple[tuple[str, int], tuple[ConditionValue, ...]]] = {}
        self._conditions: dict[Key, tuple[ConditionValue, ...]] = {}
        self._written: dict[Key, tuple[str, int, tuple[ConditionValue, ...]]] = {}
        self._deliverable: Callable[[ConfigObject], ConditionValue | None] = lambda _: None

    def __len__(self) -> int:
        return len(self._conditions)

    def subscribe(self, *followers: ConfigFollower) -> None:
        """Tell these which organisations' events can go on."""
        self._followers.subscribe(*followers)

    def adopt(self, deliverable: Callable[[ConfigObject], ConditionValue | None]) -> None:
        """Have this condition written beside those judged here; it is asked for before each write."""
        self._deliverable = deliverable

    # ------------------------------------------------------------------ what it hears

    def on_config_change(self, old: ConfigObject | None, new: ConfigObject | None) -> None:
        """See `ConfigFollower`."""
        moved = old is not None and new is not None and old.org_slug != new.org_slug
        if old is not None and (new is None or moved):
            self._forget(old.key)
            self._outranked(old)
        if new is not None and (old is None or moved):
            self.found(new)
            if self._store.own(new.namespace, new.org_slug) is new:
                self._outranked(new)
        elif new is not None:
            state = self._states.get(new.key)
            if state is not None and old is not None and old.generation != new.generation:
                state.forget_refusals()
            self.changed(new)

    def _outranked(self, config: ConfigObject) -> None:
        """This one counts now, or does not any more: look at its rivals, many of them in their own time."""
        place = (config.namespace, config.org_slug)
        first = self._store.own(*place)
        if first is not None and first.key != config.key:
            self.changed(first)
        if self._store.count(*place) > FEW:
            self._reviews[place] = None
            self._wanted.set()
            return
        for rival in self._store.rivals(*place):
            if rival.key != config.key:
                self.changed(rival)

    def on_root_change(self) -> None:
        """See `ConfigFollower`. Thousands of Secrets are read for that, so it is paced."""
        for state in self._states.values():
            state.forget_refusals()
        for config in self._store:
            self._later[config.key] = None
        self._wanted.set()

    def on_config_refused(self, config: ConfigObject, error: NotReady) -> None:
        """See `ConfigFollower`.

        An event may need what no list of the configuration names any more: a digest or a notice for a destination that
        was removed. So it can be Ready and refuse again and again: then only time, or an edit, wakes who waits for it.
        """
        state = self._states.setdefault(config.key, _State())
        state.refused = True
        if error.reason is NotReadyReason.HOST_NOT_ALLOWED:
            state.distrusted_until, state.distrust = self._clock.now() + DISTRUST, error.message
            state.distrusted_generation = config.generation
        elif state.ready_at is not None and self._clock.now() - state.ready_at < SOON:
            self._poll(config.key, LAST_WAKE)
            return
        self.changed(config)

    def on_shards_acquired(self, shards: Collection[int]) -> None:
        """See `ShardFollower`."""
        for config in self._store:
            if shard_of(config.org_slug) in shards:
                self.found(config)

    def on_shards_released(self, shards: Collection[int]) -> None:
        """See `ShardFollower`: another replica judges these configurations."""
        for key in [key for key in (*self._conditions, *self._states) if self._of(key, shards)]:
            self._forget(key)

    # ------------------------------------------------------------------ judging

    def changed(self, config: ConfigObject, *, fresh: bool = False) -> None:
        """Evaluate this configuration soon; `fresh` reads its Secrets again. Namespaces take turns."""
        key = config.key
        waits = key in self._todo
        self._todo[key] = fresh or self._todo.get(key, False)
        if not waits and key not in self._busy:
            self._queue.put(config.namespace, config.org_slug, key)

    def found(self, config: ConfigObject) -> None:
        """A configuration was learned of: one whose conditions speak of this generation can wait its turn."""
        if config.status.observed_generation == config.generation and config.status.conditions:
            self._later[config.key] = None
            self._wanted.set()
        else:
            self.changed(config)

    def _of(self, key: Key, shards: Collection[int]) -> bool:
        config = self._store.get(key)
        return config is not None and shard_of(config.org_slug) in shards

    def _forget(self, key: Key) -> None:
        self._states.pop(key, None)
        self._tried.pop(key, None)
        self._conditions.pop(key, None)
        self._written.pop(key, None)

    def conditions(self, config: ConfigObject) -> list[dict[str, Any]] | None:
        """All conditions as they are to stand, for whoever writes the status; None when they need not change."""
        before = {item.type: item for item in config.status.conditions or []}
        extra = self._deliverable(config)
        if _same({_DELIVERABLE: before[_DELIVERABLE]} if _DELIVERABLE in before else {}, [extra] if extra else []):
            return None
        uid, generation, values = self._written.get(config.key, ("", 0, ()))
        if (uid, generation) == (config.uid, config.generation):
            made: list[dict[str, Any]] = self._patch(config, values, before)["conditions"]
            return made
        if config.status.observed_generation != config.generation:
            return None  # it is judged at any moment, and this written with that
        others = [item for item in before.values() if item.type != _DELIVERABLE]
        added = self._as_written(config, () if extra is None else (extra,), before)
        return [*(item.model_dump(by_alias=True, mode="json") for item in others), *added]

    @property
    def not_ready(self) -> dict[Key, str]:
        """Configurations that are not Ready, with the reason."""
        return {key: c[0].reason for key, c in self._conditions.items() if not c[0].status}

    async def run(self) -> None:
        """Evaluate, in their own time, those that nobody waits for, until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._later or self._reviews:
                    while self._reviews:
                        place, _ = self._reviews.popitem()
                        self._later |= dict.fromkeys(rival.key for rival in self._store.rivals(*place))
                    if not self._later:
                        break
                    key = next(iter(self._later))
                    del self._later[key]
                    config = self._store.get(key)
                    if config is not None:
                        self.changed(config)
                        await self._clock.sleep(PACE)
        finally:
            await self._queue.close(0)

    async def _work(self, key: Key) -> None:
        fresh = self._todo.pop(key)
        self._busy.add(key)  # one evaluation at a time, so that an older one never has the last word
        try:
            await self._evaluate(key, fresh=fresh)
        finally:
            self._busy.discard(key)
            config = self._store.get(key)
            if key in self._todo:  # it changed meanwhile
                if config is not None:
                    self._queue.put(config.namespace, config.org_slug, key)
                else:
                    del self._todo[key]

    async def _evaluate(self, key: Key, *, fresh: bool) -> None:
        config = self._store.get(key)
        if config is None or not self._ownership.owns(config.org_slug):
            return
        try:
            values = tuple(await self._judge(config, fresh=fresh))
            await self._write(config, values)
        except NotFound:
            self._conditions.pop(key, None)
            return
        except Fenced:
            self._forget(key)
            return
        except ApiError as error:
            log.warning("condition_not_written", namespace=key[0], name=key[1], error=str(error))
            self._timers.at(self._clock.now() + 2.0, lambda: self._again(key))
            return
        except Exception:
            log.exception("config_not_evaluated", namespace=key[0], name=key[1])
            return
        if values[0].status:
            self._found_ready(key)
            self._followers.on_config_ready(config)
        elif _may_become_ready(config, values[0].reason):
            self._poll(key)

    def _found_ready(self, key: Key) -> None:
        state = self._states.get(key)
        if state is None or not state.refused:
            self._states.pop(key, None)
            return
        now = self._clock.now()
        if state.ready_at is None or now - state.ready_at >= 2 * LAST_WAKE:
            state.polls = 0
        state.refused, state.ready_at = False, now

    def _poll(self, key: Key, longest: float = LAST_POLL) -> None:
        """Look again after a while; one look is planned at a time, whoever finds the configuration wanting."""
        state = self._states.setdefault(key, _State())
        if state.polling:
            return
        state.polling = True
        wait = min(FIRST_POLL * POLL_GROWTH**state.polls, longest) * random.uniform(0.8, 1.2)  # noqa: S311  (jitter)
        state.polls = min(state.polls + 1, 20)
        self._timers.at(max(self._clock.now() + wait, state.distrusted_until), lambda: self._look(key, state))

    def _look(self, key: Key, state: _State) -> None:
        state.polling = False
        self._again(key)

    def _again(self, key: Key) -> None:
        config = self._store.get(key)
        if config is not None:
            self.changed(config, fresh=True)

    async def _judge(self, config: ConfigObject, *, fresh: bool) -> list[ConditionValue]:
        try:
            await self._check(config, fresh=fresh)
        except NotReady as error:
            ready = ConditionValue("Ready", status=False, reason=error.reason.value, message=clip(error.message))
        else:
            disabled = config.spec is not None and config.spec.enabled is False
            message = "disabled: nothing is sent" if disabled else "notifications can be sent"
            ready = ConditionValue("Ready", status=True, reason="Ready", message=message)
        return [ready, *self._sharing(config), *await self._templates(config)]

    async def _check(self, config: ConfigObject, *, fresh: bool) -> None:
        if config.spec is None:
            raise NotReady(NotReadyReason.INVALID, "; ".join(map(str, config.problems)))
        winner = self._store.own(config.namespace, config.org_slug)
        if winner is not None and winner.key != config.key:
            message = (
                f"spec.orgSlug: NotificationConfig {winner.name} serves {config.org_slug} in this namespace already"
            )
            raise NotReady(NotReadyReason.CONFLICT, message)
        state = self._states.get(config.key)
        distrusted = state is not None and state.distrusted_generation == config.generation
        if state is not None and distrusted and self._clock.now() < state.distrusted_until:
            raise NotReady(NotReadyReason.HOST_NOT_ALLOWED, state.distrust)
        if config.spec.enabled is False:
            return
        layers = await self._resolver.layers(config, fresh=fresh)
        check_plans(layers)
        for name in destinations_to_check(layers):
            target = layers.target(name)
            with contextlib.suppress(TimeoutError):
                check = self._providers[target.kind].check(target, config.namespace)
                await asyncio.wait_for(check, CHECK_PATIENCE)

    async def _templates(self, config: ConfigObject) -> Sequence[ConditionValue]:
        """Whether the configuration's own templates can be used. Nothing but an edit changes that."""
        memo = (config.uid, config.generation)
        known = self._tried.get(config.key)
        if known is not None and known[0] == memo:
            return known[1]
        values: tuple[ConditionValue, ...] = ()
        if config.spec is not None and any(True for _ in config.spec.all_templates()):
            wrong = [str(each) for each in await self._runner.check(config.spec, config.namespace)]
            message = "; ".join(wrong) + "; the built-in text is used where it fails" if wrong else "all can be used"
            reason = "Invalid" if wrong else "Valid"
            values = (ConditionValue("TemplatesValid", status=not wrong, reason=reason, message=clip(message)),)
        self._tried[config.key] = (memo, values)
        return values

    def _sharing(self, config: ConfigObject) -> Iterator[ConditionValue]:
        rule = config.spec.event_namespaces if config.spec is not None else None
        if rule is None or rule.from_ == "Same":
            return
        if config.namespace in self._shared:
            yield ConditionValue("Shared", status=True, reason="Shared", message="serves events of other namespaces")
        else:
            message = f"eventNamespaces has no effect: {config.namespace} is not among the operator's shared namespaces"
            yield ConditionValue("Shared", status=False, reason="NotPermitted", message=message)

    async def _write(self, config: ConfigObject, values: tuple[ConditionValue, ...]) -> None:
        """Write the conditions unless they stand there already."""
        before = {item.type: item for item in config.status.conditions or []}
        allowed = partial(self._ownership.owns, config.org_slug)
        if not allowed():
            raise Fenced("another replica judges this configuration by now")
        self._conditions[config.key] = values
        memo = (config.uid, config.generation, values)
        if self._written.get(config.key) == memo:
            return
        judged = {kind: condition for kind, condition in before.items() if kind != _DELIVERABLE}
        if config.status.observed_generation != config.generation or not _same(judged, values):
            await self._configs.patch_status(config, partial(self._patch, config, values, before), allowed)
            if not values[0].status:
                reason, message = values[0].reason, values[0].message
                self._notices.warn("NotificationConfig", config.namespace, config.name, config.uid, reason, message)
        self._written[config.key] = memo

    def _patch(
        self, config: ConfigObject, values: tuple[ConditionValue, ...], before: dict[str, Condition]
    ) -> dict[str, Any]:
        extra = self._deliverable(config)
        every = (*values, extra) if extra is not None else values
        return {"observedGeneration": config.generation, "conditions": self._as_written(config, every, before)}

    def _as_written(
        self, config: ConfigObject, values: tuple[ConditionValue, ...], before: dict[str, Condition]
    ) -> list[dict[str, Any]]:
        conditions = []
        for value in values:
            status = "True" if value.status else "False"
            old = before.get(value.type)
            since = old.last_transition_time if old is not None and old.status == status else rfc3339(self._clock.now())
            condition = Condition(
                type=value.type,
                status=status,
                reason=value.reason,
                message=value.message,
                last_transition_time=since,
                observed_generation=config.generation,
            )
            conditions.append(condition.model_dump(by_alias=True, mode="json"))
        return conditions


def _may_become_ready(config: ConfigObject, reason: str) -> bool:
    """Whether a configuration can become Ready without an edit: by its Secrets, or by what a host name stands for."""
    if reason == NotReadyReason.INVALID:  # perhaps only the value that a Secret holds
        return bool(config.secrets)
    return reason in _OF_OTHERS


def _same(before: Mapping[str, Condition], values: Sequence[ConditionValue]) -> bool:
    return set(before) == {value.type for value in values} and all(
        (before[value.type].status == "True", before[value.type].reason, before[value.type].message)
        == (value.status, value.reason, value.message)
        for value in values
    )
