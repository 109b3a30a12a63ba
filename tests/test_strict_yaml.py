"""YAML is read strictly, and what is wrong with it is said without quoting it: a line may hold a password."""

import pytest

from pipebell.core.bounds import NAMED
from pipebell.core.errors import InvalidInput
from pipebell.core.root import parse_root
from pipebell.strict_yaml import DuplicateNames, load_all, load_one

SECRET = "Sup3rS3cret"
BROKEN = [
    f"password: *{SECRET}",
    f"password: !{SECRET}",
    f"password: !<{SECRET}> x",
    f"password: !!int {SECRET}",
    f"password: !!float {SECRET}",
    f"password: !!bool {SECRET}",
    f"password: !!timestamp {SECRET}",
    f"password: !!binary {SECRET}ééé",
    f"password: !!set {SECRET}",
    f"password: !!omap {SECRET}",
    f"password: !!pairs [{SECRET}]",
    f"password: &{SECRET}*x",
    f'password: "{SECRET}\\xZZ"',
    f"password: '{SECRET}",
    f"password: @{SECRET}",
    f"password: `{SECRET}",
    f"password: %{SECRET}\n%{SECRET}",
    f"password: {SECRET}: {SECRET}",
    f"password: {{{SECRET}",
    f"password: [{SECRET}: ",
    f"password: \x01{SECRET}",
    f"? [{SECRET}]\n: b",
    f"<<: {SECRET}",
    f"!!{SECRET} a",
    f"{SECRET}\na: b",
    f"a: b\n\t{SECRET}: c",
    "password: !!int ''",
    "password: 2026-02-30",
    f"password: {'9' * 5000}",
    "- " * 5000,
    "[" * 5000,
]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_what_is_wrong_quotes_nothing(text):
    with pytest.raises(ValueError, match=r"is not valid YAML|is nested too deeply") as caught:
        load_all(text)
    assert SECRET.lower() not in str(caught.value).lower()
    assert "\n" not in str(caught.value)
    with pytest.raises(InvalidInput) as invalid:
        parse_root({"config.yaml": text}, load_one)
    assert SECRET.lower() not in str(invalid.value).lower()


def test_it_says_where():
    with pytest.raises(ValueError, match="mapping values are not allowed here at line 2, column 5"):
        load_all("a: b\nc: d: e\n")


@pytest.mark.parametrize("text", ["a: 1\na: 2", "{a: 1, b: 2, a: 3}", '{"a": 1, a: 2}', "b:\n- a: 1\n  a: 2"])
def test_a_name_that_stands_there_twice_is_refused(text):
    with pytest.raises(DuplicateNames) as caught:
        load_all(text)
    assert caught.value.names == ["a"]


def test_an_anchor_that_is_merged_is_no_duplicate():
    assert load_one("x: &x {a: 1}\ny: {<<: *x, a: 2}") == {"x": {"a": 1}, "y": {"a": 2}}


@pytest.mark.parametrize("text", ["\ufeffa: 1", "a: 1", "---\na: 1\n---\n"])
def test_a_byte_order_mark_and_empty_documents_are_no_content(text):
    assert load_one(text) == {"a": 1}


def test_many_names_that_stand_there_twice_are_found_at_once_and_named_a_few():
    text = "\n".join(f"k{number}: 1" for number in [*range(2_000)] * 2)
    with pytest.raises(DuplicateNames) as caught:
        load_all(text)
    assert len(caught.value.names) == NAMED
    with pytest.raises(InvalidInput, match="twice: k0, ") as invalid:
        parse_root({"config.json": "{" + ",".join(f'"k{number}": 1' for number in [*range(2_000)] * 2) + "}"}, load_one)
    assert len(str(invalid.value)) < 1_000


def bomb(first: str, more: str) -> str:
    """A few lines that stand for 10^9 values."""
    return "\n".join(
        [f"a0: &a0 {first}", *(f"a{n}: &a{n} {more.format(','.join([f'*a{n - 1}'] * 10))}" for n in range(1, 9))]
    )


@pytest.mark.parametrize(
    "text",
    [bomb("[x]", "[{}]"), bomb("{k: x}", "{{v: [{}]}}"), "a: &a [*a]", "a: &a {b: {c: *a}}"],
)
def test_a_few_lines_that_stand_for_very_much_are_refused(text):
    with pytest.raises(ValueError, match=r"not usable|not valid|too deeply") as caught:
        load_all(text)
    assert "\n" not in str(caught.value)


def test_what_is_merged_many_times_is_there_once():
    text = bomb("{k: x}", "{{<<: [{}]}}")
    assert load_one(text)["a8"] == {"k": "x"}
    assert load_one('a: &a {1: int}\nb: {<<: *a, "1": text}')["b"] == {1: "int", "1": "text"}


def test_several_documents_are_not_one():
    assert load_all("a: 1\n---\nb: 2") == [{"a": 1}, {"b": 2}]
    with pytest.raises(ValueError, match="is 2 YAML documents"):
        load_one("a: 1\n---\nb: 2")
    assert load_one("") is None


@pytest.mark.parametrize("key", ["config.json", "config.yaml"])
def test_root_may_begin_with_a_byte_order_mark(key):
    assert parse_root({key: '\ufeff{"enabled": true}'}, load_one).enabled is True


def test_roots_yaml_is_as_strict_as_its_json():
    for key in ("config.json", "config.yaml"):
        with pytest.raises(InvalidInput, match="twice: enabled"):
            parse_root({key: '{"enabled": true, "enabled": false}'}, load_one)
