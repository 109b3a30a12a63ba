"""What is remembered of incidents: within bounds, and nothing of one namespace at the cost of another."""

from __future__ import annotations

import pytest

from pipebell.core.incidents import book as books
from pipebell.core.incidents.book import Book, Entry
from pipebell.core.incidents.keys import IncidentKey
from pipebell.core.incidents.resource import IncidentClass
from pipebell.core.incidents.state import Incident


@pytest.fixture
def book(monkeypatch):
    monkeypatch.setattr(books, "PAST_KEPT", 10)
    return Book()


def key(namespace, value):
    return IncidentKey(namespace, "acme", IncidentClass.RUN, value)


def opened(book, namespace, *values):
    """Incidents of these keys were told at 1, 2, 3 …, and are over."""
    for number, value in enumerate(values, start=1):
        book.found_past(Incident(key(namespace, value), opened=float(number)), None)


def test_invented_pipelines_of_one_namespace_push_out_nothing_of_another(book):
    opened(book, "quiet", "a", "b")
    opened(book, "crowd", *map(str, range(100)))
    opened(book, "third", "a")
    assert [book.past(key("quiet", name)).opening for name in "ab"] == [1.0, 2.0]
    assert book.past(key("third", "a")).opening == 1.0
    kept = [number for number in range(100) if book.past(key("crowd", str(number))).opening is not None]
    assert kept == [93, 94, 95, 96, 97, 98, 99]  # the latest ones


def test_what_is_forgotten_makes_room(book):
    opened(book, "team", *map(str, range(10)))
    book.forget(lambda each: each.namespace == "team")
    opened(book, "other", *map(str, range(10)))
    assert all(book.past(key("other", str(number))).opening is not None for number in range(10))
    assert book.past(key("team", "1")).opening is None


def test_an_entry_that_is_over_is_found_by_its_name_alone(book):
    incident = Incident(key("team", "a"), name="inc-1")
    book.add(Entry(incident))
    book.end(book.named("team", "inc-1"), "ann", 5.0, by_hand=True)
    assert book.current(key("team", "a")) is None
    assert book.named("team", "inc-1").incident.by_hand


def test_ends_in_one_namespace_push_out_nothing_of_another(monkeypatch):
    monkeypatch.setattr(books, "ENDED_KEPT", 10)
    book = Book()
    for namespace, count in (("quiet", 2), ("crowd", 100), ("third", 1)):
        for number in range(count):
            book.add(Entry(Incident(key(namespace, str(number)), name=f"inc-{number}")))
            book.end(book.named(namespace, f"inc-{number}"), f"success-{number}", 5.0)
    assert [
        len([each for each in book.all() if each.incident.key.namespace == name]) for name in ("quiet", "third")
    ] == [2, 1]
    assert len(book.all()) == 10
    assert book.named("crowd", "inc-99") is not None
