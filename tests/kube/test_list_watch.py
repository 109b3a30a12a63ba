import asyncio
from contextlib import asynccontextmanager, suppress

import structlog

from pipebell.kube.client import WATCH_SILENCE, ApiClient
from pipebell.kube.connection import Connection
from pipebell.kube.credentials import StaticToken
from pipebell.kube.event_watch import UNFINISHED, EventWatch
from pipebell.kube.list_watch import WATCH_SECONDS
from pipebell.kube.watches import DEAF, Watches

PATH = "/apis/pipebell.io/v1alpha1/pipelineevents"
BOOKMARK = {"kind": "PipelineEvent", "metadata": {"resourceVersion": "90"}}


def item(name, version, namespace="team"):
    return {"metadata": {"name": name, "namespace": namespace, "uid": name, "resourceVersion": str(version)}}


def listing(version, *items, more=""):
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)}


class World:
    """What was told, what is known, and what was found to be gone."""

    def __init__(self):
        self.told, self.known, self.gone, self.asked_for = [], [], [], []

    def tell(self, kind, item):
        self.told.append((kind, item["metadata"]["name"]))

    def know(self, namespace):
        self.asked_for.append(namespace)
        return self.known


@asynccontextmanager
async def watching(client, clock, world, namespace=None, watches=None):
    watch = EventWatch(
        client,
        clock,
        watches or Watches(),
        namespace,
        on_event=world.tell,
        tracked=world.know,
        on_missing=world.gone.append,
    )
    task = asyncio.create_task(watch.run())
    try:
        yield watch
    finally:
        assert not task.done(), "nothing ends it"
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def played(api, seconds=60):
    async with asyncio.timeout(seconds):
        while api.script:  # noqa: ASYNC110  (the fake server has no event to wait for)
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)


def versions(api):
    return [asked.query.get("resourceVersion") for asked in api.asked]


async def test_unfinished_events_are_listed_in_pages_then_followed(api, client, clock):
    world = World()
    api.answers(listing(5, item("a", 1), more="t"))
    api.answers(listing(5, item("b", 2)))
    api.watches(("ADDED", item("c", 6)), ("MODIFIED", item("c", 7)), ("DELETED", item("a", 8)))
    api.hangs()
    async with watching(client, clock, world) as watch:
        assert "not been listed" in watch.trouble
        await played(api)
        assert watch.trouble is None
    assert world.told == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"), ("MODIFIED", "c"), ("DELETED", "a")]
    assert all(asked.path == PATH and asked.query["fieldSelector"] == UNFINISHED for asked in api.asked)
    assert versions(api) == [None, None, "5", "8"]
    assert api.asked[1].query["continue"] == "t"
    assert all(asked.query["allowWatchBookmarks"] == "true" for asked in api.asked[2:])
    assert 0.7 * WATCH_SECONDS < int(api.asked[2].query["timeoutSeconds"]) < 1.3 * WATCH_SECONDS


async def test_what_a_list_does_not_show_any_more_is_gone(api, client, clock):
    world = World()
    world.known = ["a", "b"]
    api.answers(listing(5, item("a", 1), item("b", 2)))
    api.watches(("ERROR", {"code": 410}))
    api.answers(listing(15, item("b", 2), item("c", 9)))
    api.hangs()
    async with watching(client, clock, world):
        await played(api)
    assert world.gone == ["a"]
    assert world.asked_for == [None, None]


async def test_what_came_to_be_known_while_the_list_was_read_is_not_taken_for_gone(api, client, clock):
    world = World()
    api.answers(listing(5, more="t"))

    async def late(request):
        world.known = ["new"]  # by another way: a recovery's scan
        return await answered(request)

    api.answers(listing(5))
    answered = api.script.pop()
    api.script.append(late)
    api.hangs()
    async with watching(client, clock, world):
        await played(api)
    assert world.gone == []


