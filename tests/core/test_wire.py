"""JSON to and from the API server: what the standard library says of it, and what that one cannot read."""

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebell.core.bounds import DEEPEST, shallow
from pipebell.core.wire import decode, encode

text = st.text(st.characters(exclude_categories=()), max_size=20) | st.sampled_from(
    ['"', "\\", '\\"', "]}", "{[", "\\\\"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=30,
)


def nested(depth, value="1"):
    return '{"a":[' * (depth // 2) + value + "]}" * (depth // 2)


@given(values)
def test_what_is_written_is_read_again_by_everybody(value):
    assert json.loads(encode(value)) == value
    assert decode(json.dumps(value).encode()) == value


@given(values, st.integers(1, 6))
def test_nothing_is_deeper_than_it_may_be_and_the_rest_is_as_it_was(value, deepest):
    def cut(value, level):
        if not isinstance(value, dict | list):
            return value
        if level > deepest:
            return "…"
        if isinstance(value, list):
            return [cut(item, level + 1) for item in value]
        return {key: cut(item, level + 1) for key, item in value.items()}

    assert json.loads(shallow(json.dumps(value).encode(), deepest)) == cut(value, 1)


@pytest.mark.parametrize("depth", [150, 1_000, 10_000, 200_000])
def test_no_depth_is_too_deep(depth):
    found = decode(f'{{"metadata":{{"name":"x"}},"spec":{nested(depth)},"status":{{"phase":"Failed"}}}}'.encode())
    assert found["metadata"] == {"name": "x"}
    assert found["status"] == {"phase": "Failed"}
    level, inner = 0, found["spec"]
    while isinstance(inner, dict | list):
        level, inner = level + 1, inner["a"] if isinstance(inner, dict) else inner[0]
    assert (level, inner) == (depth, 1) if depth < 200 else (DEEPEST - 1, "…")


@pytest.mark.parametrize(
    "garbage", ["", "{", "nonsense", '{"a":1', nested(1_000)[:-3], "[" * 5_000, "]" * 5_000, "\xff"]
)
def test_what_is_no_json_is_refused(garbage):
    with pytest.raises(ValueError, match=r"."):
        decode(garbage.encode("latin-1"))


def test_numbers_that_json_does_not_have_are_not_sent():
    assert json.loads(encode({"a": math.inf})) == {"a": None}


def test_a_string_without_an_end_takes_no_longer_than_others():
    document = b"[" * 300 + b'"' + b'\\"' * 500_000
    began = time.process_time()
    with pytest.raises(ValueError, match=r"."):
        decode(document)
    assert time.process_time() - began < 2
