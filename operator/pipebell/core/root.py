"""Root's configuration as it stands in the ConfigMap: the seed's `config.json` as it is, or the same as YAML."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from pipebell.core.bounds import twice
from pipebell.core.errors import InvalidInput, Problem
from pipebell.core.explain import explain
from pipebell.core.models import NotificationSpec, RootSpec, root_only
from pipebell.core.placeholders import references_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

JSON_KEY: Final = "config.json"
YAML_KEY: Final = "config.yaml"
_ORG_ONLY: Final = ("secret_ref", "event_namespaces")
_ROOTS_OWN: Final = "has a meaning in the root configuration only: remove it"


def parse_root(data: Mapping[str, str], load_yaml: Callable[[str], Any]) -> NotificationSpec:
    """Root's configuration from the ConfigMap's data. Raises InvalidInput with every problem.

    `load_yaml` is a safe YAML loader that raises ValueError; it is injected to keep the core free of libraries.
    """
    keys = [key for key in (JSON_KEY, YAML_KEY) if key in data]
    if len(keys) != 1:
        found = ", ".join(sorted(data)) or "none"
        said = f"needs exactly one of the keys {JSON_KEY} and {YAML_KEY}; it has {found}"
        raise InvalidInput([Problem("", said)])
    text = data[keys[0]].removeprefix("\ufeff")  # of editors that mark UTF-8 by a byte order mark
    try:
        document = json.loads(text, object_pairs_hook=_no_duplicates) if keys[0] == JSON_KEY else load_yaml(text)
    except ValueError as error:
        raise InvalidInput([Problem(keys[0], _syntax(error))]) from None
    except RecursionError:
        raise InvalidInput([Problem(keys[0], "is nested too deeply")]) from None
    if not isinstance(document, dict):
        raise InvalidInput([Problem(keys[0], "must be an object")])
    return parse_notification_json(document, root=True)


def _syntax(error: ValueError) -> str:
    """What is wrong with the syntax and where, without the text itself: it may hold a credential."""
    if isinstance(error, json.JSONDecodeError):
        return f"is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    return str(error)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("names twice: " + ", ".join(twice(name for name, _ in pairs)))
    return result


def parse_notification_json(document: Mapping[str, Any], *, root: bool = False) -> NotificationSpec:
    """A notification configuration in either spelling. Raises InvalidInput with every problem."""
    model = RootSpec if root else NotificationSpec
    try:
        spec = model.model_validate(document)
    except ValidationError as error:
        raise explain(error, model) from None
    problems = _not_for_root(spec) if root else [Problem(path, _ROOTS_OWN) for path in root_only(spec)]
    if problems:
        raise InvalidInput(problems)
    return spec


def _not_for_root(spec: NotificationSpec) -> list[Problem]:
    return [
        Problem(name, "has no meaning in the root configuration: its ${VAR}s come from the operator's environment")
        for name in _ORG_ONLY
        if getattr(spec, name) is not None
    ] + [
        Problem(path, "has no meaning in the root configuration: write ${VAR}, filled from the operator's environment")
        for path, _ in references_of(spec)
    ]
