"""Who an e-mail is said to go to: the organisation's own addresses, root's by their number only."""

import pytest

from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationConfigSpec, RootSpec
from pipebell.core.placeholders import Environment, OrgSecrets

ROOT = {
    "smtp_host": "smtp.root.example",
    "from_email": "root@root.example",
    "to_emails": ["admin@root.example"],
    "cc_emails": ["boss@root.example", "ops@root.example"],
}


def recipients(org, root=ROOT):
    spec = NotificationConfigSpec.model_validate({"orgSlug": "acme", "email": org}) if org is not None else None
    layers = Layers(
        Layer(spec, OrgSecrets(None, {})) if spec else None,
        Layer(RootSpec.model_validate({"email": root}), Environment({}), root=True),
    )
    return layers.target("email").recipients


def test_what_is_roots_is_marked_so():
    spec = NotificationConfigSpec.model_validate({"orgSlug": "acme", "email": {"toEmails": ["a@acme.example"]}})
    root = Layer(RootSpec.model_validate({"email": ROOT}), Environment({}), root=True)
    assert Layers(Layer(spec, OrgSecrets(None, {})), root).target("email").hidden == (
        "boss@root.example",
        "ops@root.example",
    )
    assert set(Layers(None, root).target("email").hidden) == {
        "admin@root.example",
        "boss@root.example",
        "ops@root.example",
    }


@pytest.mark.parametrize(
    ("org", "said"),
    [
        (None, "3 of the platform's"),
        ({}, "3 of the platform's"),
        ({"toEmails": ["a@acme.example"]}, "a@acme.example, 2 of the platform's"),
        ({"toEmails": ["a@acme.example"], "ccEmails": ["b@acme.example"]}, "a@acme.example, b@acme.example"),
        ({"ccEmails": []}, "1 of the platform's"),
    ],
)
def test_who_is_told(org, said):
    assert recipients(org) == said


def test_many_are_counted_and_none_is_cut():
    told = recipients({"toEmails": [f"somebody-{number:03}@acme.example" for number in range(90)], "ccEmails": []})
    assert len(told) <= 200
    assert told.endswith(", 83 more")
    assert told.startswith("somebody-000@acme.example, somebody-001@acme.example")