async def test_a_list_that_breaks_off_takes_nothing_for_gone(api, client, clock):
    world = World()
    world.known = ["a", "b"]
    api.answers(listing(5, item("a", 1), more="t"))
    api.fails(403)
    api.answers(listing(6, item("a", 1), item("b", 2)))
    api.hangs()
    async with watching(client, clock, world):
        await played(api)
    assert world.gone == []


async def test_a_list_whose_snapshot_expired_midway_is_begun_again(api, client, clock):
    """What changed between the two states, among what was shown already, would be missed."""
    world = World()
    world.known = ["a", "b"]
    api.answers(listing(5, item("a", 1), more="t"))
    api.answers({"kind": "Status", "code": 410, "metadata": {"continue": "later"}}, 410)
    api.answers(listing(9, item("c", 8)))
    api.answers(listing(12, item("b", 2), item("c", 8)))
    api.hangs()
    async with watching(client, clock, world):
        await played(api)
    assert world.gone == ["a"]
    assert versions(api) == [None, None, None, None, "12"]


async def test_bookmarks_move_the_place_to_go_on_from_and_are_not_told(api, client, clock):
    world = World()
    api.answers(listing(5))
    api.watches(("BOOKMARK", BOOKMARK))
    api.hangs()
    async with watching(client, clock, world):
        await played(api)
    assert world.told == []
    assert versions(api) == [None, "5", "90"]


async def test_a_cut_watch_goes_on_behind_the_last_whole_line(api, client, clock):
    world = World()
    api.answers(listing(5))
    api.watches(("ADDED", item("a", 6)), cut=True)
    api.watches(("ADDED", item("b", 7)), chunk=7)
    api.hangs()
    async with watching(client, clock, world):
        await played(api)
    assert world.told == [("ADDED", "a"), ("ADDED", "b")]
    assert versions(api) == [None, "5", "6", "7"]
    assert world.asked_for == [None], "no new list"


async def test_one_namespace_is_watched_by_itself(api, client, clock):
    world = World()
    api.answers(listing(5))
    api.hangs()
    async with watching(client, clock, world, "team"):
        await played(api)
    assert {asked.path for asked in api.asked} == {"/apis/pipebell.io/v1alpha1/namespaces/team/pipelineevents"}
    assert world.asked_for == ["team"]


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0)


async def test_a_missing_permission_is_told_with_its_mend_until_it_is_there(api, client, clock):
    world = World()
    api.fails(403, "pipelineevents is forbidden")
    api.answers(listing(5))
    api.hangs()
    with structlog.testing.capture_logs() as logs:
        async with watching(client, clock, world) as watch:
            await until(lambda: "forbidden" in (watch.trouble or ""))
            await until(lambda: watch.trouble is None)
    line = next(line for line in logs if line["event"] == "watch_refused")
    assert (line["log_level"], "list and watch on pipelineevents" in line["hint"]) == ("error", True)


async def test_a_permission_taken_away_later_is_told_too(api, client, clock):
    world = World()
    api.answers(listing(5))
    api.fails(403, "pipelineevents is forbidden")
    api.hangs()
    with structlog.testing.capture_logs():
        async with watching(client, clock, world) as watch:
            await until(lambda: "forbidden" in (watch.trouble or ""))
            await played(api)
    assert versions(api) == [None, "5", "5"], "it goes on where it was"


async def test_definitions_that_come_later_or_go_meanwhile_are_waited_for(api, client, clock):
    world = World()
    api.fails(404, "the server could not find the requested resource")
    api.answers(listing(5, item("a", 1)))
    api.fails(404)
    api.answers(listing(9))
    api.hangs()
    world.known = ["a"]
    with structlog.testing.capture_logs() as logs:
        async with watching(client, clock, world) as watch:
            await played(api)
            assert watch.trouble is None
    assert world.gone == ["a"]
    assert any("CustomResourceDefinitions" in line.get("hint", "") for line in logs)


