"""The schemas' shape: what must hold for every field, present and future."""

from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, Field, StringConstraints

from pipebell.core import cel, crds, schema
from pipebell.core.event import PipelineEventSpec
from pipebell.core.fields import HINTS, Spec, traits
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.silences.resource import SilenceSpec
from pipebell.core.status import EventStatus, NotificationConfigStatus

SCHEMAS = {
    "NotificationConfig.spec": schema.structural(NotificationConfigSpec),
    "PipelineEvent.spec": schema.structural(PipelineEventSpec),
    "NotificationConfig.status": schema.structural(NotificationConfigStatus),
    "PipelineEvent.status": schema.structural(EventStatus),
}


def nodes(node: dict[str, Any], path: str):
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from nodes(node[key], f"{path}[]")


EVERY = [(path, node) for name, top in SCHEMAS.items() for path, node in nodes(top, name)]


def at(path: str) -> dict[str, Any]:
    return dict(EVERY)[path]


def rules(path: str) -> list[str]:
    return [item["rule"] for item in at(path).get("x-kubernetes-validations", [])]


def test_no_default_is_stored_for_it_would_end_inheritance():
    assert [path for path, node in EVERY if "default" in node] == []


def test_everything_that_grows_is_bounded():
    limits = {"string": "maxLength", "array": "maxItems"}
    assert [path for path, node in EVERY if limits.get(node["type"], "type") not in node] == []
    assert "maxProperties" in at("NotificationConfig.spec.eventNamespaces.selector.matchLabels")


def test_every_field_is_described():
    fields = [(path, node) for path, node in EVERY if not path.endswith("[]")]
    assert [path for path, node in fields if len(node.get("description", "").split()) < 2] == []


def test_optional_fields_of_specs_take_null_as_unset_and_required_ones_do_not():
    for path, node in EVERY:
        for name, child in node.get("properties", {}).items():
            if ".spec" in path:  # an enum is not nullable: the API server drops its null instead of checking it
                takes_null = child.get("nullable", False) or "enum" in child
                assert takes_null or name in node.get("required", []), f"{path}.{name}"
                assert not (child.get("nullable") and name in node.get("required", [])), f"{path}.{name}"


def test_nothing_nullable_is_an_enum_for_the_api_server_would_refuse_the_null():
    assert [path for path, node in EVERY if "enum" in node and node.get("nullable")] == []


def test_status_writes_cost_no_cel():
    assert [path for path, node in EVERY if ".status" in path and "x-kubernetes-validations" in node] == []


def test_lists_with_a_key_are_maps_and_choices_are_sets():
    keyed = {
        "NotificationConfig.spec.destinations": "name",
        "NotificationConfig.spec.eventTriggers": "event",
        "NotificationConfig.status.conditions": "type",
        "NotificationConfig.status.destinations": "name",
        "NotificationConfig.status.triggers": "event",
        "NotificationConfig.status.verification.destinations": "name",
        "PipelineEvent.status.batch": "destination",
        "PipelineEvent.status.conditions": "type",
        "PipelineEvent.status.deliveries": "destination",
    }
    maps = {path: node["x-kubernetes-list-map-keys"] for path, node in EVERY if "x-kubernetes-list-map-keys" in node}
    assert maps == {path: [key] for path, key in keyed.items()}
    sets = [path for path, node in EVERY if node.get("x-kubernetes-list-type") == "set"]
    failovers = [path for path in sets if path.endswith(".failover")]
    assert len(failovers) == len(KINDS) + 1, "of every block on the top level, and of destinations"
    assert sorted(set(sets) - set(failovers)) == [
        "NotificationConfig.spec.eventTriggers[].digest.destinations",
        "NotificationConfig.spec.eventTriggers[].providers",
        "NotificationConfig.spec.incidents.escalation[].providers",
        "NotificationConfig.spec.incidents.groupBy",
        "NotificationConfig.spec.pipelineOverrides[].digest.destinations",
        "NotificationConfig.spec.pipelineOverrides[].events",
        "NotificationConfig.spec.pipelineOverrides[].providers",
        "NotificationConfig.spec.quietHours[].days",
        "PipelineEvent.spec.replayOf.destinations",
    ]


