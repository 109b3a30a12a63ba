"""Label selectors: what each requirement means, and that all of them must hold."""

from __future__ import annotations

import pytest

from pipebell.core.selectors import LabelSelector


@pytest.mark.parametrize(
    ("operator", "values", "labels", "holds"),
    [
        ("In", ["a"], {"k": "a"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {}, True),
        ("NotIn", ["a"], {"k": "a"}, False),
        ("Exists", None, {"k": ""}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {}, True),
    ],
)
def test_label_requirements(operator, values, labels, holds):
    requirement = {"key": "k", "operator": operator, "values": values}
    selector = LabelSelector.model_validate({"matchExpressions": [requirement]})
    assert selector.matches(labels) is holds


def test_all_requirements_must_hold_and_none_is_all():
    both = LabelSelector.model_validate(
        {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}
    )
    assert both.matches({"a": "1", "b": ""})
    assert not both.matches({"a": "1"})
    assert not both.matches({"a": "2", "b": ""})
    assert LabelSelector().matches({})
