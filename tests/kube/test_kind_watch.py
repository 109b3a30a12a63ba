"""What the watches of our kinds have in common: whom they ask for what, and what they say when it is refused."""

import asyncio
from contextlib import suppress

import pytest
import structlog

from pipebell.kube.event_watch import UNFINISHED, EventWatch
from pipebell.kube.incident_watch import UNRESOLVED, IncidentWatch
from pipebell.kube.silences import SilenceWatch
from pipebell.kube.watches import Watches


class Store:
    """Silences of no namespace of ours."""

    home = "ops"


def events(client, clock):
    return EventWatch(
        client, clock, Watches(), "team", on_event=lambda *_: None, tracked=lambda _: (), on_missing=lambda _: None
    )


def incidents(client, clock):
    return IncidentWatch(client, clock, "team", on_incident=lambda _: None, on_gone=lambda *_: None)


def silences(client, clock):
    return SilenceWatch(client, clock, Store(), "team")


@pytest.mark.parametrize(
    ("make", "plural", "selected"),
    [
        (events, "pipelineevents", UNFINISHED),
        (incidents, "incidents", UNRESOLVED),
        (silences, "silences", None),
    ],
)
async def test_each_asks_for_its_own_kind_and_names_the_right_that_is_missing(
    api, client, clock, make, plural, selected
):
    api.fails(403, f"{plural} is forbidden")
    watch = make(client, clock)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(60):
            while not (refused := [line for line in logs if line["event"] == "watch_refused"]):  # noqa: ASYNC110  (a log has no event to wait for)
                await asyncio.sleep(0.005)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    asked = api.asked[0]
    assert (asked.path, asked.query.get("fieldSelector")) == (
        f"/apis/pipebell.io/v1alpha1/namespaces/team/{plural}",
        selected,
    )
    assert "forbidden" in refused[0]["error"]
    assert f"get, list and watch on {plural} to" in refused[0]["hint"]
    assert watch.trouble
