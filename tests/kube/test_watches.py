"""A watch that nobody opens any more is noticed; one that cannot be opened is something else."""

from types import SimpleNamespace

import pytest
from yarl import URL

from pipebell.kube.watches import DEAF, LONGEST, STALLED, Watches

EVENTS = "https://api/apis/pipebell.io/v1alpha1/pipelineevents"


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watches(clock):
    return Watches(clock)


async def ask(watches, url=f"{EVENTS}?watch=true", status=200):
    async def handler(request):
        return SimpleNamespace(status=status)

    return await watches(SimpleNamespace(url=URL(url), method="GET"), handler)


async def test_the_answer_is_handed_on(watches):
    assert (await ask(watches, status=410)).status == 410


async def test_the_age_counts_from_the_last_time_that_it_was_granted(watches, clock):
    await ask(watches)
    clock.now += 20
    await ask(watches, status=500)
    clock.now += 1
    assert watches.age("pipelineevents") == 21
    await ask(watches)
    assert watches.age("pipelineevents") == 0
    assert watches.age("notificationconfigs") == 0, "not watched yet"


async def test_of_several_namespaces_the_oldest_counts(watches, clock):
    for namespace in ("a", "b"):
        await ask(watches, f"https://api/apis/pipebell.io/v1alpha1/namespaces/{namespace}/pipelineevents?watch=true")
        clock.now += 5
    assert watches.age("pipelineevents") == 10


async def test_it_has_stalled_when_nobody_tries(watches, clock):
    assert watches.stalled() is None
    await ask(watches)
    clock.now += STALLED + 1
    assert "pipelineevents" in watches.stalled()


async def test_an_api_server_that_is_away_is_no_stall(watches, clock):
    await ask(watches)
    for _ in range(10):
        clock.now += STALLED / 2
        await ask(watches, status=503)
    assert watches.stalled() is None


async def test_lists_are_no_watches(watches, clock):
    await ask(watches, f"{EVENTS}?limit=500")
    clock.now += STALLED * 2
    assert watches.stalled() is None


def test_the_api_server_takes_whole_seconds_only():
    # `timeoutSeconds=300.0` gets 400 Bad Request, and kopf ends with it.
    assert isinstance(LONGEST, int)


async def test_a_list_that_was_granted_is_told(clock):
    listed = []
    watches = Watches(clock, on_list=listed.append)
    await ask(watches, f"{EVENTS}?limit=500")
    await ask(watches, EVENTS, status=500)
    await ask(watches)
    assert listed == ["pipelineevents"]


OURS = "/apis/pipebell.io/v1alpha1/pipelineevents"


async def test_a_watch_of_ours_is_deaf_when_not_even_bookmarks_come(watches, clock):
    watches.asked(OURS)
    watches.granted(OURS)
    watches.heard(OURS)
    clock.now += DEAF - 1
    assert watches.deaf() is None
    clock.now += 2
    watches.asked(OURS)
    watches.granted(OURS)  # opened again, and as silent as before
    assert f"{OURS} for 91 s" in watches.deaf()
    watches.heard(OURS)
    assert watches.deaf() is None


async def test_a_watch_of_kopfs_is_deaf_when_it_cannot_be_opened(watches, clock):
    await ask(watches)
    clock.now += LONGEST
    for _ in range(4):
        await ask(watches, status=503)
        clock.now += DEAF / 3
    assert "pipelineevents" in watches.deaf()
    await ask(watches)
    assert watches.deaf() is None
