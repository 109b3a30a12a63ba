"""Root's configuration as it stands in the ConfigMap."""

from __future__ import annotations

import pytest

from pipebell.core.errors import InvalidInput
from pipebell.core.root import parse_root


def no_yaml(text):
    raise ValueError(text)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "exactly one"),
        ({"config.json": "{}", "config.yaml": "{}"}, "exactly one"),
        ({"config.json": "{"}, "line 1"),
        ({"config.json": "[]"}, "object"),
        ({"config.json": '{"enabled": true, "enabled": false}'}, "twice"),
        ({"config.json": '{"email": {"smtp_pasword": "hunter2"}}'}, "smtpPassword"),
        ({"config.json": '{"secretRef": {"name": "x"}}'}, "environment"),
        ({"config.json": '{"slack": {"webhookUrlSecretRef": {"name": "x", "key": "k"}}}'}, "slack.webhookUrlSecretRef"),
    ],
)
def test_an_invalid_root_says_what_is_wrong(data, said):
    with pytest.raises(InvalidInput) as caught:
        parse_root(data, no_yaml)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
