import pytest

from pipebell.core.errors import Conflict, InvalidEvent, NotFound, Unavailable
from pipebell.kube.client import MERGE_PATCH, PAGE_SIZE
from pipebell.kube.configs import NotificationConfigs
from pipebell.kube.events import PipelineEvents
from pipebell.kube.parse import parse_config

ROOT = "/apis/pipebell.io/v1alpha1"


async def test_an_event_is_read(api, client, event_item):
    api.answers(event_item())
    event = await PipelineEvents(client).get("team", "e1")
    assert event.name == "e1"
    assert (api.asked[0].method, api.asked[0].path) == ("GET", f"{ROOT}/namespaces/team/pipelineevents/e1")
    assert api.asked[0].query == {}


async def test_a_status_write_is_fenced_and_gives_the_new_version(api, client):
    api.answers({"metadata": {"resourceVersion": "8"}})
    version = await PipelineEvents(client).patch_status("team", "e1", "u", "7", {"phase": "Delivered", "reason": None})
    assert version == "8"
    (asked,) = api.asked
    assert (asked.method, asked.path) == ("PATCH", f"{ROOT}/namespaces/team/pipelineevents/e1/status")
    assert asked.headers["Content-Type"] == MERGE_PATCH
    assert asked.body == {
        "metadata": {"resourceVersion": "7", "uid": "u"},
        "status": {"phase": "Delivered", "reason": None},
    }


async def test_a_status_write_waits_for_the_api_but_not_for_ever(api, client):
    api.fails(503)
    api.answers({"metadata": {"resourceVersion": "8"}})
    assert await PipelineEvents(client).patch_status("team", "e1", "u", "7", {}) == "8"
    api.fails(409)
    with pytest.raises(Conflict):
        await PipelineEvents(client).patch_status("team", "e1", "u", "7", {})
    api.fails(503)
    with pytest.raises(Unavailable):
        await PipelineEvents(client, patience=0.0).patch_status("team", "e1", "u", "7", {})
    assert len(api.asked) == 4


async def test_a_scan_walks_each_watched_namespace_and_tells_what_it_cannot_read(api, client, event_item):
    invalid: list[InvalidEvent] = []
    broken = event_item("bad", event="nothing")
    api.answers({"metadata": {"continue": "t"}, "items": [event_item("a"), broken]})
    api.answers({"metadata": {}, "items": [event_item("b")]})
    api.answers({"metadata": {}, "items": []})
    events = PipelineEvents(client, ("one", "two"), on_invalid=invalid.append)
    pages = [[event.name for event in page.events] async for page in events.scan(("Delivered", "Failed"))]
    assert pages == [["a"], ["b"], []]
    assert [error.name for error in invalid] == ["bad"]
    assert [asked.path for asked in api.asked] == [
        f"{ROOT}/namespaces/{namespace}/pipelineevents" for namespace in ("one", "one", "two")
    ]
    assert api.asked[0].query == {
        "fieldSelector": "status.phase!=Delivered,status.phase!=Failed",
        "limit": str(PAGE_SIZE),
    }


async def test_a_scan_without_namespaces_is_one_list_of_all(api, client):
    api.answers({"metadata": {}, "items": None})
    assert [page.events async for page in PipelineEvents(client).scan()] == [[]]
    assert (api.asked[0].path, api.asked[0].query) == (f"{ROOT}/pipelineevents", {"limit": str(PAGE_SIZE)})


async def test_a_delete_is_of_this_very_object(api, client):
    api.answers({"kind": "Status", "status": "Success"})
    await PipelineEvents(client).delete("team", "e1", "u")
    assert api.asked[0].method == "DELETE"
    assert api.asked[0].body == {"preconditions": {"uid": "u"}, "propagationPolicy": "Background"}


async def test_configs_of_an_org_are_listed_consistently(api, client, config_item):
    api.answers({"metadata": {}, "items": [config_item("a"), config_item("b", email={"smtpPort": 0})]})
    found = await NotificationConfigs(client).of_org("acme", ["team"])
    assert [(config.name, config.spec is None) for config in found] == [("a", False), ("b", True)]
    assert [asked.path for asked in api.asked] == [f"{ROOT}/namespaces/team/notificationconfigs"]
    assert api.asked[0].query["fieldSelector"] == "spec.orgSlug=acme"
    assert "resourceVersion" not in api.asked[0].query


async def test_only_the_namespaces_asked_for_are_listed(api, client, config_item):
    api.answers({"metadata": {}, "items": [config_item("a", "team")]})
    api.answers({"metadata": {}, "items": [config_item("b", "shared")]})
    found = await NotificationConfigs(client).of_org("acme", ["team", "shared", "team"])
    assert [config.key for config in found] == [("team", "a"), ("shared", "b")]
    assert [asked.path.split("/")[5] for asked in api.asked] == ["team", "shared"]


async def test_all_configs_are_walked(api, client, config_item):
    api.answers({"metadata": {"continue": "t"}, "items": [config_item("a")]})
    api.answers({"metadata": {}, "items": [config_item("b")]})
    assert [[c.name for c in page] async for page in NotificationConfigs(client).scan()] == [["a"], ["b"]]


async def test_a_configs_status_is_written_to_this_very_object(api, client, config_item):
    path = f"{ROOT}/namespaces/team/notificationconfigs/c1"
    config = parse_config(config_item())
    changed = config_item()
    changed["metadata"]["resourceVersion"] = "11"
    api.fails(409)
    api.answers(changed)
    api.answers({"metadata": {}})
    await NotificationConfigs(client).patch_status(config, {"counters": {"failed": 1}})
    assert [(asked.method, asked.path) for asked in api.asked] == [
        ("PATCH", f"{path}/status"),
        ("GET", path),
        ("PATCH", f"{path}/status"),
    ]
    assert [asked.body and asked.body["metadata"] for asked in api.asked] == [
        {"resourceVersion": "8"},
        None,
        {"resourceVersion": "11"},
    ]
    assert api.asked[2].body["status"] == {"counters": {"failed": 1}}
    assert api.asked[2].headers["Content-Type"] == MERGE_PATCH


async def test_a_configs_namesake_is_not_written_to(api, client, config_item):
    other = config_item()
    other["metadata"]["uid"] = "another"
    api.fails(409)
    api.answers(other)
    with pytest.raises(NotFound):
        await NotificationConfigs(client).patch_status(parse_config(config_item()), {})
    assert len(api.asked) == 2


async def test_a_config_that_never_holds_still_is_asked_ever_less_often_and_given_up(api, client, clock, config_item):
    for _ in range(5):
        api.fails(409)
        api.answers(config_item())
    with pytest.raises(Conflict):
        await NotificationConfigs(client, sleep=clock.sleep).patch_status(parse_config(config_item()), {})
    assert [0.05 * 2**n <= wait <= 0.1 * 2**n for n, wait in enumerate(clock.slept)] == [True] * 5


async def test_what_is_written_on_a_configuration_may_be_made_anew_for_each_try(api, client, clock, config_item):
    api.fails(409)
    api.answers(config_item())
    api.answers({"metadata": {}})
    made = iter(range(1, 9))
    configs = NotificationConfigs(client, sleep=clock.sleep)
    await configs.patch_status(parse_config(config_item()), lambda: {"counters": {"failed": next(made)}})
    assert [asked.body["status"]["counters"]["failed"] for asked in api.asked if asked.method == "PATCH"] == [1, 2]
