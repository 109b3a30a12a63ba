"""Events: everything that their authors write, through the parser into every kind's request."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.fuzz.area import one_line, plain
from tests.fuzz.judges import CASES, judge
from tests.fuzz.texts import hostile, json_value, line, scalar, short, word

from pipebell.core.errors import InvalidEvent
from pipebell.core.message import Message
from pipebell.core.vocabulary import EventType, Severity
from pipebell.kube.parse import parse_event

_link = st.fixed_dictionaries(
    {
        "title": hostile(200).map(lambda text: text or "x"),
        "url": line(2_000).map(lambda text: "https://e.example/" + text.replace(" ", "")),
    }
)
_detail = st.dictionaries(hostile(300), json_value | hostile(20_000), max_size=4)


def _deep(levels):
    value = "<!channel>"
    for _ in range(levels):
        value = {"a": [value]}
    return {"deep": value}


_SPEC = {
    "severity": st.sampled_from([*map(str, Severity), "CRITICAL"]),
    "pipelineId": hostile(512),
    "pipelineLoggingId": hostile(512),
    "errorMessage": hostile(32_768),
    "details": st.one_of(_detail, _detail, _detail, st.integers(1, 90).map(_deep)),
    "owner": line(256),
    "labels": st.dictionaries(hostile(63), hostile(256), max_size=5),
    "attempt": st.integers(1, 1_000_000),
    "maxAttempts": st.integers(1, 1_000_000),
    "occurredAt": st.sampled_from(["2026-11-23T04:15:42Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]),
    "links": st.lists(_link, max_size=10),
    "test": st.booleans(),
    "replayOf": word.map(lambda name: {"name": "x" + name.lower().strip("-_.").replace("_", "")}),
}
_good = st.fixed_dictionaries(
    {"orgSlug": word.map(lambda text: "a" + text), "event": st.sampled_from([str(each) for each in EventType])},
    optional=_SPEC,
)
_spoilt = st.tuples(_good, st.sampled_from([*_SPEC, "orgSlug", "event", "unknown"]), json_value | hostile(40_000)).map(
    lambda given: given[0] | {given[1]: given[2]}
)
_delivery = st.fixed_dictionaries(
    {}, optional={"destination": short, "provider": scalar, "attempts": scalar, "phase": scalar}
)
_status = st.fixed_dictionaries(
    {}, optional={"phase": scalar, "deliveries": st.lists(_delivery, max_size=2), "x": scalar}
)
_item = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {
                "namespace": st.just("data"),
                "name": word.map(lambda text: "a" + text.lower()),
                "uid": st.uuids().map(str),
                "resourceVersion": st.integers(1, 10**9).map(str),
                "creationTimestamp": st.sampled_from(["2026-11-23T04:15:42Z", "yesterday", "", None, 7]),
                "generation": st.just(1),
            }
        ),
        "spec": st.one_of(_good, _good, _good, _good, _spoilt),
    },
    optional={"status": _status | scalar},
)
_given = st.tuples(_item, st.sampled_from(list(Severity)), st.sampled_from([0, 0, 1, 10**9]))


def _check(given):
    item, severity, suppressed = given
    try:
        event = parse_event(item)
    except InvalidEvent as error:
        one_line(str(error))
        return
    message = Message(event, severity, suppressed)
    for case in CASES:
        judge(case, message)


AREAS = [plain("events", 8_000, _given, _check)]
