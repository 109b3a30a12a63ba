"""What the API server says on a watch and in lists, through the client's parser, `ListWatch`, and the events' watch."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager, suppress

from hypothesis import strategies as st
from tests.fuzz.area import Area
from tests.fuzz.texts import deep, hostile, json_value, scalar

from pipebell.core.errors import InvalidEvent
from pipebell.kube.client import _happening, _lines, _value
from pipebell.kube.event_watch import EventWatch
from pipebell.kube.parse import newer, parse_config, parse_event
from pipebell.kube.watches import Watches

_metadata = st.fixed_dictionaries(
    {"resourceVersion": st.just("7") | scalar, "uid": st.just("u") | scalar, "name": st.just("a") | scalar},
    optional={
        "namespace": st.just("data") | scalar,
        "continue": scalar,
        "creationTimestamp": scalar,
        "generation": scalar,
    },
)
_object = st.fixed_dictionaries(
    {"metadata": st.one_of(_metadata, _metadata, _metadata, scalar)},
    optional={
        "spec": json_value,
        "status": json_value,
        "code": st.sampled_from([410, 500, 429, 403, 404, -1, 10**30]) | scalar,
        "message": hostile(2_000),
        "details": st.fixed_dictionaries({}, optional={"retryAfterSeconds": scalar}) | scalar,
    },
)
_event = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]) | scalar,
        "object": st.one_of(_object, _object, scalar),
    }
)
_line = st.one_of(
    _event.map(json.dumps).map(str.encode),
    _event.map(json.dumps).map(str.encode),
    deep.map(
        lambda text: (
            f'{{"type":"ADDED","object":{{"metadata":{{"resourceVersion":"1","uid":"u"}},"spec":{text}}}}}'.encode()
        )
    ),
    st.binary(max_size=80).map(lambda line: line.replace(b"\n", b"")),
    hostile(5_000).map(lambda text: text.replace("\n", "").encode(errors="replace")),
)
_page = st.fixed_dictionaries(
    {"metadata": st.just({"resourceVersion": "5"}) | scalar | _metadata},
    optional={"items": st.lists(_object, max_size=3) | scalar},
)
_given = st.tuples(_page, st.lists(_line, max_size=6), st.integers(1, 400))


class Over(BaseException):
    """Enough rounds."""


class _Content:
    """A connection's bytes in pieces of any size."""

    def __init__(self, lines, size):
        self._bytes, self._size = b"\n".join(lines) + b"\n", size

    async def iter_any(self):
        for start in range(0, len(self._bytes), self._size if len(self._bytes) < 5_000 else 4_096):
            yield self._bytes[start : start + (self._size if len(self._bytes) < 5_000 else 4_096)]


class _Client:
    """Answers as an API server would, with what this input says."""

    def __init__(self, page, lines, size):
        self._page, self._lines, self._size = page, lines, size

    async def pages(self, path, **_):
        document = _value("GET", path, json.dumps(self._page).encode())
        yield document

    async def watch(self, path, *, opened, **_):
        opened()
        async for line in _lines(_Content(self._lines, self._size)):
            yield _happening(path, line)


class _Clock:
    """Two rounds, and it is over."""

    def __init__(self):
        self.rounds = 0
        self.time = 0.0

    def now(self):
        self.time += 0.1
        return self.time

    async def sleep(self, seconds):
        assert 0 < seconds < 120, "neither a busy loop nor for ever"
        self.rounds += 1
        if self.rounds > 2:
            raise Over


def _seen(_kind, item):
    """As the intake has it: nothing but InvalidEvent may come of an object."""
    with suppress(InvalidEvent):
        parse_event(item)
    parse_config(item)
    newer(str(item["metadata"].get("resourceVersion")), "7")


async def _follow(given):
    clock = _Clock()
    watch = EventWatch(
        _Client(*given), clock, Watches(clock.now), None, on_event=_seen, tracked=lambda _: ("gone",), on_missing=str
    )
    try:
        async with asyncio.timeout(30):
            await watch.run()
    except Over:
        return
    raise AssertionError("it does not ask again")


@contextmanager
def _opened():
    loop = asyncio.new_event_loop()

    def check(given):
        loop.run_until_complete(_follow(given))
        loop.run_until_complete(loop.shutdown_asyncgens())

    try:
        yield check
    finally:
        loop.close()


AREAS = [Area("watch lines", 7_000, _given, _opened)]
