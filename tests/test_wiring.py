"""The composition root: starting, and starting again."""

from __future__ import annotations

import asyncio
import socket

import pytest
import structlog

from pipebell.core.errors import NotFound, Rejected
from pipebell.kube.connection import Connection
from pipebell.settings import Settings
from pipebell.wiring import App


class _NoCredential:
    def token(self) -> str | None:
        return None

    async def renew(self) -> bool:
        return False


def _app(port: int = 0) -> App:
    settings = Settings.from_env({"PIPEBELL_HTTP_PORT": str(port), "PIPEBELL_NAMESPACE": "ops"})
    nobody = Connection("http://127.0.0.1:9", None, "default", _NoCredential())
    return App(settings, nobody, {})


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def test_a_start_that_fails_leaves_nothing_behind_that_the_next_one_would_meet(port):
    for _ in range(2):
        before = asyncio.all_tasks()
        app = _app(port)

        async def refuse() -> None:
            raise Rejected("400")

        app._lister.list_all = refuse
        with pytest.raises(Rejected):
            await app.start(lambda kind, item: None)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() - before == set()


async def test_definitions_that_come_later_than_the_operator_are_waited_for():
    app = _app()
    asked = []

    async def list_all() -> None:
        asked.append(None)
        if len(asked) < 3:
            raise NotFound("the server could not find the requested resource")

    async def sleep(seconds: float) -> None:
        await real(0)

    real = asyncio.sleep
    app._lister.list_all = list_all
    app._clock.sleep = sleep
    await app._list_configs()
    assert len(asked) == 3
    await app.close()


async def test_an_api_server_that_is_away_is_no_reason_to_be_restarted(monkeypatch):
    app = _app()
    monkeypatch.setattr(type(app.engine.queue), "stuck", property(lambda _: 1201.0))
    assert "has not moved" in app._probes.alive()
    app.engine._reconciler.recorder._waiting = 16
    assert app._probes.alive() is None
    await app.close()


async def test_cooldowns_that_cannot_be_rebuilt_are_no_life():
    app = _app()

    async def fail() -> None:
        raise RuntimeError("boom")

    app._background.run_forever("cooldowns", fail())
    app._background.once(asyncio.sleep(0))
    await asyncio.sleep(0)
    assert app._probes.alive() == "stopped working: cooldowns"
    await app.close()


async def test_leases_that_nobody_keeps_any_more_are_no_life():
    app = _app()

    async def fail() -> None:
        raise RuntimeError("boom")

    with structlog.testing.capture_logs() as lines:
        app._background.run_forever("leases", fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [(line["event"], line["task"], str(line["exc_info"])) for line in lines] == [
        ("task_ended", "leases", "boom")
    ]
    assert app._probes.alive() == "stopped working: leases"
    await app.close()


async def test_a_stopped_watch_of_events_is_no_life_and_an_unlisted_one_not_ready():
    app = _app()
    app._lister._listed_at = 1.0
    app.root.listed.set()
    assert app._probes.ready() == "leases: has not joined the other replicas yet"
    app.sharing._joined = True
    assert app._probes.ready() == "events are not watched yet"
    app._watch_events(lambda kind, item: None)
    await asyncio.sleep(0)
    assert "pipelineevents has not been listed yet" in app._probes.ready()
    app._probes.event_watches[0]._list_watch.trouble = None
    assert app._probes.ready() == "the operator's permissions have not been checked yet"
    app._permissions.trouble = None
    assert app._probes.ready() is None
    await app._background.close()
    assert app._probes.alive() == "stopped working: events"
    await app.close()


async def test_who_is_not_known_not_heard_or_of_another_time_is_not_ready(monkeypatch):
    app = _app()
    app._lister._listed_at, app.sharing._joined, app._permissions.trouble = 1.0, True, None
    app.root.listed.set()
    app._watch_events(lambda kind, item: None)
    app._probes.event_watches[0]._list_watch.trouble = None
    assert app._probes.ready() is None
    said = "not well"
    for part, name in ((app._vitals, "trouble"), (app.watches, "deaf")):
        with monkeypatch.context() as context:
            context.setattr(type(part), name, property(lambda _: said) if name == "trouble" else lambda _: said)
            assert app._probes.ready() == said
    await app.close()