def test_choices_are_enums_and_severities_a_rule_in_any_case_with_the_words_in_the_description():
    assert at("PipelineEvent.spec.event")["enum"][:2] == ["pipeline_failure", "pipeline_success"]
    assert at("NotificationConfig.spec.email.smtpTls")["enum"] == ["Auto", "StartTls", "Implicit"]
    assert rules("PipelineEvent.spec.severity") == ["self.lowerAscii() in ['info', 'warning', 'error', 'critical']"]
    description = at("PipelineEvent.spec.severity")["description"]
    assert description.endswith("One of info, warning, error, critical, in any case.")


def test_rules_of_credentials_stand_where_an_error_quotes_no_value():
    for kind in KINDS.values():
        for trait in traits(kind.spec).values():
            if trait.fillable is None or not trait.fillable.secret:
                continue
            for block in (
                f"NotificationConfig.spec.{kind.name}",
                f"NotificationConfig.spec.destinations[].{kind.name}",
            ):
                assert rules(f"{block}.{trait.camel}") == []
                lifted = at(block)["x-kubernetes-validations"]
                assert f".{trait.camel}" in [item.get("fieldPath") for item in lifted]


def test_what_only_root_may_say_is_no_field_of_the_resource():
    assert not [path for path, _ in EVERY if path.endswith((".allow", ".restrict"))]


def test_lists_of_named_destinations_are_shorter():
    assert at("NotificationConfig.spec.email.toEmails")["maxItems"] == 100
    assert at("NotificationConfig.spec.destinations[].email.toEmails")["maxItems"] == 50


def test_every_message_says_a_mend():
    for path, node in EVERY:
        for item in node.get("x-kubernetes-validations", []):
            assert item["message"].split()[0] in {"must", "set", "takes", "a", "keys", "values", "selector", "needs"}, (
                path
            )


def test_the_mapping_holds_nothing_that_no_model_uses():
    used: set[str] = set()

    class Recorder(schema._Generator):
        def str_schema(self, item):
            used.add(item.get("pattern", ""))
            return super().str_schema(item)

        def _with_rule_of(self, item, result):
            used.add(schema._name_of(item))
            return super()._with_rule_of(item, result)

    for model in (NotificationConfigSpec, PipelineEventSpec, SilenceSpec):
        model.model_json_schema(schema_generator=Recorder)
    assert used - {""} <= {*HINTS, *cel.VALIDATORS}
    assert used >= set(cel.VALIDATORS)


def _shout(value: str) -> str:
    return value


def test_a_validator_that_the_mapping_does_not_know_stops_the_generation():
    class Model(Spec):
        word: Annotated[str, StringConstraints(max_length=5), AfterValidator(_shout)] = Field(description="Any word.")

    with pytest.raises(LookupError, match="VALIDATORS has no rule for _shout"):
        schema.structural(Model)


def test_a_pattern_without_a_meaning_for_people_stops_the_generation():
    class Model(Spec):
        word: Annotated[str, StringConstraints(max_length=5, pattern="^x+$")] = Field(description="Any word.")

    with pytest.raises(LookupError, match=r"was not told what \^x\+\$ means"):
        schema.structural(Model)


def test_an_unbounded_string_stops_the_generation():
    class Model(Spec):
        word: str = Field(description="Any word.")

    with pytest.raises(ValueError, match=r"Model\.word has no maxLength"):
        schema.structural(Model)


def test_a_field_without_description_stops_the_generation():
    class Model(Spec):
        count: int

    with pytest.raises(ValueError, match=r"Model\.count has no description"):
        schema.structural(Model)


def test_a_pattern_that_would_end_the_cel_text_is_refused():
    with pytest.raises(ValueError, match="double quote"):
        cel.matches('^"$')


@pytest.mark.parametrize("resource", crds.RESOURCES, ids=lambda resource: resource.kind)
def test_the_envelope(resource):
    document = crds.definition(resource)
    version = document["spec"]["versions"][0]
    assert document["metadata"]["name"] == f"{document['spec']['names']['plural']}.pipebell.io"
    assert document["spec"]["names"]["categories"] == ["pipebell"]
    assert version["subresources"] == {"status": {}}
    assert version["schema"]["openAPIV3Schema"]["required"] == ["spec"]
    assert all(column["description"] for column in version["additionalPrinterColumns"])
