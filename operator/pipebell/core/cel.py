r"""Which rule of the models becomes which rule of the API server: the whole mapping, in one place.

The structural schema carries types, lengths, ranges and required fields by itself. What pydantic checks by a pattern
or by Python code stands here again, as a CEL rule with a message that says the mend (a regular expression in an error
message mends nothing) or as a piece of schema. `pipebell.core.schema` refuses a pattern or validator that is missing
here, so the two sides cannot drift apart unnoticed; tests/core/test_agreement.py compares what they accept.

A rule never sees null: the API server takes a null field for absent, in `has()` as well. What is not `nullable` it
drops when it is null, before it checks anything: that suits enums, which would refuse the null otherwise.

Patterns are RE2 there and Rust's regex in pydantic; they keep to what both read alike (no `\s` or `\d`, which Rust
takes as Unicode).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipebell.core import models

if TYPE_CHECKING:
    from collections.abc import Iterable

Fragment = dict[str, Any]


def rule(expression: str, message: str) -> Fragment:
    """One CEL rule as a fragment of a structural schema. `message` follows the field's path and says the mend."""
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


def _fillable(pattern: str) -> str:
    return rf"^({models.PLACEHOLDER}|{pattern})$"


_A_NAME: Final = "must be a Kubernetes name: lower-case letters, digits, '-' and '.', such as acme-smtp"

# What a value that does not match has to look like.
PATTERNS: Final[dict[str, str]] = {
    _fillable(models.EMAIL): "must be an e-mail address, such as ops@example.com, or exactly ${VAR}",
    _fillable(models.HOST): "must be a host name or an IP address, such as smtp.example.com, or exactly ${VAR}",
    _fillable(models.HTTPS_URL): "must be an https:// URL or exactly ${VAR}",
    models.HELO: "must be a host name or an address literal, such as mail.example.com or [192.0.2.1]",
    models.ORG_SLUG: "must begin with a letter or digit and hold only letters, digits, '_', '.' and '-' (at most 63)",
    models.ONE_LINE: "must be one line, without control characters",
    models.NAME: _A_NAME,
    models.SECRET_KEY: "must be a key of a Secret: letters, digits, '-', '_' and '.', such as SMTP_PASSWORD",
    models.SLACK_ID: "must be a Slack ID: U123456 or W123456 for a user, S123456 for a group (not an @name)",
    models.EMOJI: "must look like :robot_face:",
    models.LINK_URL: "must be an http:// or https:// URL without spaces",
}

_WHOLE: Final = "a ${VAR} placeholder must be the whole value: put the complete text into the variable"


def _either(first: str, second: str) -> Fragment:
    return rule(f"!(has(self.{first}) && has(self.{second}))", f"set {first} or {second}, not both")


def _both(first: Fragment, second: Fragment) -> Fragment:
    return {key: [*first[key], *second[key]] for key in first}


# By the validator's qualified name: what says the same in the schema. A mapping under "properties" goes to the fields.
VALIDATORS: Final[dict[str, Fragment]] = {
    "_no_placeholder": rule("!self.contains('${')", "takes no ${VAR} placeholder: write the value itself"),
    "_whole_placeholder": rule(f"!self.contains('${{') || {matches(f'^{models.PLACEHOLDER}$')}", _WHOLE),
    "_each_once": {"x-kubernetes-list-type": "set"},
    "_whole_number": {},  # the API server reads 587.0 as 587 by itself
    "_time_with_zone": {"pattern": models.RFC3339, "maxLength": 40},  # beside the format, whose error says the mend
    "_lower": {},  # the enum below it becomes one_of_any_case
    "EmailSpec._one_source_each": _both(
        _either("smtpUsername", "smtpUsernameSecretRef"), _either("smtpPassword", "smtpPasswordSecretRef")
    ),
    "SlackSpec._one_source": _either("webhookUrl", "webhookUrlSecretRef"),
    "EventNamespaces._selector_goes_with_from": rule(
        "(self.from == 'Selector') == has(self.selector)", "selector goes with from: Selector, and only with it"
    ),
    "NotificationSpec._one_trigger_an_event": {
        "properties": {"eventTriggers": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["event"]}}
    },
}

# The API server quotes a value that breaks its field's rule, and kubectl prints that into some CI log. A rule of the
# object around it quotes nothing, so the rules of these fields are lifted there.
CREDENTIALS: Final = ("smtpPassword", "webhookUrl")


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


IMMUTABLE: Final = rule(
    "self == oldSelf", "spec is immutable: what happened does not change; create a new PipelineEvent instead"
)
