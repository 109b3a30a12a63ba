"""Which configuration serves an event."""

from __future__ import annotations

import pytest
from tests.engine.fakes import config_object

from pipebell.core import resolve


def test_the_oldest_configuration_wins_then_the_first_by_name():
    a, b = (config_object("acme", "team", name, "1", {}) for name in "ab")
    assert resolve.own([b, a], "team") is a


@pytest.mark.parametrize(
    ("rule", "labels", "admitted"),
    [
        (None, {}, False),
        ({"from": "Same"}, {}, False),
        ({"from": "All"}, None, True),
        ({"from": "Selector", "selector": {"matchLabels": {"t": "data"}}}, {"t": "data"}, True),
        ({"from": "Selector", "selector": {"matchLabels": {"t": "data"}}}, {"t": "web"}, False),
        ({"from": "Selector", "selector": {}}, None, False),
    ],
)
def test_sharing_needs_the_platform_and_the_organisation(rule, labels, admitted):
    config = config_object("acme", "shared", "c", "1", {"eventNamespaces": rule})
    assert (resolve.shared([config], "team", labels, ["shared"]) is config) is admitted
    assert resolve.shared([config], "team", labels, ["other"]) is None
