"""`python -m bench.deciding`: what deciding costs an event, with overrides and without; CPU of one process, no server.

An operator's run differs by more than this from one time to the next, so it is measured by itself.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import click

from pipebell.core.event import Event, PipelineEventSpec
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationSpec
from pipebell.core.placeholders import Environment
from pipebell.core.policy.decide import decide
from pipebell.core.policy.decision import Deliver
from pipebell.core.policy.situation import CooldownFacts, Progress, Resolved, Situation
from pipebell.core.status import ConfigReference, EventStatus

RULES, ROUNDS, EVENTS = 64, 9, 4_000
_NOW = 1_800_000_000.0
_EMAIL = {"smtpHost": "smtp.example.com", "fromEmail": "from@example.com", "toEmails": ["to@example.com"]}
_REFERENCE = ConfigReference(kind="NotificationConfig", namespace="team", name="config", generation=1)


def overrides() -> list[dict[str, Any]]:
    """As many rules as there may be, with as many globs, of which only the last one meets the events."""
    last = RULES - 1
    return [
        {
            "pipelines": [f"*team{number}-?-part{part}*" for part in range(7)] + (["*load*"] if number == last else []),
            "owner": f"owner-{number}*" if number % 3 == 0 and number != last else None,
            "labels": {"env": f"prod-{number}*"} if number % 4 == 0 and number != last else None,
            "severity": "warning",
        }
        for number in range(RULES)
    ]


def decided_ms(rules: list[dict[str, Any]], *, known: bool) -> float:
    """CPU ms an event; `known`: its pipeline was met before."""
    spec: dict[str, Any] = {"email": _EMAIL, **({"pipelineOverrides": rules} if rules else {})}
    layers = Layers(Layer(NotificationSpec.model_validate(spec), Environment({})), None)
    resolved = Resolved(layers, _REFERENCE, None)
    events = [
        Event(
            *("team", f"e{number}", f"uid-{number}", "1", 1, _NOW),
            PipelineEventSpec.model_validate(
                {
                    "orgSlug": "acme",
                    "event": "pipeline_failure",
                    "pipelineId": f"nightly-load-{number % 100 if known else number}",
                    "owner": "data-platform",
                    "labels": {"env": "prod"},
                }
            ),
            EventStatus(),
        )
        for number in range(EVENTS)
    ]
    began = time.process_time()
    for event in events:
        found = decide(Situation(event, _NOW, 86_400.0, resolved, CooldownFacts(), Progress()))
        assert isinstance(found, Deliver)
    return (time.process_time() - began) * 1000 / EVENTS


def measure() -> dict[str, float]:
    """Medians, ms an event, in turns so that a busy neighbour meets all of them."""
    rules = overrides()
    runs = [
        (decided_ms([], known=True), decided_ms(rules, known=True), decided_ms(rules, known=False))
        for _ in range(ROUNDS)
    ]
    without, known, fresh = (statistics.median(values) for values in zip(*runs, strict=True))
    return {
        "without_ms": round(without, 4),
        "known_pipelines_ms": round(known, 4),
        "new_pipelines_ms": round(fresh, 4),
        "overrides_64_ms": round(max(known, fresh) - without, 4),
    }


@click.command()
def main() -> None:
    """Show what 64 overrides of 8 globs each add to an event."""
    for name, value in measure().items():
        click.echo(f"{name:20}{value:.4f}")


if __name__ == "__main__":
    main()
