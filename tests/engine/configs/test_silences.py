"""Silences in memory: newest versions count, deletions are noticed, and a crowd of them is bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs
from tests.core.silences.test_resource import silence
from tests.engine.fakes import START

from pipebell.core.silences.resource import Silence
from pipebell.core.vocabulary import SilencePhase
from pipebell.engine.configs import silences
from pipebell.engine.configs.silences import SilenceStore


@pytest.fixture
def store():
    store = SilenceStore("ops")
    store.changes, store.where = 0, []

    def change(namespace):
        store.changes += 1
        store.where.append(namespace)

    store.subscribe(change)
    return store


def names(store, namespace, now=START):
    return sorted(found.name for found in store.of(namespace, now))


def test_a_namespace_has_its_own_and_the_platforms(store):
    store.put(silence("a"))
    store.put(silence("b", namespace="other"))
    store.put(silence("c", namespace="ops", platform=True))
    assert (names(store, "team"), names(store, "ops"), names(store, "x")) == (["a", "c"], ["c"], ["c"])
    assert (store.by("team", "silence/a").name, store.by("team", "platform/c").name) == ("a", "c")
    assert store.by("team", "silence/b") is None
    assert store.by("team", "platform/a") is None


def test_only_those_that_hold_now(store):
    store.put(silence("over", ends=-1))
    store.put(silence("later", startsAt="2025-06-15T15:10:00Z"))
    assert names(store, "team") == []
    assert names(store, "team", START + 300) == ["later"]
    assert [store.count(phase, lambda: START) for phase in SilencePhase] == [1, 0, 1]


def test_it_is_said_whose_events_a_change_may_concern(store):
    store.put(silence("a"))
    store.put(silence("c", namespace="ops", platform=True))
    store.remove("team", "a")
    store.remove("ops", "c")
    assert store.where == ["team", None, "team", None]


def test_an_older_version_changes_nothing_and_a_namesake_does(store):
    store.put(replace(silence(reason="new"), resource_version="10"))
    store.put(replace(silence(reason="old"), resource_version="9"))
    assert store.get("team", "s").spec.reason == "new"
    store.put(replace(silence(reason="another"), resource_version="9", uid="another"))
    assert store.get("team", "s").spec.reason == "another"


def test_who_follows_hears_of_what_silences_say_and_not_of_their_status(store):
    made = silence()
    store.put(made)
    store.put(replace(made, resource_version="2"))
    assert store.changes == 1
    store.put(replace(silence(reason="x"), resource_version="3"))
    store.remove("team", "s")
    store.remove("team", "s")
    assert store.changes == 3


def test_a_list_that_does_not_show_it_is_a_deletion_in_its_own_namespace(store):
    store.put(silence("a"))
    store.put(silence("b", namespace="other"))
    assert not store.known("team")
    store.keep("team", {("team", "x")})
    assert (names(store, "team"), names(store, "other")) == ([], ["b"])
    assert (store.known("team"), store.known("other")) == (True, False)
    store.keep(None, set())
    assert (len(store), store.known("other")) == (0, True)


def test_of_a_crowd_the_oldest_count(store, monkeypatch):
    monkeypatch.setattr(silences, "MOST", 2)
    for number, name in enumerate("dcba"):
        store.put(replace(silence(name), created=START + number))
    assert names(store, "team", START + 10) == ["c", "d"]


def test_thousands_are_looked_through_when_one_begins_or_ends_and_not_for_each_event(store, monkeypatch):
    looked = []
    phase = Silence.phase
    monkeypatch.setattr(Silence, "phase", lambda self, now: looked.append(now) or phase(self, now))
    for number in range(1000):
        store.put(silence(f"over-{number}", ends=-1))
    store.put(silence("later", startsAt="2025-06-15T15:10:00Z"))
    events = [START + number / 100 for number in range(10_000)]
    assert sum(len(store.of("team", now)) for now in events) == 0
    assert set(looked) == {START}
    begins = store.get("team", "later").starts
    assert (names(store, "team", begins - 0.001), names(store, "team", begins)) == ([], ["later"])
    ends = store.get("team", "later").ends
    assert (names(store, "team", ends - 0.001), names(store, "team", ends)) == (["later"], [])
    assert names(store, "team", START) == []  # a clock was set back
    store.put(silence("new"))
    assert names(store, "team", START) == ["new"]
    store.remove("team", "new")
    assert names(store, "team", START) == []


def test_a_crowd_is_told_of_in_the_log_once_and_not_for_each_event(store, monkeypatch):
    monkeypatch.setattr(silences, "MOST", 2)
    for name in "abc":
        store.put(silence(name))
    with capture_logs() as logs:
        for _ in range(100):
            store.of("team", START)
    assert [log["event"] for log in logs] == ["silences_ignored"]
