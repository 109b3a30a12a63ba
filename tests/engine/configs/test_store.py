"""Which configurations there are."""

from __future__ import annotations

from tests.engine.fakes import config_object

from pipebell.engine.configs.store import ConfigStore


def test_the_book_never_goes_back_and_forgets_only_what_it_should():
    book = ConfigStore()
    old, new = config_object("acme", "team", "c", "5", {}), config_object("acme", "team", "c", "7", {})
    assert book.put(new) is None
    assert book.put(old) is old
    assert book.get(("team", "c")) is new
    assert book.knows(("team", "c"), "6")
    assert not book.knows(("team", "c"), "8")
    assert book.remove(("team", "c"), "another-uid") is None
    assert book.of_org("acme") == (new,)
    assert book.remove(("team", "c"), new.uid) is new
    assert book.of_org("acme") == ()


def test_a_configuration_may_change_its_organisation():
    book = ConfigStore()
    book.put(config_object("acme", "team", "c", "5", {}))
    moved = config_object("beta", "team", "c", "6", {})
    book.put(moved)
    assert (book.of_org("acme"), book.of_org("beta")) == ((), (moved,))
