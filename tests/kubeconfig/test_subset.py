"""The reader of kubeconfigs agrees with PyYAML wherever it does not refuse."""

import json
import time
from contextlib import suppress

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipebell.kubeconfig.subset import NotInSubsetError, parse

KIND = """# made by a tool
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: LS0tLS1CRUdJTg==
    server: https://127.0.0.1:6443
  name: kind
- cluster: {}
  name: "b c"   # behind a text
contexts: []
current-context: ''
preferences: {}
users:
- name: me
  user:
    exec:
      args:
      - --region
      - "--x: y"
      command: aws
      env:
        - name: A
          value: "b\\n\\u00e9 \\x41"
      provideClusterInfo: false
    token: |
      TOPSECRET

    folded: >-
      one
      text

      and another
    escaped: "abc\\
       def
       ghi"
    quoted: 'it''s
      two'
    plain: of
      two lines
    nothing:
    null: ~
    url: http://a:b@c/d#e
    dash: -x
"""


def texts(value):
    """What PyYAML's BaseLoader, for which all is text, says of the same."""
    if isinstance(value, dict):
        return {key: texts(item) for key, item in value.items()}
    if isinstance(value, list):
        return [texts(item) for item in value]
    return "" if value in (None, "~", "null", "Null", "NULL") else value


@pytest.mark.parametrize(
    "text",
    [
        KIND,
        KIND.replace("\n", "\r\n"),
        "\ufeff" + KIND,
        "---\na: 1\n...\n",
        "--- # made by hand\na: 1",
        '{"a": [1, true, null, "x"], "b": {"c": 1.5}}',
        "a: {b: c,\n  d: [e, f,\n    g]}\nh: i\n",
        "a: [\n]\nb: {\n}\n",
        "- - a\n  - b\n- c: d\n  e: f\n-\n  g: h\n",
        "a: |+\n  x\n\nb: |2-\n    y\n  z\nc: |-\n  q",
        "a: 'b' # c\n'd': \"e\"\n\"f g\": h\n",
        "a: b#c\nd: e # f\n# g: h\ni: j\n",
        "text",
        "",
        "# nothing\n",
    ],
)
def test_what_kubeconfigs_are_written_in(text):
    assert texts(parse(text)) == texts(yaml.load(text, Loader=yaml.BaseLoader))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x b", "line 1: an anchor"),
        ("b: c\na: *x", "line 2: an alias"),
        ("a: !!str b", "line 1: a tag"),
        ("<<: {}", "line 1: a merge key"),
        ("a: b\n---\nc: d", "line 2: another document"),
        ("? a\n: b", "line 1: a complex key"),
        ("a: b: c", "a colon within"),
        ("a:\n\tb: c", "line 2: a tab"),
        ("a: 's3cret", "line 1: a quote without its end"),
        ("a:\n  b: {c: s3cret", "line 2: a flow collection that does not end"),
        ("a: s3cret\na: c", "line 2: a key that was there already"),
        ("a: [b: c]", "a mapping in a sequence"),
        ("%YAML 1.2\n---\na: b", "line 1: a directive"),
        ('a: "\\q"', "an unknown escape"),
        ("[" * 100_000, "too deeply nested"),
        ('{"a":' * 100_000, "too deeply nested"),
        ("- " * 5_000, "too deeply nested"),
        ("a:\n  b: c\n d: e", "line 3"),
    ],
)
def test_what_it_does_not_know_is_refused_by_its_line(text, reason):
    with pytest.raises(NotInSubsetError, match=reason) as caught:
        parse(text)
    assert "s3cret" not in str(caught.value)


PIECES = [
    "a",
    "b: ",
    "c:",
    "- ",
    "\n",
    "\n  ",
    "\n    ",
    "'",
    '"',
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "#",
    " #x",
    "|",
    "|-",
]
PIECES += [
    ">",
    "|+",
    "~",
    "null",
    "\\n",
    "\\",
    "http://x",
    "-",
    "&a",
    "*a",
    "!t",
    "---\n",
    "\n\n",
    "  ",
    "\t",
    "?",
    "=",
]


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
@example("a: |\n  b")
def test_it_never_reads_anything_else_than_pyyaml(text):
    try:
        found = parse(text)
    except NotInSubsetError:
        return
    try:
        expected = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return  # more lenient is no danger; something else would be
    assert texts(found) == texts(expected)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.recursive(
        st.text(
            alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), max_codepoint=0xFFFF), max_size=100
        ),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc-", min_size=1), inner, max_size=4),
    )
)
def test_it_reads_what_pyyaml_writes(value):
    for text in (
        yaml.safe_dump({"x": value}),
        yaml.safe_dump({"x": value}, default_flow_style=True),
        json.dumps({"x": value}),
    ):
        try:
            found = parse(text)
        except NotInSubsetError:
            continue  # complex keys, tags: PyYAML's part, where it is installed
        assert texts(found) == texts(yaml.load(text, Loader=yaml.BaseLoader))


@pytest.mark.parametrize("piece", ["a: b\n", "- a\n", "  ", "[a, ", '{"a": ', "'", "a\n ", "#\n", "a: {b: c}\n- "])
def test_it_takes_no_time_whatever_it_reads(piece):
    began = time.process_time()
    with suppress(NotInSubsetError):
        parse(piece * 20_000)
    assert time.process_time() - began < 3
