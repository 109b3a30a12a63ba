"""How many events are kept track of, and for whom there is always room."""

from __future__ import annotations

import pytest

from pipebell.engine.events.bounds import ANY, Bounds


def fill(bounds, namespace, org, most=10**6):
    """As many as this organisation of this namespace gets."""
    count = 0
    while count < most and bounds.room(namespace, org):
        bounds.add(namespace, org)
        count += 1
    return count


def test_one_organisation_leaves_its_namespace_room_for_others_and_one_namespace_the_operator():
    bounds = Bounds(tracked=1_000, per_namespace=100)
    assert fill(bounds, "evil", "a") == 50
    assert fill(bounds, "evil", "b") == 25
    assert fill(bounds, "evil", "c") == 12
    for number in range(1_000):
        fill(bounds, "evil", f"invented-{number}")
    assert bounds.full("evil")
    assert fill(bounds, "team", "acme") == 50


def test_many_greedy_namespaces_leave_room_for_the_next_one():
    bounds = Bounds(tracked=1_000, per_namespace=900)
    got = [sum(fill(bounds, f"evil-{number}", f"org-{org}") for org in range(20)) for number in range(4)]
    assert got[0] <= 500
    assert sum(got) < 1_000
    assert fill(bounds, "team", "acme") > 0


def test_what_goes_makes_room():
    bounds = Bounds(tracked=1_000, per_namespace=100)
    fill(bounds, "team", "acme")
    assert bounds.room("team", "acme") == 0
    for _ in range(10):
        bounds.remove("team", "acme")
    assert bounds.room("team", "acme") == 10
    assert fill(bounds, "team", "acme") == 10, "it is said how many may come"
    for _ in range(50):
        bounds.remove("team", "acme")
    assert bounds._orgs == {}


@pytest.mark.parametrize("held", [(), ("acme",) * 30, ("acme", "globex") * 20])
def test_room_is_how_many_may_come(held):
    bounds = Bounds(tracked=150, per_namespace=100)
    for org in held:
        bounds.add("team", org)
    for org in ("acme", "initech", ANY):
        room = bounds.room("team", org)
        if org != ANY:
            assert fill(bounds, "team", org) == room
    assert bounds.room("team", "acme") == 0


def test_what_is_left_is_remembered_by_organisation_until_it_is_listed():
    bounds = Bounds(tracked=1_000, per_namespace=100)
    fill(bounds, "team", "acme")
    bounds.leave("team", "acme")
    assert list(bounds.behind) == ["team"]
    assert bounds.room_for_rest("team") == 0, "only acme's was left"
    bounds.leave("team", "globex")
    assert bounds.room_for_rest("team") == 25
    bounds.catch_up("team")
    assert list(bounds.behind) == []
    for number in range(10_000):
        bounds.leave("evil", f"invented-{number}")
    assert len(bounds._behind["evil"]) <= 1_001
    assert ANY in bounds._behind["evil"]


def test_bytes_are_bounded_for_each_namespace_and_for_all():
    bounds = Bounds(payload=140, payload_per_namespace=40)
    assert bounds.hold("evil", 40)
    assert not bounds.hold("evil", 1)
    assert bounds.hold("team", 20, share=0.5)
    assert not bounds.hold("team", 1, share=0.5)
    assert bounds.hold("team", 20)
    assert bounds.hold("third", 40)
    assert not bounds.hold("fourth", 21)
    bounds.release("evil", 40)
    assert bounds.hold("fourth", 40)
    for namespace in ("third", "fourth", "team"):
        bounds.release(namespace, 40)
    assert not bounds._bytes
