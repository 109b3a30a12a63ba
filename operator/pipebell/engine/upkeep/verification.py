"""Trying a configuration's destinations when its annotation asks for it: for people who may not read its Secrets."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from pipebell.core.errors import ApiError, Fenced, NotFound, NotReady
from pipebell.core.policy.triggers import check_plans, destinations_to_check
from pipebell.core.render.text import one_line
from pipebell.core.shards import shard_of
from pipebell.core.status import Verification, VerifiedDestination, epoch, rfc3339
from pipebell.core.vocabulary import NotReadyReason
from pipebell.engine.configs.follower import ConfigFollower
from pipebell.engine.queue import FairQueue
from pipebell.engine.shards.follower import ShardFollower
from pipebell.engine.timers import Deadlines
from pipebell.plain import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from pipebell.core.config import ConfigObject
    from pipebell.core.destinations.base import Target
    from pipebell.core.finding import Finding
    from pipebell.core.layers import Layers
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.configs.store import ConfigStore, Key
    from pipebell.engine.ports import Ports

EVERY: Final = 60.0  # seconds between the beginnings of two checks of one configuration
SETTLED: Final = 2.0  # seconds in which we hear what the replica before us has answered
LONGEST: Final = 60.0  # seconds for all destinations of a configuration together
AT_ONCE: Final = 32  # configurations; of one namespace two of them, whatever their servers do
OF_NAMESPACE: Final = 2
A_MINUTE: Final = 20  # checks of one namespace, however many configurations it makes and deletes
DESTINATIONS_AT_ONCE: Final = 4  # of one configuration
MOST: Final = 48  # destinations: as many as a status holds
_MESSAGE: Final = 1000  # characters

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Done:
    """The last check of a configuration: for which token, of which object, and when it began."""

    uid: str
    token: str
    began: float


class Verifier(ConfigFollower, ShardFollower):
    """Answers `pipebell.io/verify` in `status.verification`, for the organisations that are ours.

    One check at a time for each configuration, at most once a minute. Namespaces take turns, and none has more than a
    few under way and more than `A_MINUTE` a minute, so that nobody waits for another's servers, and no server is asked
    for ever. `on_verified` hears of each answer whether all was well.
    """

    def __init__(
        self, ports: Ports, store: ConfigStore, resolver: Resolver, on_verified: Callable[[bool], None] = lambda _: None
    ) -> None:
        self._store, self._resolver, self._on_verified = store, resolver, on_verified
        self._configs, self._providers = ports.configs, ports.providers
        self._clock, self._ownership = ports.clock, ports.ownership
        self._queue: FairQueue[Key] = FairQueue(self._work, slots=AT_ONCE, per_namespace=OF_NAMESPACE)
        self._deadlines = Deadlines(ports.clock, self._due)
        self._taken: set[Key] = set()  # what waits in the queue or is being tried
        self._done: dict[Key, _Done] = {}
        self._began: dict[str, deque[float]] = {}  # of each namespace, when its checks of the last minute began

    # ------------------------------------------------------------------ what it hears

    def on_config_change(self, old: ConfigObject | None, new: ConfigObject | None) -> None:
        """See `ConfigFollower`."""
        if new is None:
            if old is not None:
                self._forget(old.key)
        elif new.verify:
            self._consider(new)

    def on_verify_requested(self, config: ConfigObject) -> None:
        """See `ConfigFollower`."""
        self._consider(config)

    def on_shards_acquired(self, shards: Collection[int]) -> None:
        """See `ShardFollower`."""
        for config in self._store:
            if config.verify and shard_of(config.org_slug) in shards:
                self._consider(config, SETTLED)

    async def run(self) -> None:
        """Keep things going until cancelled; then nothing is tried any more."""
        try:
            await asyncio.Event().wait()
        finally:
            self._deadlines.close()
            await self._queue.close(0)

    # ------------------------------------------------------------------ when

    def _wanted(self, config: ConfigObject) -> bool:
        """Whether there is a token that nobody has answered, and it is ours to answer."""
        if not config.verify or not self._ownership.owns(config.org_slug):
            return False
        done, written = self._done.get(config.key), config.status.verification
        if done is not None and (done.uid, done.token) == (config.uid, config.verify):
            return False
        return written is None or written.token != config.verify

    def _consider(self, config: ConfigObject, wait: float = 0.0) -> None:
        """Plan a check, if one is wanted: a minute after the last one, which another replica may have made."""
        if config.key not in self._taken:
            when = max(self._clock.now() + wait, self._last(config) + EVERY) if self._wanted(config) else None
            self._deadlines.set("/".join(config.key), when)

    def _last(self, config: ConfigObject) -> float:
        done, written = self._done.get(config.key), config.status.verification
        if done is not None:
            return done.began
        # Whatever stands there, nobody waits for longer than a minute from now.
        return min(_seconds(written.time), self._clock.now()) if written is not None else 0.0

    def _due(self, name: str) -> None:
        namespace, _, own = name.partition("/")
        config = self._store.get((namespace, own))
        if config is None or config.key in self._taken or not self._wanted(config):
            return
        free = self._free(namespace)
        if free is not None:
            self._deadlines.set(name, free)
            return
        self._began.setdefault(namespace, deque()).append(self._clock.now())
        self._taken.add(config.key)
        self._queue.put(namespace, config.org_slug, config.key)

    def _free(self, namespace: str) -> float | None:
        """When a namespace may have another check; None for now. Forgets what is longer ago."""
        now = self._clock.now()
        for place, began in list(self._began.items()):
            while began and not now - EVERY < began[0] <= now:
                began.popleft()
            if not began:
                del self._began[place]
        mine = self._began.get(namespace)
        return mine[-A_MINUTE] + EVERY if mine is not None and len(mine) >= A_MINUTE else None

    def _forget(self, key: Key) -> None:
        self._done.pop(key, None)
        self._deadlines.set("/".join(key), None)

    # ------------------------------------------------------------------ a check

    async def _work(self, key: Key) -> None:
        try:
            config = self._store.get(key)
            if config is not None and self._wanted(config):
                await self._check(config)
        finally:
            self._taken.discard(key)
            config = self._store.get(key)
            if config is None:
                self._forget(key)
            else:
                self._consider(config)  # another token may have come meanwhile

    async def _check(self, config: ConfigObject) -> None:
        began = self._clock.now()
        self._done[config.key] = _Done(config.uid, "", began)
        context = {"namespace": config.namespace, "name": config.name, "org": config.org_slug}
        try:
            answer = await self._answer(config, rfc3339(began))
            allowed = partial(self._ownership.owns, config.org_slug)
            await self._configs.patch_status(config, {"verification": _document(answer)}, allowed)
        except (NotFound, Fenced):
            return  # it is gone, or another replica's, which asks for itself
        except ApiError as error:
            log.warning("config_not_verified", **context, error=str(error))
            return
        except Exception:
            log.exception("config_not_verified", **context)
            return
        self._done[config.key] = _Done(config.uid, config.verify, began)
        found = answer.destinations or []
        wrong = [item.name for item in found if not item.ok]
        self._on_verified(answer.reason is None and not wrong)
        seconds = round(self._clock.now() - began, 3)
        log.info(
            "config_verified", **context, destinations=len(found), wrong=wrong, reason=answer.reason, seconds=seconds
        )

    async def _answer(self, config: ConfigObject, time: str) -> Verification:
        answer = Verification(token=config.verify, time=time, observed_generation=config.generation)
        try:
            layers = await self._layers(config)
        except NotReady as error:
            answer.reason, answer.message = error.reason.value, _line(error.message)
            return answer
        if layers is None:
            answer.reason, answer.message = "ConfigDisabled", "spec.enabled is false: nothing is sent"
            return answer
        names = destinations_to_check(layers)[:MOST]
        if not names:
            answer.reason, answer.message = "NoProviderEnabled", "no enabled trigger sends anything anywhere"
            return answer
        turns = asyncio.Semaphore(DESTINATIONS_AT_ONCE)
        tried = {name: asyncio.create_task(self._one(name, layers, config.namespace, turns)) for name in names}
        limit = asyncio.create_task(self._clock.sleep(LONGEST))
        limit.add_done_callback(lambda _: [task.cancel() for task in tried.values()])
        try:
            results = await asyncio.gather(*tried.values(), return_exceptions=True)
        finally:
            limit.cancel()
            for task in tried.values():
                task.cancel()
        answer.destinations = [_settled(name, result) for name, result in zip(names, results, strict=True)]
        return answer

    async def _layers(self, config: ConfigObject) -> Layers | None:
        """What would be used, its Secrets as they are now; None when it is disabled. Raises NotReady, ApiErrors."""
        if config.spec is None:
            raise NotReady(NotReadyReason.INVALID, "; ".join(map(str, config.problems)))
        winner = self._store.own(config.namespace, config.org_slug)
        if winner is not None and winner.key != config.key:
            message = f"NotificationConfig {winner.name} serves {config.org_slug} in this namespace already"
            raise NotReady(NotReadyReason.CONFLICT, message)
        if config.spec.enabled is False:
            return None
        layers = await self._resolver.layers(config, fresh=True)
        check_plans(layers)
        return layers

    async def _one(
        self, name: str, layers: Layers, namespace: str, turns: asyncio.Semaphore
    ) -> tuple[Target, Sequence[Finding]]:
        async with turns:
            target = layers.target(name)
            return target, await self._providers[target.kind].verify(target, namespace)


def _settled(name: str, result: tuple[Target, Sequence[Finding]] | BaseException) -> VerifiedDestination:
    if isinstance(result, NotReady):
        return VerifiedDestination(name=name, ok=False, reason=result.reason.value, message=_line(result.message))
    if isinstance(result, asyncio.CancelledError):
        message = f"not done when {LONGEST:g} s for all destinations of this configuration were over"
        return VerifiedDestination(name=name, ok=False, reason="Timeout", message=message)
    if isinstance(result, BaseException):
        log.error("destination_not_verified", destination=name, exc_info=result)
        message = "a mistake of the operator's: its log has it"
        return VerifiedDestination(name=name, ok=False, reason="InternalError", message=message)
    target, findings = result
    wrong = next((finding for finding in findings if not finding.ok), None)
    if wrong is None:
        words = _of_the_platform("all is well") if target.trusted else "; ".join(item.message for item in findings)
        return VerifiedDestination(name=name, ok=True, reason="Verified", message=_line(words))
    words = f"{wrong.message}; {wrong.fix}" if wrong.fix else wrong.message
    if target.trusted and wrong.what != "recipients":
        words = _of_the_platform(f"{wrong.what} is not in order: tell the platform team")
    return VerifiedDestination(name=name, ok=False, reason=wrong.reason, message=_line(words))


def _of_the_platform(words: str) -> str:
    """Of root's endpoints, organisations learn how they stand, and neither their names nor what they say."""
    return f"the platform's own endpoint: {words}"


def _line(text: str) -> str:
    return clean(one_line(text, _MESSAGE))


def _document(answer: Verification) -> dict[str, Any]:
    """For a merge-patch: what is not there any more is null."""
    document = answer.model_dump(by_alias=True, mode="json")
    document["destinations"] = [
        item.model_dump(by_alias=True, mode="json", exclude_none=True) for item in answer.destinations or []
    ]
    return document


def _seconds(time: str) -> float:
    try:
        return epoch(time)
    except ValueError:
        return 0.0
