"""Metrics count what the engine tells, in names and labels that stay few."""

from dataclasses import replace
from types import SimpleNamespace

from prometheus_client import generate_latest

from pipebell.core.incidents.book import Book, Entry
from pipebell.core.incidents.keys import IncidentKey
from pipebell.core.incidents.resource import IncidentClass, IncidentPhase
from pipebell.core.incidents.state import Incident
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.policy.settle import EventSummary
from pipebell.core.status import Delivery
from pipebell.core.vocabulary import EventType, Phase, Reason, Severity
from pipebell.metrics import Metrics


def anybody(namespace, org):
    return True


def state(org="acme", deliveries=(), created=100.0, namespace="team"):
    spec = SimpleNamespace(event=EventType.PIPELINE_FAILURE)
    return SimpleNamespace(
        namespace=namespace,
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
    metrics = Metrics(anybody)
    both = (
        delivery("email", Phase.DELIVERED),
        delivery("slack", Phase.FAILED, "Http404"),
    )
    metrics.on_finished(
        state(deliveries=both), EventSummary(Phase.PARTIALLY_DELIVERED, Reason.PERMANENT_ERROR, ""), 101.0
    )
    event = {"org": "acme", "event": "pipeline_failure", "phase": "PartiallyDelivered", "reason": "PermanentError"}
    assert value(metrics, "pipebell_events_total", **event) == 1
    assert value(metrics, "pipebell_deliveries_total", provider="email", phase="Delivered", reason="") == 1
    assert value(metrics, "pipebell_deliveries_total", provider="slack", phase="Failed", reason="Http404") == 1
    assert value(metrics, "pipebell_event_delivered_seconds_count") == 0


def test_a_delivered_events_latency_is_from_its_creation():
    metrics = Metrics(anybody)
    metrics.on_finished(state(created=100.0), EventSummary(Phase.DELIVERED, None, ""), 100.25)
    assert value(metrics, "pipebell_event_delivered_seconds_sum") == 0.25


def test_what_a_cooldown_holds_back_is_counted():
    metrics = Metrics(anybody)
    metrics.on_finished(state(), EventSummary(Phase.SUPPRESSED, Reason.COOLDOWN, ""), 101.0)
    assert value(metrics, "pipebell_cooldown_suppressed_total", event="pipeline_failure") == 1


def test_attempts_are_counted_by_what_came_of_them():
    metrics = Metrics(anybody)
    metrics.on_attempt(state(), "slack", Outcome(OutcomeKind.RETRY, "Http503"), 0.2)
    labels = {"provider": "slack", "outcome": "retry", "reason": "Http503"}
    assert value(metrics, "pipebell_delivery_attempts_total", **labels) == 1
    assert value(metrics, "pipebell_delivery_attempt_duration_seconds_sum", provider="slack") == 0.2


def test_stand_ins_are_counted_by_kinds_alone():
    metrics, of = Metrics(anybody), state()
    of.deliveries["on-call"] = Delivery(destination="on-call", provider="pagerduty", phase=Phase.FAILED)
    instead = Delivery(destination="phones/1", provider="sms", phase=Phase.PENDING, failover_for="on-call")
    metrics.on_failover(of, instead)
    assert value(metrics, "pipebell_failovers_total", provider="pagerduty", stand_in="sms") == 1


def labels(metrics, phase="Skipped"):
    """The organisations of events that ended in this phase, with their counts."""
    samples = [sample for metric in metrics.registry.collect() for sample in metric.samples]
    found = [sample for sample in samples if sample.name == "pipebell_events_total" and sample.labels["phase"] == phase]
    return {sample.labels["org"]: sample.value for sample in found}


def finish(metrics, org, namespace="team", phase=Phase.SKIPPED):
    metrics.on_finished(state(org, namespace=namespace), EventSummary(phase, None, ""), 101.0)


def test_invented_organisations_have_no_label_and_take_none_away():
    metrics = Metrics(lambda namespace, org: (namespace, org) in {("team", "acme"), ("other", "globex")})
    for number in range(1_000):
        finish(metrics, f"invented-{number}", "evil")
    finish(metrics, "acme", "evil")
    finish(metrics, "acme")
    finish(metrics, "globex", "other")
    assert labels(metrics) == {"_other": 1_001, "acme": 1, "globex": 1}


def test_one_namespaces_thousands_of_configurations_take_no_label_from_another():
    metrics = Metrics(anybody)
    for namespace in range(3):
        for number in range(1_000):
            finish(metrics, f"org-{namespace}-{number}", f"evil-{namespace}")
    finish(metrics, "acme")
    found = labels(metrics)
    assert found["acme"] == 1
    assert found["_other"] == 3 * 800
    assert len(found) == 3 * 200 + 2


def test_when_a_series_was_made_is_no_series():
    metrics = Metrics(anybody)
    finish(metrics, "acme")
    assert "_created" not in generate_latest(metrics.registry).decode()


def test_all_labels_are_bounded():
    metrics = Metrics(anybody)
    for number in range(5_000):
        finish(metrics, f"org-{number}", f"namespace-{number}")
    assert len(labels(metrics)) == 1_001
    finish(metrics, "org-0", "another")
    assert labels(metrics)["org-0"] == 2, "a label that there is may be used by all whose configurations name it"


def test_checks_that_were_asked_for_are_counted():
    metrics = Metrics(anybody)
    for ok in (True, False, False):
        metrics.on_verified(ok)
    assert value(metrics, "pipebell_config_verifications_total", result="ok") == 1
    assert value(metrics, "pipebell_config_verifications_total", result="wrong") == 2


def an_incident(severity="error", **fields):
    key = IncidentKey("team", "acme", IncidentClass.RUN, str(fields.pop("key", "p")))
    told = Severity(severity) if fields.get("opened") is not None else None
    return Incident(key, name=f"inc-{key.value}", phase=IncidentPhase.OPEN, notified_severity=told, **fields)


def test_open_incidents_are_counted_by_severity_while_somebody_was_told_of_them():
    metrics, book = Metrics(anybody), Book()
    metrics.watch_incidents(book)
    one, two, three, four = (
        Entry(an_incident("critical", key=1, opened=5.0)),
        Entry(replace(an_incident("error", key=2, opened=5.0), phase=IncidentPhase.ACKNOWLEDGED)),
        Entry(an_incident("error", key=3, opened=5.0)),
        Entry(replace(an_incident(key=4), phase=IncidentPhase.PENDING)),
    )
    for entry in (one, two, three, four):
        book.add(entry)

    def counted(name):
        metrics.refresh()
        return {severity.value: value(metrics, name, severity=severity.value) for severity in Severity}

    assert counted("pipebell_incidents_open") == {"info": 0, "warning": 0, "error": 2, "critical": 1}
    assert counted("pipebell_incidents_acknowledged") == {"info": 0, "warning": 0, "error": 1, "critical": 0}
    book.end(two, "event", 9.0)
    assert counted("pipebell_incidents_open")["error"] == 1
    assert counted("pipebell_incidents_acknowledged")["error"] == 0


def test_how_long_it_takes_to_acknowledge_and_to_recover():
    metrics = Metrics(anybody)
    incident = an_incident(first_failure=100.0, opened=160.0)
    metrics.on_incident_acknowledged(replace(incident, acknowledged=460.0))
    assert value(metrics, "pipebell_incident_acknowledged_seconds_sum") == 300
    for by in ("event-2", "ana", "autoResolve", "ConfigChanged"):
        metrics.on_incident_ended(replace(incident, resolved=700.0, resolved_by=by))
    metrics.on_incident_ended(
        an_incident(first_failure=100.0, resolved=200.0, resolved_by="event-2")
    )  # nobody was told
    assert value(metrics, "pipebell_incident_recovered_seconds_count") == 2
    assert value(metrics, "pipebell_incident_recovered_seconds_sum") == 1200