async def test_an_api_that_is_away_is_asked_ever_less_often_and_is_no_trouble(api, client, clock):
    world = World()
    api.answers(listing(5))
    for _ in range(3):
        api.fails(503)
    api.hangs()
    async with watching(client, clock, world) as watch:
        await played(api)
        assert watch.trouble is None
    assert [round(wait / 0.25 / 2**n, 1) <= 1.5 for n, wait in enumerate(clock.slept)] == [True] * 3
    assert clock.slept == sorted(clock.slept)


async def test_a_time_that_the_server_names_is_respected_up_to_a_minute(api, client, clock):
    api.answers(listing(5))
    api.fails(429, Retry_After="7")
    api.fails(429, Retry_After="4000")
    api.hangs()
    async with watching(client, clock, World()):
        await played(api)
    assert clock.slept == [7, 60]


async def test_a_silent_connection_is_given_up(api, clock, monkeypatch):
    monkeypatch.setattr("pipebell.kube.client.WATCH_SILENCE", 0.5)
    monkeypatch.setattr("pipebell.kube.list_watch.WATCH_SECONDS", 0.05)
    world = World()
    api.answers(listing(5))
    api.hangs()
    api.watches(("ADDED", item("a", 6)))
    api.hangs()
    connection = Connection(api.url, None, "default", StaticToken("t"))
    async with ApiClient(connection, timeout=10.0) as client, watching(client, clock, world):
        await played(api)
    assert world.told == [("ADDED", "a")]


async def test_an_open_watch_without_even_a_bookmark_begins_anew_with_a_list_at_once(api, client, clock, monkeypatch):
    monkeypatch.setattr("pipebell.kube.client.WATCH_SILENCE", 0.5)
    world, watches = World(), Watches(clock.now)
    api.answers(listing(5))
    for version in (6, 7):
        api.grants_and_says_nothing()
        api.answers(listing(version, item(f"missed-{version}", version)))
    api.hangs()
    async with watching(client, clock, world, watches=watches):
        await played(api)
    assert world.told == [("ADDED", "missed-6"), ("ADDED", "missed-7")]
    assert clock.slept == [], "the list came at once"
    assert watches.deaf() is None


def test_silence_is_noticed_within_90_seconds():
    assert 75.0 < WATCH_SILENCE < DEAF <= 90.0, "bookmarks come every minute, give or take"


async def test_whoever_hears_nothing_at_all_is_deaf(api, client, clock):
    watches = Watches(clock.now)
    api.answers(listing(5))
    api.hangs()
    async with watching(client, clock, World(), watches=watches):
        await played(api)
        clock.time += DEAF + 1
        assert "pipelineevents" in watches.deaf()


async def test_lines_that_make_no_sense_end_nothing(api, client, clock):
    world = World()
    api.answers({"items": "no list"})
    api.answers(listing(5))
    api.watches(("ADDED", {"metadata": None}))
    api.watches(("ADDED", {"metadata": {"resourceVersion": "6"}}))  # no uid, no name
    api.answers(listing(8, item("a", 7)))
    api.hangs()
    with structlog.testing.capture_logs():
        async with watching(client, clock, world):
            await played(api)
    assert world.told == [("ADDED", "a")]


async def test_its_freshness_is_known(api, client, clock):
    now = [100.0]
    watches = Watches(lambda: now[0])
    api.answers(listing(5))
    api.watches()
    api.fails(500)
    api.hangs()
    async with watching(client, clock, World(), watches=watches):
        await played(api)
        now[0] += 8
        assert watches.age("pipelineevents") == 8
        assert watches.stalled() is None
        now[0] += 1000
        assert PATH in watches.stalled()


async def test_a_burst_leaves_others_their_turn(api, client, clock):
    world = World()
    turns = 0

    async def other():
        nonlocal turns
        while len(world.told) < 1000:
            turns += 1
            await asyncio.sleep(0)

    api.answers(listing(5, *(item(f"l{n}", n + 1) for n in range(500))))
    api.watches(*(("ADDED", item(f"w{n}", 1000 + n)) for n in range(500)))
    api.hangs()
    async with watching(client, clock, world):
        await until(lambda: world.told)
        await other()
    assert turns > 40
