"""Silences in the running operator: what is off where the cluster does not serve or permit them, and who says so."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.core.silences.test_resource import silence
from tests.engine.fakes import START, House

from pipebell.core.errors import Forbidden, NotFound, Unavailable
from pipebell.kube.definitions import Definitions
from pipebell.settings import Settings
from pipebell.silencing import Silencing


class Client:
    """An API server that answers lists of silences so."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    async def pages(self, path, **_):
        self.asked.append(path)
        if isinstance(self.answer, Exception):
            raise self.answer
        yield {"metadata": {"resourceVersion": "1"}, "items": self.answer}


ITEM = {
    "metadata": {"namespace": "team", "name": "s", "uid": "u", "resourceVersion": "5"},
    "spec": {"endsAt": "2030-01-31T08:00:00Z", "reason": "why"},
}


@pytest.fixture
async def made():
    houses = []

    def make(answer, missing=None, **environ):
        house = House()
        house.no_root()
        houses.append(house)
        settings = Settings.from_env({"PIPEBELL_NAMESPACE": "ops", **environ})
        client = Client(answer)
        definitions = Definitions(client, house.clock)
        definitions.missing = missing or {}
        silencing = Silencing(
            *(settings, house.ports, (client, client)),
            *(house.engine, house.resolver, house.ledger, definitions),
        )
        silencing.subscribe(SimpleNamespace(subscribe=lambda *_: None))
        return SimpleNamespace(silencing=silencing, house=house, client=client)

    yield make
    for house in houses:
        await house.engine.close(0)


async def test_all_are_known_before_the_first_event_is_decided(made):
    here = made([ITEM])
    await here.silencing.learn()
    assert [found.name for found in here.house.engine.books.holds.silences("team", START)] == ["s"]


async def test_named_namespaces_are_read_one_by_one_and_the_operators_own_always(made):
    here = made([], PIPEBELL_WATCH_NAMESPACES="a,b")
    await here.silencing.learn()
    root = "/apis/pipebell.io/v1alpha1/namespaces"
    assert here.client.asked == [f"{root}/{name}/silences" for name in ("a", "b", "ops")]


@pytest.mark.parametrize("error", [NotFound("no such kind"), Forbidden("not permitted"), Unavailable("away")])
async def test_a_cluster_that_does_not_tell_of_silences_keeps_nobody_from_being_told(made, error):
    here = made(error)
    await here.silencing.learn()
    here.house.config()
    event = here.house.event()
    await here.house.submit(event)
    assert here.house.status(event).phase == "Delivered"
    assert "has not been listed yet" in here.silencing.remarks[0]


@pytest.mark.parametrize(
    "missing", [{"PipelineEvent": ["status.catchUp"]}, {"PipelineEvent": ["status"]}, {"PipelineEvent": ["*"]}]
)
async def test_nothing_is_held_back_that_the_served_definitions_could_not_say(made, missing):
    here = made([], missing)
    here.silencing.store.put(silence())
    here.house.config(quietHours=[{"from": "15:00", "to": "16:00"}])
    event = here.house.event()
    await here.house.submit(event)
    assert here.house.status(event).phase == "Delivered"


async def test_a_kind_that_is_not_served_is_told_by_the_definitions_alone(made):
    here = made([], {"Silence": ["*"]})
    assert here.silencing.remarks == []
    assert here.silencing._definitions.remarks == [
        "off, for the served Silence lacks it: * (apply this release's definitions)"
    ]
