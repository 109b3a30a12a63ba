"""The part of the composition root that silences and quiet hours are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from pipebell.core.errors import ApiError, Forbidden, NotFound
from pipebell.core.vocabulary import NoticeKind
from pipebell.engine.configs.silences import SilenceStore
from pipebell.engine.upkeep.catch_ups import CatchUps
from pipebell.engine.upkeep.notices import NoticeMaker
from pipebell.engine.upkeep.silence_status import SilenceStatusWriter
from pipebell.kube.silences import KubeSilences, SilenceWatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.background import Background
    from pipebell.core.event import Event
    from pipebell.core.silences.resource import Silence
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.events.engine import Engine
    from pipebell.engine.events.ledger import CooldownLedger
    from pipebell.engine.ports import Ports
    from pipebell.engine.shards.sharing import Sharing
    from pipebell.kube.client import ApiClient
    from pipebell.kube.definitions import Definitions
    from pipebell.settings import Settings

log = structlog.get_logger(__name__)


class Silencing:
    """Silences as the API has them, what they hold back, and the catch-ups."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        clients: tuple[ApiClient, ApiClient],
        engine: Engine,
        resolver: Resolver,
        ledger: CooldownLedger,
        definitions: Definitions,
    ) -> None:
        client, watching = clients
        self._clock, self._engine, self._definitions = ports.clock, engine, definitions
        scope = settings.watch_namespaces
        self._namespaces: Sequence[str | None] = (
            tuple(dict.fromkeys((*scope, settings.namespace))) if scope else (None,)
        )
        self.store = SilenceStore(settings.namespace)
        self._kube = KubeSilences(client, settings.namespace)
        self._watches = [SilenceWatch(watching, ports.clock, self.store, name) for name in self._namespaces]
        self.status = SilenceStatusWriter(ports, self._kube, self.store, lambda: ledger.folding)
        maker = NoticeMaker(ports, settings.event_max_age)
        self.catch_ups = CatchUps(ports, resolver, ledger, engine.books.holds, self.store, maker)

    def subscribe(self, sharing: Sharing) -> None:
        """Who hears of what."""
        engine = self._engine
        engine.books.holds.silences = self._silences
        engine.books.holds.subscribe(self.catch_ups.on_hold)
        engine.books.judges.subscribe(NoticeKind.CATCH_UP, self.catch_ups)
        engine.observers.subscribe(self.catch_ups, self.status)
        self.store.subscribe(self.catch_ups.on_silence_change, self.status.on_change)
        sharing.subscribe(self.catch_ups)

    def _silences(self, namespace: str, now: float) -> Sequence[Silence] | None:
        """Definitions of another release would drop what a held event has to keep."""
        if not self._definitions.serves("PipelineEvent", "status.catchUp"):
            return None
        return self.store.of(namespace, now)

    def on_event(self, event: Event) -> None:
        """An event of the past, as a pass over all of them meets it."""
        self._engine.books.holds.fold(event, self._clock.now())
        self.status.fold(event)

    async def learn(self) -> None:
        """The first list, before any event is decided. Where silences may not be read, or are not known, are none."""
        for namespace in self._namespaces:
            try:
                for silence in await self._kube.scan(namespace):
                    self.store.put(silence)
            except (Forbidden, NotFound) as error:
                log.warning("no_silences", namespace=namespace or "all", error=str(error))
            except ApiError as error:
                log.warning("silences_not_read_yet", namespace=namespace or "all", error=str(error))

    def start(self, background: Background) -> None:
        """Follow the silences, and do what has to be done for them."""
        for watch in self._watches:
            background.run_forever("silences", watch.run())
        background.run_forever("silence status", self.status.run())
        background.run_forever("catch-ups", self.catch_ups.run())

    @property
    def remarks(self) -> list[str]:
        """Why silences are not obeyed everywhere."""
        if not self._definitions.serves("Silence", "spec"):
            return []  # the definitions say so
        troubles = dict.fromkeys(watch.trouble for watch in self._watches if watch.trouble)
        return [f"silences are not known: {trouble}" for trouble in troubles]
