"""One world for all end-to-end tests; each file runs an operator of its own in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.world import World

from pipebell.sinks import Trust, running


@pytest.fixture(scope="session")
def session_world(cluster, tmp_path_factory):
    world = World(cluster, tmp_path_factory.mktemp("e2e"), Trust())
    with running(world.smtp, world.slack) as loop:
        world.loop = loop
        yield world
    world.api.close()


@pytest.fixture(scope="module")
def world(session_world):
    """The world without a root configuration; it is left as it was found."""
    session_world.set_root(None)
    yield session_world
    session_world.smtp.script().clear()
    session_world.slack.script().clear()
    session_world.set_root(None)
    session_world.clear()


@pytest.fixture(scope="module")
def operator(world, request):
    """The operator of a file, with the file's SETTINGS, over a root configuration on the mail sink."""
    world.set_root(world.root_spec())
    with world.running(**getattr(request.module, "SETTINGS", {})) as running:
        yield running


@pytest.fixture(scope="module")
def at_the_same_time():
    """Start scenarios that mostly wait, side by side; a test each waits for one and shows its failure."""
    with ThreadPoolExecutor(32, thread_name_prefix="scenario") as pool:
        yield pool.submit
