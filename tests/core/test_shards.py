"""How replicas share the organisations: everybody works out the same, and shards move seldom."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebell.core.shards import ALL_SHARDS, FORMAT, SHARDS, LeaseRecord, plan, replica_lease, shard_lease, shard_of


def replica(name, acquired="2026-01-01T00:00:00.000000Z", scope=""):
    return LeaseRecord(replica_lease(name), name, "1", f"uid-{name}", acquired, scope)


def settle(names, holders, busy=()):
    """What becomes of the shards when all replicas take turns until nobody wants anything."""
    replicas = [replica(name) for name in names]
    moves = 0
    for _ in range(100):
        before = dict(holders)
        for name in names:
            todo = plan(name, replicas, holders, busy)
            for shard in todo.give:
                holders[shard] = ""
            for shard in todo.take:
                assert holders.get(shard) not in names, "nobody takes what a living one holds"
                holders[shard] = name
                moves += 1
        if holders == before:
            return moves
    raise AssertionError("they never come to rest")


def test_an_organisations_shard_is_the_same_for_ever():
    assert [shard_of(org) for org in ("acme", "acme_inc", "umbrella", "0")] == [14, 5, 6, 17]
    spread = Counter(shard_of(f"org-{number}") for number in range(2400))
    assert set(spread) == ALL_SHARDS
    assert max(spread.values()) < 200


def test_a_leases_name_says_what_it_is_of():
    assert LeaseRecord(shard_lease(7), "", "1", "u", "").shard == 7
    assert replica("shard-7").shard is None
    assert LeaseRecord("shard-x", "", "1", "u", "").shard is None


@given(st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=30, unique=True), st.randoms())
def test_whatever_was_before_everything_is_held_in_fair_shares(names, chance):
    holders = {shard: chance.choice([*names, "dead", ""]) for shard in ALL_SHARDS if chance.random() < 0.8}
    settle(names, holders)
    shares = Counter(holders.values())
    assert set(holders) == ALL_SHARDS
    assert set(shares) <= set(names)
    low, high = SHARDS // len(names), -(-SHARDS // len(names))
    assert {shares[name] for name in names} <= {low, high}


@pytest.mark.parametrize(
    ("before", "after", "most"), [("a", "ab", 12), ("ab", "abc", 8), ("abc", "ab", 8), ("ab", "a", 12)]
)
def test_when_a_replica_comes_or_goes_no_more_shards_move_than_have_to(before, after, most):
    holders: dict[int, str] = {}
    settle(list(before), holders)
    old = dict(holders)
    settle(list(after), holders)
    moved = sum(old[shard] != holders[shard] for shard in ALL_SHARDS)
    assert moved == most


def test_replicas_that_look_at_the_same_moment_reach_for_different_shards():
    replicas = [replica(name) for name in "abc"]
    wanted = [plan(name, replicas, {}).take for name in "abc"]
    assert sorted(shard for shards in wanted for shard in shards) == sorted(ALL_SHARDS)


def test_idle_shards_are_given_first_and_those_that_are_leaving_before_any_other():
    replicas, holders = [replica("a"), replica("b")], dict.fromkeys(ALL_SHARDS, "a")
    busy = set(range(10, SHARDS))
    assert set(plan("a", replicas, holders, busy).give) == {*range(10), 22, 23}
    assert set(plan("a", replicas, holders, busy, leaving=range(10, 22)).give) == set(range(10, 22))


def test_what_has_not_ended_here_is_not_taken_again():
    assert set(plan("a", [replica("a")], {}, busy={3, 4}).take) == ALL_SHARDS - {3, 4}


def test_replicas_of_another_scope_stand_by_until_the_elder_ones_have_left():
    old, new = replica("z", "2026-01-01T00:00:00.000000Z", "a"), replica("a", "2026-01-02T00:00:00.000000Z", "a,b")
    holders = dict.fromkeys(ALL_SHARDS, "z")
    assert plan("a", [old, new], holders) == ((), [], True)
    assert plan("z", [old, new], holders) == ([], (), False)
    assert set(plan("a", [new], holders).take) == ALL_SHARDS


def test_replicas_of_another_format_stand_by_as_well():
    old, new = replica("z", "1"), replace(replica("a", "2"), format=FORMAT + 1)
    assert plan("a", [old, new], dict.fromkeys(ALL_SHARDS, "z")).standby
    assert not plan("z", [old, new], dict.fromkeys(ALL_SHARDS, "z")).standby
    assert not plan("a", [new], {}).standby


def test_a_younger_one_of_another_scope_gives_back_what_it_holds():
    old, new = replica("z", "1"), replica("a", "2", "a")
    assert plan("a", [old, new], {1: "a", 2: "z"}) == ((), [1], True)
