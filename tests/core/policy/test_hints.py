"""What would change a decision is said for every reason that a stage may give."""

from __future__ import annotations

import pytest
from tests.core.policy.test_decide import TABLE

from pipebell.core.policy.configured import nobody
from pipebell.core.policy.decide import decide
from pipebell.core.policy.decision import Deliver
from pipebell.core.policy.hints import HINTS, hint


@pytest.mark.parametrize("row", TABLE)
def test_every_decision_but_a_delivery_has_a_hint(row):
    given = TABLE[row][0]
    decision = decide(given)
    assert bool(hint(decision, given.event)) is not isinstance(decision, Deliver)
    assert "{" not in hint(decision, given.event)


def test_a_hint_names_what_has_to_be_changed():
    given = TABLE["no trigger"][0]
    assert "pipeline_started" in hint(decide(given), given.event)
    given = TABLE["trigger disabled"][0]
    assert "eventTriggers[pipeline_failure]" in hint(decide(given), given.event)
    assert "orgSlug: acme in namespace team" in hint(nobody(), given.event)
    given = TABLE["within the window"][0]
    assert "2025-06-15T15:11:30.000Z" in hint(decide(given), given.event)


def test_no_hint_is_there_for_what_no_stage_says():
    said = {(decision.stage, decision.reason) for decision in (decide(given[0]) for given in TABLE.values())}
    unconfigured = {("configured", "NoConfig"), ("configured", None)}  # the resolver's, and before it was asked
    assert set(HINTS) - said == unconfigured
