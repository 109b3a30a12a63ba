"""`pipebell template`, and what `validate` and `preview` say of templates."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner
from tests.core.messages import make

from pipebell.cli import effective, template, validate
from pipebell.cli.preview import make as previewed
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.placeholders import OrgSecrets
from pipebell.core.status import ConfigReference

BLOCK = {"webhookUrl": "https://hooks.slack.com/services/T/B/X"}


def run(*arguments, of=template.command):
    return CliRunner().invoke(of, [str(argument) for argument in arguments])


def config(path, **spec):
    metadata = {"name": "acme", "namespace": "data"}
    document = {"apiVersion": "pipebell.io/v1alpha1", "kind": "NotificationConfig", "metadata": metadata}
    path.write_text(yaml.safe_dump(document | {"spec": {"orgSlug": "acme", **spec}}))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shown_is_a_block_of_a_configuration_that_can_be_used(tmp_path, kind):
    shown = run("show", kind)
    assert shown.exit_code == 0
    block = yaml.safe_load(shown.stdout)
    path = config(tmp_path / "acme.yaml", **block)
    tried = run("test", path)
    assert tried.exit_code == 0, tried.output
    as_json = json.loads(run("show", kind, "-o", "json").stdout)
    assert {name: text.rstrip("\n") for name, text in as_json.items()} == {
        name: text.rstrip("\n") for name, text in block[kind].items()
    }


def test_one_field_is_shown_by_itself():
    shown = run("show", "email", "subject_template")
    assert shown.stdout == "{{ event.severity | upper }}: {{ event.headline }}"
    assert run("show", "email", "cardTemplate").exit_code == 2


def test_what_templates_make_is_shown_for_an_event_of_ones_own(tmp_path):
    event = {
        "apiVersion": "pipebell.io/v1alpha1",
        "kind": "PipelineEvent",
        "metadata": {"name": "mine"},
        "spec": {"orgSlug": "acme", "event": "pipeline_failure", "pipelineId": "<b>orders", "severity": "critical"},
    }
    (tmp_path / "event.yaml").write_text(yaml.safe_dump(event))
    path = config(
        tmp_path / "acme.yaml",
        email={"htmlTemplate": "<p>{{ event.pipeline }} {{ severity }}</p>"},
        destinations=[{"name": "on-call", "slack": BLOCK | {"textTemplate": "{{ event.nope }}x"}}],
    )
    done = run("test", path, "--event", tmp_path / "event.yaml", "-o", "json")
    assert done.exit_code == 1
    html, text = json.loads(done.stdout)
    assert (html["template"], html["problem"]) == ("email.htmlTemplate", "")
    assert html["text"] == "<p>&lt;b&gt;orders critical</p>"
    assert text["template"] == "destinations[on-call].slack.textTemplate"
    assert (text["line"], text["problem"].partition(";")[0]) == (1, "there is no event.nope")
    said = run("test", path).stdout
    assert "not usable: line 1: there is no event.nope" in said
    assert "&lt;" not in said  # the sample's


def test_what_is_cut_and_what_is_escaped_is_said(tmp_path):
    path = config(tmp_path / "acme.yaml", discord={"textTemplate": "{{ org }} {{ 'x' * 1999 }}"})
    (shown,) = json.loads(run("test", path, "-o", "json").stdout)
    assert shown["notes"] == ["escaped: acme_corp", "cut: 2,000 of 2,010 characters are shown"]
    assert "cut: 2,000" in run("test", path).stdout


def test_one_template_alone_says_by_its_name_what_it_is_for(tmp_path):
    path = tmp_path / "slack.textTemplate.j2"
    path.write_text("own {{ org }}")
    done = run("test", path)
    assert (done.exit_code, "own acme_corp" in done.stdout) == (0, True)
    other = tmp_path / "mine.j2"
    other.write_text("{{ org")
    assert "--as" in run("test", other).output
    broken = run("test", other, "--as", "sms.bodyTemplate")
    assert broken.exit_code == 1
    assert "sms.bodyTemplate" in broken.stdout
    assert "syntax error" in broken.stdout


def test_validate_names_templates_that_cannot_be_used(tmp_path):
    block = BLOCK | {"textTemplate": "a\n{{ event.message | safe }}"}
    path = config(tmp_path / "acme.yaml", slack=block, defaultProvider="slack")
    done = run(path, of=validate.command)
    assert done.exit_code == 1
    assert "slack.textTemplate: line 2: unknown filter: filter safe is unknown" in done.output


def test_preview_shows_the_message_in_own_words_and_what_failed():
    def shown(text):
        spec = {"orgSlug": "acme_corp", "slack": BLOCK | {"textTemplate": text}, "defaultProvider": "slack"}
        layers = Layers(Layer(NotificationConfigSpec.model_validate(spec), OrgSecrets(None, {})), None)
        reference = ConfigReference(kind="NotificationConfig", namespace="data", name="acme")
        found = effective.Effective(layers, "a file", reference)
        event = make().event
        return previewed(event, found, [], event.created)[0]

    own = shown("own {{ event.pipeline }}")
    assert json.loads(own.destinations["slack"]["body"])["text"] == "own nightly-orders-load"
    failed = shown("own {{ 1 / 0 }}")
    assert "Pipeline failed" in json.loads(failed.destinations["slack"]["body"])["text"]
    assert any("unable to calculate 1 / 0" in note for note in failed.notes)
