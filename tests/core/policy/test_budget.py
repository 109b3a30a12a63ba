"""What counts in an hourly limit: the organisation's own, and root's."""

from __future__ import annotations

import pytest
from tests.core.policy.test_decide import event

from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationSpec, RootSpec
from pipebell.core.placeholders import Environment
from pipebell.core.policy.budget import counted, is_good
from pipebell.core.vocabulary import Severity

MAIL = {"smtp_host": "mail.example.com", "from_email": "a@example.com", "to_emails": ["ops@example.com"]}
LAYERS = Layers(
    Layer(NotificationSpec.model_validate({"org_slug": "acme", "max_notifications_per_hour": 5}), Environment({})),
    Layer(
        RootSpec.model_validate({"email": MAIL, "restrict": {"max_notifications_per_hour": 5}}),
        Environment({}),
        root=True,
    ),
)
CHANNEL, RESOLVED = {"kind": "Channel", "destination": "slack"}, {"kind": "Resolved", "incident": "inc-1", "step": 1}
SUCCESS, WORKS = {"event": "pipeline_success"}, {"event": "channel_recovered"}


@pytest.mark.parametrize(
    ("spec", "severity", "recovers", "expected"),
    [
        ({}, "error", False, (True, True)),
        ({}, "critical", False, (False, True)),
        ({"test": True}, "error", False, (False, True)),
        ({"replayOf": {"name": "x"}}, "error", False, (False, True)),
        (SUCCESS, "info", True, (False, False)),
        (SUCCESS, "info", False, (False, True)),
        (SUCCESS, "critical", False, (False, True)),
        (WORKS, "info", False, (False, True)),
        (WORKS | {"notice": CHANNEL}, "info", False, (False, True)),
        (SUCCESS | {"notice": RESOLVED}, "info", False, (False, False)),
        (SUCCESS | {"notice": {"kind": "Digest", "destination": "email"}}, "info", False, (True, True)),
    ],
)
def test_what_counts(spec, severity, recovers, expected):
    found = counted(event(**spec), Severity(severity), ["email"], LAYERS, recovers=recovers)
    assert found == expected


def test_what_says_that_something_is_well_has_a_limit_of_its_own():
    assert is_good(event(**SUCCESS))
    assert is_good(event(**WORKS, notice=CHANNEL))
    assert not is_good(event(**SUCCESS, notice={"kind": "CatchUp"}))
    assert not is_good(event())
