import asyncio
from contextlib import asynccontextmanager, suppress

import structlog

from pipebell.kube.list_watch import LONGEST_WAIT
from pipebell.kube.root import RootWatch

PATH = "/api/v1/namespaces/pipebell-system/configmaps"


def configmap(version, text="{}", name="pipebell-root"):
    return {
        "metadata": {
            "name": name,
            "namespace": "pipebell-system",
            "resourceVersion": str(version),
            "uid": f"uid-of-{name}",
        },
        "data": {"config.json": text},
    }


def listing(version, *items):
    return {"metadata": {"resourceVersion": str(version)}, "items": list(items)}


class Told:
    def __init__(self):
        self.changes = []
        self.fail = False

    def __call__(self, data, version, uid):
        assert uid == ("" if data is None else "uid-of-pipebell-root"), "Kubernetes Events are found by it"
        self.changes.append((None if data is None else data["config.json"], version))
        if self.fail:
            raise RuntimeError("not understood")


@asynccontextmanager
async def watching(client, clock, told):
    watch = RootWatch(client, clock, namespace="pipebell-system", name="pipebell-root", on_change=told)
    task = asyncio.create_task(watch.run())
    yield watch
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def played(api, told, changes):
    """Wait until the script is over and so many changes were told."""
    async with asyncio.timeout(60):
        while api.script or len(told.changes) < changes:  # noqa: ASYNC110  (the fake server has no event to wait for)
            await asyncio.sleep(0.005)


async def test_root_is_listed_then_followed(api, client, clock):
    told = Told()
    api.answers(listing(5, configmap(4, "one")))
    api.watches(
        ("MODIFIED", configmap(6, "two")),
        ("BOOKMARK", {"metadata": {"resourceVersion": "7"}}),
        ("DELETED", configmap(8, "two")),
        ("ADDED", configmap(9, "three")),
    )
    api.hangs()
    async with watching(client, clock, told) as watch:
        await asyncio.wait_for(watch.listed.wait(), 60)
        await played(api, told, 4)
    assert told.changes == [("one", "4"), ("two", "6"), (None, "8"), ("three", "9")]
    assert [asked.path for asked in api.asked] == [PATH] * 3
    assert all(asked.query["fieldSelector"] == "metadata.name=pipebell-root" for asked in api.asked)
    assert [asked.query.get("resourceVersion") for asked in api.asked] == [None, "5", "9"]


async def test_absence_is_told_once(api, client, clock):
    told = Told()
    api.answers(listing(5))
    api.watches(("ERROR", {"code": 410}))
    api.answers(listing(15))
    api.watches(("ADDED", configmap(16, "one")))
    api.hangs()
    async with watching(client, clock, told):
        await played(api, told, 2)
    assert told.changes == [(None, "5"), ("one", "16")]


async def test_a_deletion_missed_while_away_is_noticed(api, client, clock):
    told = Told()
    api.answers(listing(5, configmap(4, "one")))
    api.watches(("ERROR", {"code": 410}))
    api.answers(listing(15))
    api.hangs()
    async with watching(client, clock, told):
        await played(api, told, 2)
    assert told.changes == [("one", "4"), (None, "15")]


async def test_the_same_version_is_not_told_twice(api, client, clock):
    told = Told()
    api.answers(listing(5, configmap(4, "one")))
    api.watches(("ERROR", {"code": 410}))
    api.answers(listing(15, configmap(4, "one")))
    api.watches(("ADDED", configmap(4, "one")), ("MODIFIED", configmap(16, "two")))
    api.hangs()
    async with watching(client, clock, told):
        await played(api, told, 2)
    assert told.changes == [("one", "4"), ("two", "16")]


async def test_other_names_are_nobodys_business(api, client, clock):
    told = Told()
    api.answers(listing(5, configmap(4, "other", name="other")))
    api.watches(("ADDED", configmap(6, "other", name="other")), ("ADDED", configmap(7, "mine")))
    api.hangs()
    async with watching(client, clock, told):
        await played(api, told, 2)
    assert told.changes == [(None, "5"), ("mine", "7")]


async def test_a_broken_watch_goes_on_where_it_was_and_doubts_it_after_a_while(api, client, clock):
    told = Told()
    api.answers(listing(5, configmap(4, "one")))
    api.watches(("MODIFIED", configmap(6, "two")), cut=True)
    for _ in range(3):
        api.fails(500)
    api.answers(listing(20, configmap(18, "three")))
    api.hangs()
    async with watching(client, clock, told):
        await played(api, told, 3)
    assert told.changes == [("one", "4"), ("two", "6"), ("three", "18")]
    versions = [asked.query.get("resourceVersion") for asked in api.asked]
    assert versions == [None, "5", "6", "6", "6", None, "20"]


async def test_waits_grow_to_a_limit_while_the_api_is_away(api, client, clock):
    told = Told()
    for _ in range(12):
        api.fails(503)
    api.answers(listing(5))
    api.hangs()
    async with watching(client, clock, told) as watch:
        assert not watch.listed.is_set()
        await played(api, told, 1)
        assert watch.listed.is_set()
    waits = clock.slept[:12]
    assert 0.25 <= waits[0] <= 0.375
    assert all(LONGEST_WAIT <= wait <= 1.5 * LONGEST_WAIT for wait in waits[6:])


async def test_a_missing_permission_is_told_with_its_mend(api, client, clock):
    told = Told()
    api.fails(403, 'configmaps "pipebell-root" is forbidden')
    api.answers(listing(5))
    api.hangs()
    with structlog.testing.capture_logs() as logs:
        async with watching(client, clock, told):
            await played(api, told, 1)
    line = next(line for line in logs if line["event"] == "watch_refused")
    assert line["log_level"] == "error"
    assert "resourceNames [pipebell-root] in namespace pipebell-system" in line["hint"]


async def test_what_the_listener_raises_ends_nothing(api, client, clock):
    told = Told()
    told.fail = True
    api.answers(listing(5, configmap(4, "one")))
    api.watches(("MODIFIED", configmap(6, "two")))
    api.hangs()
    with structlog.testing.capture_logs() as logs:
        async with watching(client, clock, told) as watch:
            await played(api, told, 2)
            assert watch.listed.is_set()
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["root_change_failed"] * 2


async def test_an_answer_that_makes_no_sense_ends_nothing(api, client, clock):
    told = Told()
    api.answers({"no": "list"})
    api.answers(listing(5))
    api.hangs()
    with structlog.testing.capture_logs():
        async with watching(client, clock, told):
            await played(api, told, 1)
    assert told.changes == [(None, "5")]
