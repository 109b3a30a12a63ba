"""Prometheus metrics, in the field's naming: what happened to events, deliveries and configurations."""

from __future__ import annotations

import platform
import time
from collections import Counter as Counter_
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from pipebell.core.incidents.record import NOT_EVENTS
from pipebell.core.incidents.resource import IncidentPhase
from pipebell.core.shards import SHARDS
from pipebell.core.vocabulary import Phase, Reason, Severity, SilencePhase
from pipebell.engine.events.observer import Observer
from pipebell.kube.paths import PLURALS
from pipebell.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.core.incidents.book import Book
    from pipebell.core.incidents.state import Incident
    from pipebell.core.outcome import Outcome
    from pipebell.core.policy.settle import EventSummary
    from pipebell.core.status import Delivery
    from pipebell.engine.configs.readiness import Readiness
    from pipebell.engine.configs.root import RootStore
    from pipebell.engine.configs.silences import SilenceStore
    from pipebell.engine.events.engine import Engine
    from pipebell.engine.events.holds import Holds
    from pipebell.engine.events.state import EventState
    from pipebell.engine.shards.sharing import Sharing
    from pipebell.engine.upkeep.health import HealthBoard
    from pipebell.kube.watches import Watches

_ORGS: Final = 1_000  # organisations with a label of their own
_ORGS_OF_NAMESPACE: Final = 200  # of them, those that one namespace brought in
_OTHERS: Final = "_other"  # no organisation's slug begins with "_"
_LASTS: Final = (60, 300, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400, 259_200, 604_800)
_LATENCY: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 86400)


