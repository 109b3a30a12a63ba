"""Which configurations there are."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.engine.fakes import config_object

from pipebell.core import resolve
from pipebell.engine.configs.follower import ConfigFollower
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


class Heard(ConfigFollower):
    def __init__(self):
        self.changed, self.asked = [], []

    def on_config_change(self, old, new):
        self.changed.append(new)

    def on_verify_requested(self, config):
        self.asked.append(config.verify)


def test_an_annotation_is_no_change_of_the_configuration():
    book, heard = ConfigStore(), Heard()
    book.subscribe(heard)
    config = config_object("acme", "team", "c", "5", {})
    book.put(config)
    for version, token in (("6", "t1"), ("7", "t1"), ("8", "t2"), ("6", "t3")):
        book.put(replace(config, resource_version=version, verify=token))
    assert (heard.changed, heard.asked) == ([config], ["t1", "t2"])


def aged(name, age, org="acme", namespace="team", version="1"):
    return replace(config_object(org, namespace, name, version, {}), created=1_000.0 - age)


def test_of_several_for_one_organisation_the_oldest_counts_in_each_namespace():
    store = ConfigStore()
    for config in (aged("young", 1), aged("old", 9), aged("middle", 5), aged("foreign", 99, namespace="evil")):
        store.put(config)
    assert store.own("team", "acme").name == "old"
    assert store.own("evil", "acme").name == "foreign"
    assert store.own("team", "beta") is None
    assert store.count("team", "acme") == 3
    assert {config.name for config in store.rivals("team", "acme")} == {"young", "old", "middle"}
    store.remove(("team", "old"))
    assert store.own("team", "acme").name == "middle"
    store.put(aged("middle", 5, org="beta", version="2"))
    assert (store.own("team", "acme").name, store.own("team", "beta").name) == ("young", "middle")
    store.put(aged("young", 1, version="2"))
    assert store.own("team", "acme").resource_version == "2"
    store.put(aged("elder", 2))
    store.put(aged("elder", 0, version="3"))  # deleted and made anew under the same name
    assert store.own("team", "acme").name == "young"
    for name in ("young", "elder"):
        store.remove(("team", name))
    assert store.own("team", "acme") is None
    assert store.rivals("team", "acme") == ()
    assert store.count("team", "acme") == 0


def test_the_index_agrees_with_a_look_at_all_whatever_happens():
    random = Random(7)
    store, all_ = ConfigStore(), {}
    for version in range(1, 2_000):
        namespace, name = random.choice(("team", "evil")), f"c{random.randrange(8)}"
        if random.random() < 0.3:
            store.remove((namespace, name))
            all_.pop((namespace, name), None)
        else:
            config = aged(name, random.randrange(4), random.choice(("acme", "beta")), namespace, str(version))
            store.put(config)
            all_[config.key] = config
        for where in ("team", "evil"):
            for org in ("acme", "beta"):
                expected = resolve.own([c for c in all_.values() if c.org_slug == org], where)
                assert store.own(where, org) is expected
