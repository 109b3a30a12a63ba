r"""Which rule of the models becomes which rule of the API server: the whole mapping, in one place.

The structural schema carries types, lengths, ranges and required fields by itself. What pydantic checks by a pattern
or by Python code stands here again, as a CEL rule with a message that says how to fix it (a regular expression in an
error message fixes nothing) or as a piece of schema. `pipebell.core.schema` refuses a pattern or validator that is
missing here, so the two sides cannot drift apart unnoticed; tests/core/test_agreement.py compares what they accept.

A rule never sees null: the API server takes a null field for absent, in `has()` as well. What is not `nullable` it
drops when it is null, before it checks anything: that suits enums, which would refuse the null otherwise.

Patterns are RE2 there and Rust's regex in pydantic; they keep to what both read alike (no `\s` or `\d`, which Rust
takes as Unicode).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipebell.core import fields, template
from pipebell.core.destinations.webhook import RESERVED
from pipebell.core.models import KINDS
from pipebell.core.silences import quiet, resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pydantic import BaseModel

Fragment = dict[str, Any]


def rule(expression: str, message: str) -> Fragment:
    """One CEL rule as a fragment of a structural schema. `message` follows the field's path and says how to fix it."""
    return {"x-kubernetes-validations": [{"rule": expression, "message": message}]}


def matches(pattern: str) -> str:
    """A pattern as a CEL expression; raw, so that backslashes mean the same as in the models."""
    if '"' in pattern:
        raise ValueError(f"a double quote would end the CEL text of {pattern}")
    return f'self.matches(r"{pattern}")'


def one_of_any_case(words: Iterable[str]) -> Fragment:
    """Like an enum, but in any case."""
    listed = list(words)
    return rule(f"self.lowerAscii() in {listed}", f"must be {_or(listed)}, in any case")


def _or(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


_WHOLE: Final = "a ${VAR} placeholder must be the whole value: put the complete text into the variable"


def _either(first: str, second: str) -> Fragment:
    return rule(f"!(has(self.{first}) && has(self.{second}))", f"set {first} or {second}, not both")


def _both(first: Fragment, second: Fragment) -> Fragment:
    return {key: [*first[key], *second[key]] for key in first}


def _one_source_each(model: type[BaseModel]) -> Fragment:
    rules = [_either(trait.camel, f"{trait.camel}SecretRef") for trait in fields.referable(model)]
    return {"x-kubernetes-validations": [each for one in rules for each in one["x-kubernetes-validations"]]}


def _exactly_one_block(model: type[BaseModel]) -> Fragment:  # noqa: ARG001  (a validator's signature)
    given = ", ".join(f"has(self.{kind})" for kind in KINDS)
    return rule(f"[{given}].filter(given, given).size() == 1", f"needs exactly one of the blocks {', '.join(KINDS)}")


def _templates_together(model: type[BaseModel]) -> Fragment:  # noqa: ARG001  (a validator's signature)
    """All templates of a configuration. Each has its own limit in bytes; together their characters are counted."""

    def sizes(of: str) -> str:
        fields_of = [(f"{of}.{kind}", f"{of}.{kind}.{camel}") for kind, camel in _template_fields()]
        return " + ".join(f"(has({block}) && has({field}) ? size({field}) : 0)" for block, field in fields_of)

    named = f"(has(self.destinations) ? self.destinations.map(each, {sizes('each')}).sum() : 0)"
    return rule(f"{sizes('self')} + {named} <= {template.ALL_TOGETHER}", template.TOO_MUCH)


def _template_fields() -> Iterable[tuple[str, str]]:
    for name, kind in KINDS.items():
        for trait in fields.traits(kind.spec).values():
            if trait.template is not None:
                yield name, trait.camel


# By the validator's qualified name: what says the same in the schema, for the model that has it. A mapping under
# "properties" goes to the fields.
VALIDATORS: Final[dict[str, Fragment | Callable[[type[BaseModel]], Fragment]]] = {
    "no_placeholder": rule("!self.contains('${')", "takes no ${VAR} placeholder: write the value itself"),
    "whole_placeholder": rule(f"!self.contains('${{') || {matches(f'^{fields.PLACEHOLDER}$')}", _WHOLE),
    "not_reserved": rule(
        f"!(self.lowerAscii() in {list(RESERVED)})", "must be another header: Pipebell or HTTP itself sets this one"
    ),
    "each_once": {"x-kubernetes-list-type": "set"},
    "nonzero_ids": rule(
        " && ".join(f"!self.contains('{zeros}')" for zeros in fields.NO_IDS),
        "must have a trace id and a parent id that are not all zeros",
    ),
    # The API server has the database built in, as CronJobs need it; Go's word for its own zone is none of it.
    "known_zone": rule("self != 'Local' && timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0", fields.UNKNOWN_ZONE),
    # A day that no month has, or a field that is none, takes a parser: the configuration is Ready=False/Invalid then.
    "known_schedule": {},
    "DigestSpec._one_rhythm": _both(
        rule("!(has(self.everySeconds) && has(self.schedule))", fields.TWO_RHYTHMS),
        rule(
            "has(self.everySeconds) || has(self.schedule) || (has(self.enabled) && !self.enabled)",
            fields.NO_RHYTHM,
        ),
    ),
    "short_template": rule(
        f"bytes(self).size() <= {template.LONGEST}", f"must have at most {template.LONGEST} bytes: shorten the template"
    ),
    "canonical": {},  # both spellings are stored as they are, and read as one
    "camel_group": {},  # the same
    "whole_number": {},  # the API server reads 587.0 as 587 by itself
    "time_with_zone": {"pattern": fields.RFC3339, "maxLength": 40},  # beside the format, whose error says what to write
    "lower": {},  # the enum below it becomes one_of_any_case
    "Sourced._one_source_each": _one_source_each,
    "NamedDestination._exactly_one_block": _exactly_one_block,
    "NamedDestination._beside_the_block": {},  # the schema of a block there does not have these fields
    "NamedDestination._shorter_lists": {},  # the schema there has the shorter limit
    "NotificationSpec._templates_together": _templates_together,
    "NotificationConfigSpec._nothing_of_roots": {},  # the schema does not have these fields
    "EventNamespaces._selector_goes_with_from": rule(
        "(self.from == 'Selector') == has(self.selector)", "selector goes with from: Selector, and only with it"
    ),
    "QuietHours._two_times": rule("self.from != self.to", quiet.SAME_TIME),
    "SilenceSpec._ends_after_its_start": {},  # among SILENCE, as the rest of what a silence must say
    "NotificationSpec._one_trigger_an_event": {
        "properties": {"eventTriggers": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["event"]}}
    },
    "NotificationSpec._one_destination_a_name": {
        "properties": {"destinations": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}}
    },
}

