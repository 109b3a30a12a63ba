"""What holds secrets shows none of them to whoever prints it."""

import pytest

from pipebell.core.fields import traits
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationSpec
from pipebell.core.placeholders import Environment, OrgSecrets
from pipebell.settings import Settings


def secret_fields(model, path=()):
    for trait in traits(model).values():
        if trait.fillable is not None and trait.fillable.secret:
            yield (*path, trait.name)


BLOCKS = [
    (block, path)
    for block, info in NotificationSpec.model_fields.items()
    for model in {
        part for part in (info.annotation, *getattr(info.annotation, "__args__", ())) if hasattr(part, "model_fields")
    }
    for path in secret_fields(model)
]


def test_there_are_secrets_to_look_for():
    assert {("slack", ("webhook_url",)), ("email", ("smtp_password",))} <= set(BLOCKS)


@pytest.mark.parametrize(("block", "path"), BLOCKS, ids=str)
def test_a_specs_secrets_are_not_in_its_repr(block, path):
    value = "https://hooks.example.com/s3cret" if "url" in path[-1] else "s3cret"
    model = next(
        part
        for part in (
            NotificationSpec.model_fields[block].annotation,
            *NotificationSpec.model_fields[block].annotation.__args__,
        )
        if hasattr(part, "model_fields")
    )
    spec = NotificationSpec.model_construct(**{block: model.model_construct(**{path[-1]: value})})
    for text in (repr(spec), str(spec)):
        assert "s3cret" not in text
        assert f"{path[-1]}='***'" in text


def test_nor_are_those_of_layers_and_sources():
    spec = NotificationSpec.model_validate({"email": {"smtpPassword": "s3cret", "fromName": "shown"}})
    layers = Layers(
        Layer(spec, OrgSecrets("s", {"s": {"K": "s3cret"}})),
        Layer(NotificationSpec(), Environment({"SMTP_PASSWORD": "s3cret"}), root=True),
    )
    assert "s3cret" not in repr(layers)
    assert "shown" in repr(layers)


def test_nor_are_a_proxys():
    settings = Settings.from_env({"PIPEBELL_HTTPS_PROXY": "http://user:s3cret@proxy:3128"})
    assert settings.https_proxy.endswith("proxy:3128")
    assert "s3cret" not in repr(settings)
