import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
import structlog

from pipebell.core.errors import Rejected, Unavailable
from pipebell.kube.notices import (
    AT_ONCE,
    NAMESPACE_BURST,
    NAMESPACE_SERIES,
    NAMESPACE_WAITING,
    SERIES,
    WAITING,
    WINDOW,
    KubeNotices,
)


class Posts:
    """Stands for the client: remembers each post and when it was made."""

    def __init__(self, clock):
        self.clock = clock
        self.bodies = []
        self.times = []
        self.paths = []
        self.fail = []

    async def request(self, method, path, *, body):
        assert method == "POST"
        if self.fail:
            raise self.fail.pop(0)
        self.paths.append(path)
        self.bodies.append(body)
        self.times.append(self.clock.now())


class Clock:
    """A clock whose sleepers wake when the test moves it."""

    def __init__(self):
        self.time = 1_000_000.4
        self.sleepers = []

    def now(self):
        return self.time

    async def sleep(self, seconds):
        woken = asyncio.get_running_loop().create_future()
        self.sleepers.append((self.time + seconds, woken))
        await woken

    async def move(self, seconds):
        until = self.time + seconds
        await settle()
        while due := sorted((at, id(woken), woken) for at, woken in self.sleepers if at <= until):
            self.time, _, woken = due[0]
            self.sleepers = [sleeper for sleeper in self.sleepers if sleeper[1] is not woken]
            if not woken.done():
                woken.set_result(None)
            await settle()
        self.time = until


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def clock():
    return Clock()


@asynccontextmanager
async def running(clock):
    posts = Posts(clock)
    notices = KubeNotices(posts, clock)
    task = asyncio.create_task(notices.run())
    await settle()
    yield notices, posts
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def warn(notices, message="boom", name="e1", kind="PipelineEvent", namespace="team"):
    notices.warn(kind, namespace, name, "uid-1", "DeliveryFailed", message)


async def test_a_warning_becomes_an_event(clock):
    async with running(clock) as (notices, posts):
        warn(notices, "x" * 3000)
        await clock.move(0)
    assert posts.paths == ["/api/v1/namespaces/team/events"]
    (body,) = posts.bodies
    assert body["involvedObject"] == {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "PipelineEvent",
        "namespace": "team",
        "name": "e1",
        "uid": "uid-1",
    }
    assert (body["type"], body["reason"], body["count"]) == ("Warning", "DeliveryFailed", 1)
    assert len(body["message"]) == 1024
    assert body["firstTimestamp"] == body["lastTimestamp"] == "1970-01-12T13:46:40Z"
    assert body["metadata"]["name"].startswith("e1.")


async def test_a_configmap_is_of_the_core_api(clock):
    async with running(clock) as (notices, posts):
        warn(notices, kind="ConfigMap")
        await clock.move(0)
    assert posts.bodies[0]["involvedObject"]["apiVersion"] == "v1"


async def test_equal_warnings_become_one_more_event_with_a_count(clock):
    async with running(clock) as (notices, posts):
        warn(notices)
        await clock.move(1)
        for _ in range(7):
            warn(notices)
            await clock.move(10)
        warn(notices, "another")
        await clock.move(0)
        assert [body["count"] for body in posts.bodies] == [1, 1]
        await clock.move(WINDOW + 60)
        assert [(body["message"], body["count"]) for body in posts.bodies[2:]] == [("boom", 7)]
        assert (posts.bodies[2]["firstTimestamp"], posts.bodies[2]["lastTimestamp"]) == (
            "1970-01-12T13:46:41Z",
            "1970-01-12T13:47:41Z",
        )
        await clock.move(2 * WINDOW + 60)
        assert len(posts.bodies) == 3
        assert notices._desks == {}, "what nobody repeats is forgotten"
        warn(notices)
        await clock.move(0)
        assert posts.bodies[3]["count"] == 1


async def test_a_burst_goes_out_at_once_and_the_rest_five_a_second(clock):
    began = clock.now()
    async with running(clock) as (notices, posts):
        for number in range(70):
            warn(notices, str(number), namespace=f"team-{number % 10}")
        await clock.move(0)
        assert len(posts.bodies) == 50
        await clock.move(10)
    assert len(posts.bodies) == 70
    assert posts.times[49] == began
    assert posts.times[69] - began == pytest.approx(4.0)