class Metrics(Observer):
    """Counts what happens to events. Gauges are read by `refresh`, which is for the event loop's own thread.

    `named` says whether a configuration that may serve events of this namespace names this organisation: an event's
    slug is only what its author wrote.
    """

    def __init__(self, named: Callable[[str, str], bool]) -> None:
        # Half of all series, which no alert and no panel asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the package's types leave it out
        self.registry = CollectorRegistry()
        self._named = named
        self._reads: list[tuple[Gauge, Callable[[], float]]] = []
        self._counts: list[Callable[[], None]] = []
        self._events = Counter(
            "pipebell_events_total",
            "Events that reached a final phase. Organisations that no configuration names are together in one label.",
            ("org", "event", "phase", "reason"),
            registry=self.registry,
        )
        self._failovers = Counter(
            "pipebell_failovers_total",
            "Destinations that were to stand in for others, by the kinds of both.",
            ("provider", "stand_in"),
            registry=self.registry,
        )
        self._orgs: set[str] = set()
        self._brought: Counter_[str] = Counter_()  # labels by the namespace that brought them in
        self._deliveries = Counter(
            "pipebell_deliveries_total",
            "Destinations of finished events, by what came of them.",
            ("provider", "phase", "reason"),
            registry=self.registry,
        )
        self._suppressed = Counter(
            "pipebell_cooldown_suppressed_total", "Events held back by a cooldown.", ("event",), registry=self.registry
        )
        self._attempts = Counter(
            "pipebell_delivery_attempts_total",
            "Attempts to deliver, by what came of them.",
            ("provider", "outcome", "reason"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "pipebell_delivery_attempt_duration_seconds",
            "How long one attempt took.",
            ("provider",),
            buckets=_LATENCY[:12],
            registry=self.registry,
        )
        self._latency = Histogram(
            "pipebell_event_delivered_seconds",
            "From the creation of an event to the record of its delivery.",
            buckets=_LATENCY,
            registry=self.registry,
        )
        self._verifications = Counter(
            "pipebell_config_verifications_total",
            "Checks of a configuration's destinations that its annotation asked for.",
            ("result",),
            registry=self.registry,
        )
        self._failing = Gauge(
            "pipebell_destinations_failing",
            "Organisations' own destinations to which the last message did not get through.",
            ("provider",),
            registry=self.registry,
        )
        self._root_failing = Gauge(
            "pipebell_root_destination_failing",
            "1 while messages to this destination of the root configuration do not get through.",
            ("destination",),
            registry=self.registry,
        )
        self._heartbeats = Counter(
            "pipebell_heartbeats_total", "Requests of PIPEBELL_HEARTBEAT_URL.", ("result",), registry=self.registry
        )
        # The series that each event counts in. Finding one by its labels takes `labels` three times as long.
        self._of_events, self._of_deliveries = cache(self._events.labels), cache(self._deliveries.labels)
        self._of_attempts, self._of_seconds = cache(self._attempts.labels), cache(self._seconds.labels)
        self._health: HealthBoard | None = None
        self._acknowledged = Histogram(
            "pipebell_incident_acknowledged_seconds",
            "From the first message of an incident to its acknowledgement.",
            buckets=_LASTS,
            registry=self.registry,
        )
        self._recovered = Histogram(
            "pipebell_incident_recovered_seconds",
            "From the first failure of an incident that was told to its end by a success or by somebody.",
            buckets=_LASTS,
            registry=self.registry,
        )
        Gauge("pipebell_build_info", "The version that runs.", ("version", "python"), registry=self.registry).labels(
            __version__, platform.python_version()
        ).set(1)

    def watch(self, engine: Engine, readiness: Readiness, root: RootStore, watches: Watches, sharing: Sharing) -> None:
        """Have `refresh` read these gauges from the running parts."""
        age = Gauge(
            "pipebell_watch_age_seconds", "Since the watch was opened last.", ("resource",), registry=self.registry
        )
        for kind in ("PipelineEvent", "NotificationConfig"):
            self._reads.append((age.labels(PLURALS[kind]), partial(watches.age, PLURALS[kind])))
        for name, text, read in (
            ("pipebell_shards", "Shards that there are for all replicas together.", lambda: SHARDS),
            (
                "pipebell_shards_held",
                "Shards of organisations that this replica may send for; none while its lease is not fresh.",
                lambda: len(sharing.held) if sharing.fresh else 0,
            ),
            (
                "pipebell_standby",
                "1 while this replica waits for others, of other namespaces or another format, to leave.",
                lambda: sharing.standby,
            ),
            ("pipebell_queue_depth", "Events that wait for a slot.", lambda: engine.queue.depth),
            ("pipebell_queue_running", "Events that are being worked on.", lambda: engine.queue.running),
            (
                "pipebell_unrecordable_events",
                "Events whose outcome the API refuses to have recorded; nothing more is sent for them.",
                lambda: engine.unrecordable,
            ),
            ("pipebell_unfinished_events", "Events taken in and not finished.", lambda: engine.unfinished),
            (
                "pipebell_namespaces_behind",
                "Namespaces of which events are left in the API until there is room for them.",
                lambda: len(engine.bounds.behind),
            ),
            ("pipebell_digests_open", "Digests that are not made yet.", lambda: len(engine.books.batches)),
            (
                "pipebell_digest_members",
                "Events that wait for a digest, once for each destination.",
                lambda: engine.books.batches.members,
            ),
            (
                "pipebell_digests_refused",
                "Digests that are due, and that cannot be made: see the log.",
                lambda: engine.books.batches.refused,
            ),
            ("pipebell_paused_endpoints", "Endpoints that asked for a pause.", lambda: len(engine.endpoints)),
            ("pipebell_configs", "NotificationConfigs.", lambda: len(readiness)),
            ("pipebell_configs_not_ready", "NotificationConfigs that are not Ready.", lambda: len(readiness.not_ready)),
            ("pipebell_root_config_valid", "0 while the root ConfigMap is invalid.", lambda: not root.current.problems),
            (
                "pipebell_root_templates_invalid",
                "Root's own templates that cannot be used: built-in texts are sent instead.",
                lambda: len(root.wrong_templates),
            ),
        ):
            self._reads.append((Gauge(name, text, registry=self.registry), read))

    def watch_destinations(self, health: HealthBoard) -> None:
        """Have `refresh` read how destinations stand."""
        self._health = health

    def watch_silences(self, store: SilenceStore, holds: Holds) -> None:
        """The same for what silences and quiet hours hold back."""
        silences = Gauge("pipebell_silences", "Silences, by where they stand.", ("phase",), registry=self.registry)
        for phase in SilencePhase:
            self._reads.append((silences.labels(phase.value), partial(store.count, phase, time.time)))
        waiting = Gauge(
            "pipebell_catch_ups_waiting",
            "Groups of held events whose catch-up is not made yet.",
            registry=self.registry,
        )
        self._reads.append((waiting, lambda: len(holds.pending)))

    def watch_incidents(self, book: Book) -> None:
        """Those of this replica that somebody was notified of, by severity."""
        open_ = Gauge(
            "pipebell_incidents_open",
            "Incidents that somebody was told of, and that are not resolved.",
            ("severity",),
            registry=self.registry,
        )
        taken = Gauge(
            "pipebell_incidents_acknowledged",
            "Those of them that somebody has acknowledged.",
            ("severity",),
            registry=self.registry,
        )

        def count() -> None:
            notified = [entry.incident for entry in book if entry.incident.opened is not None]
            for gauge, counted in (
                (open_, notified),
                (taken, [incident for incident in notified if incident.phase is IncidentPhase.ACKNOWLEDGED]),
            ):
                severities = Counter_(incident.notified_severity for incident in counted)
                for severity in Severity:
                    gauge.labels(severity.value).set(severities[severity])

        self._counts.append(count)

    def on_incident_acknowledged(self, incident: Incident) -> None:
        """Somebody says that they work on it."""
        if incident.opened is not None and incident.acknowledged is not None:
            self._acknowledged.observe(max(0.0, incident.acknowledged - incident.opened))

    def on_incident_ended(self, incident: Incident) -> None:
        """It is over. How long those lasted that a rule ended says nothing of anybody."""
        if incident.opened is None or incident.first_failure is None or incident.resolved is None:
            return
        if incident.resolved_by not in NOT_EVENTS:
            self._recovered.observe(max(0.0, incident.resolved - incident.first_failure))

    def refresh(self) -> None:
        """Read the gauges: before the registry is serialised, in whatever thread, nobody changes what they read."""
        for gauge, read in self._reads:
            gauge.set(read())
        if self._health is not None:
            self._failing.clear()
            for kind, count in self._health.failing().items():
                self._failing.labels(kind).set(count)
            self._root_failing.clear()
            for name, failing in self._health.failing_of_root().items():
                self._root_failing.labels(name).set(failing)
        for recount in self._counts:
            recount()

    def on_heartbeat(self, ok: bool) -> None:
        """The heartbeat's URL was requested: whether it answered as it should."""
        self._heartbeats.labels("ok" if ok else "failed").inc()

    def on_attempt(self, state: EventState, provider: str, outcome: Outcome, seconds: float) -> None:  # noqa: ARG002  (the Observer's)
        """See `Observer`."""
        self._of_attempts(provider, outcome.kind.name.lower(), outcome.reason).inc()
        self._of_seconds(provider).observe(seconds)

    def on_failover(self, state: EventState, stand_in: Delivery) -> None:
        """See `Observer`."""
        original = state.deliveries.get(stand_in.failover_for or "")
        self._failovers.labels((original.provider if original else None) or "", stand_in.provider or "").inc()

    def on_finished(self, state: EventState, summary: EventSummary, now: float) -> None:
        """See `Observer`."""
        kind = state.event.spec.event.value if state.event is not None else ""
        reason = summary.reason.value if summary.reason else ""
        self._of_events(self._org(state.namespace, state.org), kind, summary.phase.value, reason).inc()
        for delivery in state.deliveries.values():
            self._of_deliveries(delivery.provider or "", delivery.phase.value, str(delivery.reason or "")).inc()
        if summary.phase is Phase.DELIVERED:
            self._latency.observe(max(0.0, now - state.created))
        elif summary.reason is Reason.COOLDOWN:
            self._suppressed.labels(kind).inc()

    def on_verified(self, ok: bool) -> None:
        """A configuration's destinations were tried: whether all of them would take messages."""
        self._verifications.labels("ok" if ok else "wrong").inc()

    def _org(self, namespace: str, org: str) -> str:
        """The organisation, if it is configured and they are few: a label's values must be bounded for each tenant."""
        if not self._named(namespace, org):
            return _OTHERS
        if org not in self._orgs:
            if len(self._orgs) >= _ORGS or self._brought[namespace] >= _ORGS_OF_NAMESPACE:
                return _OTHERS
            self._brought[namespace] += 1
            self._orgs.add(org)
        return org
