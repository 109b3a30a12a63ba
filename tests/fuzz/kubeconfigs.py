"""Kubeconfigs: the reader of YAML's subset, and what is made of a file; no message quotes it."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path

import yaml
from hypothesis import strategies as st
from tests.fuzz.area import SECRET, Area, keeps_secret, plain
from tests.fuzz.configurations import spoil
from tests.fuzz.texts import deep, hostile, json_value, scalar, short

from pipebell.core.errors import SettingsError
from pipebell.kubeconfig.context import read
from pipebell.kubeconfig.subset import NotInSubsetError, parse

_SIGNS = st.sampled_from(
    [
        *("- ", "\n", "  ", "a: ", "'", '"', "|\n ", ">-\n  ", "{", "}", "[", "]", ", ", "# x", "---\n", "...\n", "\t"),
        *("&a ", "*a", "!!str ", "? ", "\\x41", "\\ud800", "\\U00110000", "%YAML", "@", "`", "\ufeff", "\r", "\x85"),
        *("null", "~"),
    ]
)
_yaml = st.one_of(
    st.lists(_SIGNS | short, max_size=25).map("".join),
    hostile(5_000),
    deep,
    st.tuples(_SIGNS, st.sampled_from([10, 1_000, 8_000])).map(lambda given: given[0] * given[1]),
    json_value.map(lambda value: json.dumps(value)),
)


def _check_subset(text):
    try:
        parse(text)
    except NotInSubsetError as error:
        keeps_secret(error, secrets=(text,) if len(text) > 40 else ())


_user = st.fixed_dictionaries(
    {"token": st.just(SECRET)}, optional={"username": short, "exec": json_value, "as": scalar, "tokenFile": scalar}
)
_entry = st.fixed_dictionaries({"name": st.just("a") | scalar}, optional={"user": _user | scalar, "extra": scalar})
_cluster = st.fixed_dictionaries(
    {}, optional={"server": st.sampled_from(["https://x", f"https://u:{SECRET}@x", "ftp://x", None, 7]) | short}
)
_kubeconfig = st.fixed_dictionaries(
    {},
    optional={
        "current-context": st.just("a") | scalar,
        "clusters": st.lists(st.fixed_dictionaries({"name": st.just("a"), "cluster": _cluster | scalar}), max_size=2)
        | json_value,
        "users": st.lists(_entry | scalar, max_size=2) | json_value,
        "contexts": st.lists(
            st.fixed_dictionaries(
                {"name": st.just("a"), "context": st.just({"cluster": "a", "user": "a"}) | json_value}
            ),
            max_size=2,
        )
        | json_value,
    },
)


def _written(given):
    document, as_json, changes = given
    try:
        text = json.dumps(document) if as_json else yaml.safe_dump(document)
    except (yaml.YAMLError, ValueError):
        text = repr(document)
    return spoil(text, changes)


_file = st.tuples(_kubeconfig, st.booleans(), st.lists(st.tuples(st.integers(0, 500), _SIGNS), max_size=1)).map(
    _written
)


@contextmanager
def _in_a_folder():
    with tempfile.TemporaryDirectory(prefix="pipebell-fuzz-") as folder:
        path = Path(folder, "config")

        def check(text):
            path.write_bytes(text.encode("utf-8", "surrogateescape" if "\udcff" in text else "replace"))
            try:
                found = read(str(path))
                found.check()
            except SettingsError as error:
                keeps_secret(error, repr(error))
            else:
                keeps_secret(repr(found))

        yield check


AREAS = [plain("YAML subset", 6_000, _yaml, _check_subset), Area("kubeconfigs", 2_500, _file, _in_a_folder)]