async def test_one_namespaces_flood_leaves_the_others_their_events(clock):
    async with running(clock) as (notices, posts):
        for number in range(3_000):
            warn(notices, str(number), namespace="evil", name=f"e{number}")
        await clock.move(0)
        assert len(posts.bodies) == NAMESPACE_BURST
        warn(notices, namespace="team")
        await clock.move(0)
        assert posts.paths[-1] == "/api/v1/namespaces/team/events", "at once"
        await clock.move(20)
    evil = [path for path in posts.paths if "evil" in path]
    assert len(evil) == NAMESPACE_BURST + 20, "one a second"


async def test_namespaces_take_turns_when_all_have_more_than_may_be_posted(clock):
    async with running(clock) as (notices, posts):
        for namespace in ("a", "b", "c", "d", "e", "f", "g", "h"):
            for number in range(NAMESPACE_WAITING):
                warn(notices, str(number), namespace=namespace)
        await clock.move(60)
    counts = {path: posts.paths.count(path) for path in posts.paths}
    assert len(counts) == 8
    assert max(counts.values()) - min(counts.values()) <= 1


async def test_a_namespace_whose_events_the_api_takes_slowly_holds_up_no_other(clock):
    async with running(clock) as (notices, posts):
        freed, post = asyncio.Event(), posts.request

        async def request(method, path, *, body):
            if "/slow" in path:
                await freed.wait()
            await post(method, path, body=body)

        posts.request = request
        for number in range(AT_ONCE - 1):
            for again in range(5):
                warn(notices, str(again), namespace=f"slow-{number}")
        warn(notices, namespace="team")
        await clock.move(0)
        assert posts.paths == ["/api/v1/namespaces/team/events"]
        freed.set()
        await clock.move(0)
        assert len(posts.paths) == 5 * (AT_ONCE - 1) + 1


async def test_what_does_not_fit_is_dropped_with_a_line(clock):
    notices = KubeNotices(Posts(clock), clock)
    with structlog.testing.capture_logs() as logs:
        for number in range(NAMESPACE_WAITING + 150):
            warn(notices, str(number))
    assert [(line["event"], line["dropped"]) for line in logs] == [("notices_dropped", 1), ("notices_dropped", 101)]


async def test_when_too_many_wait_the_namespace_with_most_of_them_loses_its_newest(clock):
    async with running(clock) as (notices, posts):
        with structlog.testing.capture_logs():
            for namespace in range(WAITING // NAMESPACE_WAITING):
                for number in range(NAMESPACE_WAITING):
                    warn(notices, str(number), namespace=f"flood-{namespace}")
            for number in range(5):
                warn(notices, str(number), namespace="team")
        assert notices._waiting == WAITING
        await clock.move(6)
        assert sum("team" in path for path in posts.paths) == 5


async def test_memory_has_an_end(clock):
    notices = KubeNotices(Posts(clock), clock)
    with structlog.testing.capture_logs():
        for number in range(NAMESPACE_SERIES + 10):
            warn(notices, str(number))
        assert len(notices._desks["team"].series) == NAMESPACE_SERIES
        for namespace in range(SERIES // 16):
            for number in range(20):
                warn(notices, str(number), namespace=f"n{namespace}")
    assert sum(len(desk.series) for desk in notices._desks.values()) == SERIES
    assert len(notices._desks["team"].series) < 50, "whoever had most has lost most"


async def test_a_quiet_namespace_is_forgotten(clock):
    async with running(clock) as (notices, _):
        for number in range(100):
            warn(notices, namespace=f"n{number}")
        await clock.move(WINDOW + 120)
        assert notices._desks == {}


async def test_failures_are_logged_and_the_next_is_posted(clock):
    async with running(clock) as (notices, posts):
        posts.fail = [Rejected("forbidden"), KeyError("surprise"), Unavailable("away")]
        with structlog.testing.capture_logs() as logs:
            for number in range(4):
                warn(notices, str(number))
            await clock.move(1)
    assert [body["message"] for body in posts.bodies] == ["2", "3"]
    assert [line["event"] for line in logs if line["log_level"] != "debug"] == ["notice_not_posted"] * 2
