"""When others stand in, which, and when they are not needed or not wanted any more."""

import pytest

from pipebell.core.layers import Fallback
from pipebell.core.policy.failover import due_at, next_due, relieve, stand_in, stood_in_for, withdrawn
from pipebell.core.policy.triggers import MAX_DELIVERIES
from pipebell.core.status import Delivery, rfc3339
from pipebell.core.vocabulary import Phase, Reason

NOW = 1_795_407_342.0
AFTER = Fallback(("x",), 300.0)
FALLBACKS = {"a": AFTER}


def delivery(name="a", phase=Phase.PENDING, **more):
    return Delivery(destination=name, phase=phase, **more)


def kind(name):
    return "slack"


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ({}, None),
        ({"first_due_time": rfc3339(NOW - 100)}, NOW + 200),
        ({"first_due_time": rfc3339(NOW - 400)}, NOW - 100),
        ({"first_due_time": rfc3339(NOW + 9e9)}, NOW + 300),
        ({"phase": Phase.FAILED, "reason": Reason.PERMANENT_ERROR}, 0.0),
        ({"phase": Phase.FAILED, "reason": Reason.RETRIES_EXHAUSTED}, 0.0),
        ({"phase": Phase.FAILED, "reason": Reason.RATE_LIMITED}, 0.0),
        ({"phase": Phase.FAILED, "reason": Reason.CONFIG_CHANGED}, None),
        ({"phase": Phase.FAILED, "reason": Reason.EXPIRED}, None),
        ({"phase": Phase.FAILED, "reason": Reason.SUPERSEDED}, None),
        ({"phase": Phase.DELIVERED, "first_due_time": rfc3339(NOW - 400)}, None),
        ({"phase": Phase.PARTIALLY_DELIVERED, "first_due_time": rfc3339(NOW - 400)}, None),
        ({"failover_for": "b", "first_due_time": rfc3339(NOW - 400)}, None),
    ],
)
def test_when_it_is_due(given, at):
    assert due_at(delivery(**given), AFTER, NOW) == at


def test_it_is_noted_in_both_places_and_once():
    deliveries = {"a": delivery(phase=Phase.FAILED, reason=Reason.PERMANENT_ERROR)}
    assert next_due(deliveries, FALLBACKS, NOW) == 0.0
    assert stand_in(deliveries, FALLBACKS, kind, NOW) == ["x"]
    assert (deliveries["x"].failover_for, deliveries["x"].provider) == ("a", "slack")
    assert deliveries["a"].failover_to == ["x"]
    assert next_due(deliveries, FALLBACKS, NOW) is None
    assert stand_in(deliveries, FALLBACKS, kind, NOW) == []


def test_there_are_no_more_than_a_status_holds():
    deliveries = {f"d{n}": delivery(f"d{n}") for n in range(MAX_DELIVERIES - 2)}
    deliveries["a"] = delivery(phase=Phase.FAILED, reason=Reason.PERMANENT_ERROR)
    fallbacks = {"a": Fallback(("x", "y"), 0.0)}
    assert stand_in(deliveries, fallbacks, kind, NOW) == ["x"]
    assert len(deliveries) == MAX_DELIVERIES
    assert next_due(deliveries, fallbacks, NOW) is None


def test_one_that_is_not_needed_any_more_is_relieved_unless_it_has_arrived_in_part():
    deliveries = {
        "a": delivery(phase=Phase.DELIVERED, failover_to=["x", "y"]),
        "x": delivery("x", failover_for="a"),
        "y": delivery("y", failover_for="a", delivered_time=rfc3339(NOW)),
    }
    relieve(deliveries)
    assert (deliveries["x"].phase, deliveries["x"].reason) == (Phase.SKIPPED, Reason.SUPERSEDED)
    assert deliveries["y"].phase is Phase.PENDING


def test_one_that_stands_in_for_two_is_needed_as_long_as_one_has_not_arrived():
    deliveries = {
        "a": delivery(phase=Phase.DELIVERED, failover_to=["x"]),
        "b": delivery("b", failover_to=["x"]),
        "x": delivery("x", failover_for="a"),
    }
    relieve(deliveries)
    assert deliveries["x"].phase is Phase.PENDING


@pytest.mark.parametrize(
    ("wanted", "fallbacks", "is_withdrawn"),
    [
        (["a"], FALLBACKS, False),
        (["a"], {"a": Fallback(("y",), 300.0)}, True),
        (["a"], {}, True),
        (["other"], {}, False),
    ],
)
def test_who_is_not_wanted_any_more(wanted, fallbacks, is_withdrawn):
    deliveries = {"a": delivery(failover_to=["x"]), "x": delivery("x", failover_for="a")}
    assert withdrawn(deliveries, deliveries["x"], wanted, fallbacks) is is_withdrawn


@pytest.mark.parametrize(
    ("arrived", "whom"),
    [
        ({"x": NOW}, {"a", "b"}),  # one stands in for both
        ({"a": NOW}, set()),
        ({}, set()),  # under way is not there yet
    ],
)
def test_whom_others_stood_in_for(arrived, whom):
    given = [
        delivery("a", Phase.FAILED, failover_to=["x"]),
        delivery("b", Phase.FAILED, failover_to=["x"]),
        delivery("c", Phase.FAILED),
        delivery("x", failover_for="a"),
    ]
    found = [
        each.model_copy(update={"delivered_time": rfc3339(arrived[each.destination])})
        if each.destination in arrived
        else each
        for each in given
    ]
    assert stood_in_for(found) == whom
