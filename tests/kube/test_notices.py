import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
import structlog

from pipebell.core.errors import Rejected, Unavailable
from pipebell.kube.notices import SERIES, WAITING, WINDOW, KubeNotices


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
        assert notices._series == {}, "what nobody repeats is forgotten"
        warn(notices)
        await clock.move(0)
        assert posts.bodies[3]["count"] == 1


async def test_a_burst_goes_out_at_once_and_the_rest_five_a_second(clock):
    began = clock.now()
    async with running(clock) as (notices, posts):
        for number in range(70):
            warn(notices, str(number))
        await clock.move(0)
        assert len(posts.bodies) == 50
        await clock.move(10)
    assert len(posts.bodies) == 70
    assert posts.times[49] == began
    assert posts.times[69] - began == pytest.approx(4.0)


async def test_what_does_not_fit_is_dropped_with_a_line(clock):
    notices = KubeNotices(Posts(clock), clock)
    with structlog.testing.capture_logs() as logs:
        for number in range(WAITING + 150):
            warn(notices, str(number))
    assert [(line["event"], line["dropped"]) for line in logs] == [("notices_dropped", 1), ("notices_dropped", 101)]


async def test_memory_has_an_end(clock):
    notices = KubeNotices(Posts(clock), clock)
    with structlog.testing.capture_logs():
        for number in range(SERIES + 10):
            warn(notices, str(number))
    assert len(notices._series) == SERIES


async def test_failures_are_logged_and_the_next_is_posted(clock):
    async with running(clock) as (notices, posts):
        posts.fail = [Rejected("forbidden"), KeyError("surprise"), Unavailable("away")]
        with structlog.testing.capture_logs() as logs:
            for number in range(4):
                warn(notices, str(number))
            await clock.move(1)
    assert [body["message"] for body in posts.bodies] == ["2", "3"]
    assert [line["event"] for line in logs if line["log_level"] != "debug"] == ["notice_not_posted"] * 2
