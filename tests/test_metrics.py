"""Metrics count what the engine tells, in names and labels that stay few."""

from types import SimpleNamespace

from prometheus_client import generate_latest

from pipebell.core.outcome import Outcome, Verdict
from pipebell.core.policy.settle import Verdicts
from pipebell.core.vocabulary import EventType, Phase, Reason
from pipebell.metrics import Metrics


def state(org="acme", deliveries=(), created=100.0):
    spec = SimpleNamespace(event=EventType.PIPELINE_FAILURE)
    return SimpleNamespace(
        org=org,
        created=created,
        event=SimpleNamespace(spec=spec),
        deliveries={str(number): delivery for number, delivery in enumerate(deliveries)},
    )


def delivery(provider, phase, reason=None):
    return SimpleNamespace(provider=provider, phase=phase, reason=reason)


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def test_a_finished_event_counts_once_and_each_of_its_destinations_too():
    metrics = Metrics()
    both = (
        delivery("email", Phase.DELIVERED),
        delivery("slack", Phase.FAILED, "Http404"),
    )
    metrics.on_finished(state(deliveries=both), Verdicts(Phase.PARTIALLY_DELIVERED, Reason.PERMANENT_ERROR, ""), 101.0)
    event = {"org": "acme", "event": "pipeline_failure", "phase": "PartiallyDelivered", "reason": "PermanentError"}
    assert value(metrics, "pipebell_events_total", **event) == 1
    assert value(metrics, "pipebell_deliveries_total", provider="email", phase="Delivered", reason="") == 1
    assert value(metrics, "pipebell_deliveries_total", provider="slack", phase="Failed", reason="Http404") == 1
    assert value(metrics, "pipebell_event_delivered_seconds_count") == 0


def test_a_delivered_events_latency_is_from_its_creation():
    metrics = Metrics()
    metrics.on_finished(state(created=100.0), Verdicts(Phase.DELIVERED, None, ""), 100.25)
    assert value(metrics, "pipebell_event_delivered_seconds_sum") == 0.25


def test_what_a_cooldown_holds_back_is_counted():
    metrics = Metrics()
    metrics.on_finished(state(), Verdicts(Phase.SUPPRESSED, Reason.COOLDOWN, ""), 101.0)
    assert value(metrics, "pipebell_cooldown_suppressed_total", event="pipeline_failure") == 1


def test_attempts_are_counted_by_what_came_of_them():
    metrics = Metrics()
    metrics.on_attempt(state(), "slack", Outcome(Verdict.RETRY, "Http503"), 0.2)
    labels = {"provider": "slack", "outcome": "retry", "reason": "Http503"}
    assert value(metrics, "pipebell_delivery_attempts_total", **labels) == 1
    assert value(metrics, "pipebell_delivery_attempt_duration_seconds_sum", provider="slack") == 0.2


def test_who_makes_up_organisations_makes_no_more_series_than_that():
    metrics = Metrics()
    for number in range(1000):
        metrics.on_finished(state(f"org-{number}"), Verdicts(Phase.DELIVERED, None, ""), 101.0)
    metrics.on_finished(state("org-0"), Verdicts(Phase.DELIVERED, None, ""), 101.0)
    text = generate_latest(metrics.registry).decode()
    series = [line for line in text.splitlines() if line.startswith("pipebell_events_total{")]
    assert len(series) == 201
    event = {"event": "pipeline_failure", "phase": "Delivered", "reason": ""}
    assert value(metrics, "pipebell_events_total", org="_other", **event) == 800
    assert value(metrics, "pipebell_events_total", org="org-0", **event) == 2
