"""The SDK's spool: whatever stands in its files, they are read or set aside, and nobody waits for them."""

from __future__ import annotations

import json
import logging
import tempfile
from contextlib import contextmanager
from pathlib import Path

from hypothesis import strategies as st
from tests.fuzz.area import Area
from tests.fuzz.configurations import spoil
from tests.fuzz.texts import deep, hostile, json_value, number, scalar, short, word

from pipebell.sdk.record import Record, make
from pipebell.sdk.spool import Spool

_record = st.fixed_dictionaries(
    {
        "version": st.just(1) | scalar,
        "server": st.just("https://127.0.0.1:1") | scalar,
        "name": word.map(lambda name: f"a{name.lower()}z".replace("_", "-")) | scalar | short,
        "created": st.just(1_795_407_342.0) | number | scalar,
        "namespace": st.just("data") | scalar | short,
        "spec": json_value | st.just({"orgSlug": "a", "event": "pipeline_failure"}),
    },
    optional={"place": scalar, "more": json_value},
)
_PIECES = st.sampled_from(['"', "{", "}", "[", ",", "\x00", "NaN", "9" * 5_000, "\\ud800", "\n"])
_text = st.one_of(
    st.tuples(_record.map(json.dumps), st.lists(st.tuples(st.integers(0, 600), _PIECES), max_size=1)).map(
        lambda given: spoil(*given).encode(errors="replace")
    ),
    st.binary(max_size=200),
    deep.map(str.encode),
)
_name = st.one_of(
    word.map(lambda name: f"00000000000001-{name}.json"),
    st.sampled_from([".json", "x.json", ".lock", ".writing-1-x", "a" * 200 + ".json", "-.json"]),
)
_given = st.lists(st.tuples(_name, _text), min_size=1, max_size=3)
_ANY = st.one_of(
    scalar, hostile(1_000), json_value, st.binary(max_size=20), st.sampled_from([object(), ..., [[]], {1: 2}])
)
_FIELDS = (
    *("pipeline_id", "pipeline_logging_id", "error_message", "details", "severity", "occurred_at", "links"),
    *("test", "replay_of", "owner", "labels", "attempt", "max_attempts", "dedup_key"),
)
_call = st.tuples(
    st.one_of(st.just("pipeline_failure"), _ANY),
    st.one_of(st.just("acme"), _ANY),
    st.fixed_dictionaries({}, optional=dict.fromkeys(_FIELDS, _ANY)),
)


@contextmanager
def _folder():
    logging.getLogger("pipebell").addHandler(quiet := logging.NullHandler())
    logging.getLogger("pipebell").propagate = False
    try:
        with tempfile.TemporaryDirectory(prefix="pipebell-fuzz-") as folder:
            yield Path(folder, "spool")
    finally:
        logging.getLogger("pipebell").removeHandler(quiet)
        logging.getLogger("pipebell").propagate = True


@contextmanager
def _read():
    with _folder() as folder:
        folder.mkdir()

        def check(files):
            spool = Spool(folder)
            for name, content in files:
                (folder / name).write_bytes(content)
            for waiting in spool.waiting():
                body = waiting.record.body(waiting.record.namespace or "data")
                assert json.loads(body)["metadata"]["name"] == waiting.record.name
                assert waiting.record.label is not None
                spool.done(waiting.path)
            assert len(spool) == 0, "read or set aside"
            assert spool.rejected() <= 101
            for path in folder.iterdir():
                if path.is_file():
                    path.unlink()

        yield check


@contextmanager
def _written():
    with _folder() as folder:

        def check(given):
            event, org, fields = given
            record = make(event, org, created=1_795_407_342.0, **fields)
            assert isinstance(record, Record)
            spool = Spool(folder)
            path, _ = spool.put(record, None)
            assert path.stat().st_mode & 0o077 == 0
            (found,) = spool.waiting()
            assert (found.record.name, dict(found.record.spec)) == (record.name, json.loads(json.dumps(record.spec)))
            spool.done(found.path)

        yield check


AREAS = [Area("spool files", 5_000, _given, _read), Area("SDK calls", 4_000, _call, _written)]