# The API server quotes a value that breaks its field's rule, and kubectl prints that into some CI log. A rule of the
# object around it quotes nothing, so the rules of secrets are lifted there.


def lifted(field: str, validation: Fragment) -> Fragment:
    """A field's validation as one of the object around it; the error still names the field."""
    expression = validation["rule"].replace("self.", f"self.{field}.")
    return {**validation, "rule": f"!has(self.{field}) || ({expression})", "fieldPath": f".{field}"}


def entries(longest: int) -> Fragment:
    """Rules of a map of texts. A null value would silently be dropped, and fewer labels match more namespaces."""
    return _both(
        rule(f"self.all(key, size(key) <= {longest})", f"keys may have at most {longest} characters"),
        rule("self.all(key, dyn(self[key]) != null)", "values must not be null: write a text, or leave the key out"),
    )


def of_keys(validation: Fragment) -> Fragment:
    """A rule of each key of a map as one of the map."""
    expression = validation["rule"].replace("self.", "key.")
    return {**validation, "rule": f"self.all(key, {expression})", "message": f"keys {validation['message']}"}


def _needed(field: str, message: str) -> Fragment:
    """A required field, with more to say than that it is required."""
    validation = {"rule": f"has(self.{field})", "message": message, "fieldPath": f".{field}"}
    return {"x-kubernetes-validations": [validation | {"reason": "FieldValueRequired"}]}


_SILENCE_RULES: Final = (
    _needed("endsAt", "a silence needs an end, or it would be forgotten: set endsAt, such as 2026-01-31T08:00:00Z"),
    _needed("reason", "say why nobody is told: it stands on the events that are held back"),
    rule("!has(self.startsAt) || !has(self.endsAt) || self.startsAt < self.endsAt", resource.NO_TIME_LEFT),
)
SILENCE: Final[Fragment] = {
    "required": [],  # by the rules, which have better words
    "x-kubernetes-validations": [each for one in _SILENCE_RULES for each in one["x-kubernetes-validations"]],
}

IMMUTABLE: Final = rule(
    "self == oldSelf", "spec is immutable: what happened does not change; create a new PipelineEvent instead"
)


def _at(field: str, expression: str, message: str) -> Fragment:
    """One rule of an object that names a field of it."""
    return {"rule": expression, "message": message, "fieldPath": f".{field}"}


def _never_changes(field: str) -> Fragment:
    same = f"has(self.{field}) ? has(oldSelf.{field}) && self.{field} == oldSelf.{field} : !has(oldSelf.{field})"
    return _at(
        field,
        same,
        "says what the incident is about and never changes: set acknowledgement, resolution or snoozedUntil, and "
        "leave the rest as it is",
    )


INCIDENT: Final = {
    "x-kubernetes-validations": [
        *map(_never_changes, ("orgSlug", "key", "class", "pipelineId", "openedBy")),
        _at(
            "resolution",
            "!has(oldSelf.resolution) || has(self.resolution)",
            "cannot be taken back: a resolved incident stays resolved, and the next failure opens a new one",
        ),
    ]
}
