"""docs/reference.md: every field of every resource and every kind of destination, from the models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel

from pipebell.core import fields
from pipebell.core.destinations.base import Allow
from pipebell.core.event import PipelineEventSpec
from pipebell.core.incidents.resource import IncidentSpec, IncidentStatus
from pipebell.core.models import KINDS, Blocks, NamedDestination, NotificationConfigSpec, Restrict
from pipebell.core.schema import structural
from pipebell.core.silences.resource import SilenceSpec, SilenceStatus
from pipebell.core.status import EventStatus, NotificationConfigStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipebell.core.fields import Trait

_NEVER_INHERITED: Final = ("orgSlug", "enabled", "secretRef", "eventNamespaces")
_DEFAULT: Final = re.compile(r"\s*Default:? (?P<value>(?:[^.]|\.(?=\S))+)\.(?P<rest>.*)", re.DOTALL)
_HEAD: Final = """# Reference

Every field, as the models have it; written by `make generate`, and held to them by `make check`. JSON files of the
file-based system, and the root configuration, spell the same fields in snake_case (`smtp_host`). Null is the same as
unset. Defaults apply after an organisation's settings were merged with root's.

*From root* says what an organisation inherits: *yes*, field by field (lists as a whole); *with the endpoint*, only as
long as it sets no field of the endpoint itself; *endpoint*, a part of the endpoint: whoever sets one has all to set.
"""


def reference() -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD, *_section("NotificationConfig", NotificationConfigSpec, skip=tuple(KINDS))]
    parts += _section("NotificationConfig: `destinations[]`", NamedDestination, skip=tuple(KINDS))
    for kind in KINDS.values():
        parts += _section(f"Kind `{kind.name}`: {kind.title}", kind.spec)
    parts += [
        "## Root alone\n\n`allow` stands in a block or beside it in `destinations[]`, `restrict` on the top level.\n"
    ]
    parts += _section("`allow`", Allow, level=3)
    parts += _section("`restrict`", Restrict, level=3)
    parts += _section("NotificationConfig: status", NotificationConfigStatus, inherits=False)
    parts += _section("PipelineEvent", PipelineEventSpec, inherits=False)
    parts += _section("PipelineEvent: status", EventStatus, inherits=False)
    parts += _section("Incident", IncidentSpec, inherits=False)
    parts += _section("Incident: status", IncidentStatus, inherits=False)
    parts += _section("Silence", SilenceSpec, inherits=False)
    parts += _section("Silence: status", SilenceStatus, inherits=False)
    return "\n".join(parts).rstrip() + "\n"


def _section(
    title: str, model: type[BaseModel], *, skip: tuple[str, ...] = (), inherits: bool = True, level: int = 2
) -> Iterator[str]:
    yield f"{'#' * level} {title}\n"
    if model.__doc__:
        yield f"{' '.join(model.__doc__.split())}\n"
    merged = inherits and issubclass(model, (Blocks, *(kind.spec for kind in KINDS.values())))
    own = _NEVER_INHERITED if issubclass(model, NotificationConfigSpec) else ()
    columns = ["Field", "Type", "Default", *(["From root"] if merged else []), "Limits", "Meaning"]
    yield f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    for path, node, trait in _rows("", structural(model), model):
        if path.partition(".")[0].partition("[")[0] in skip or (trait is not None and trait.root_only):
            continue
        meaning, default = _meaning(node.get("description", ""))
        cells = [
            f"`{path}`",
            _type(node),
            default,
            *([_origin(path, trait, own)] if merged else []),
            _limits(node),
            meaning,
        ]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _rows(
    path: str, node: dict[str, Any], model: type[BaseModel] | None
) -> Iterator[tuple[str, dict[str, Any], Trait | None]]:
    known = {trait.camel: trait for trait in fields.traits(model).values()} if model is not None else {}
    for name, child in node.get("properties", {}).items():
        here, trait = f"{path}{name}", known.get(name)
        yield here, child, trait
        inner = _model_of(model, trait)
        if inner is not None and issubclass(inner, fields.SecretKeyRef | fields.SecretRef):
            continue
        if any(inner is kind.spec for kind in KINDS.values()):
            continue
        if child["type"] == "object":
            yield from _rows(f"{here}.", child, inner)
        elif child["type"] == "array" and child["items"]["type"] == "object":
            yield from _rows(f"{here}[].", child["items"], inner)


def _model_of(model: type[BaseModel] | None, trait: Trait | None) -> type[BaseModel] | None:
    """The model that a field holds, by itself or in a list."""
    if model is None or trait is None:
        return None
    return next(_models(model.model_fields[trait.name].annotation), None)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _meaning(description: str) -> tuple[str, str]:
    """The description without its sentence about the default, and the default."""
    found = _DEFAULT.search(description)
    if found is None:
        unset = "yes" if "Unset means yes." in description else ""
        return description.replace(" Unset means yes.", ""), unset
    return f"{description[: found.start()].strip()} {found['rest'].strip()}".strip(), found["value"]


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return " · ".join(f"`{word}`" for word in node["enum"])
    if node["type"] == "array":
        return f"list of {_type(node['items'])}"
    if "additionalProperties" in node:
        return "map of texts"
    kind: str = node["type"]
    return {"string": "text", "integer": "number", "boolean": "true or false"}.get(kind, kind)


def _origin(path: str, trait: Trait | None, own: tuple[str, ...]) -> str:
    if path.partition(".")[0] in own:
        return "no"
    if trait is not None and trait.endpoint:
        return "endpoint"
    return "with the endpoint" if trait is not None and trait.follows else "yes"


_UNITS: Final = (
    ("minLength", "at least {} characters"),
    ("maxLength", "{} characters"),
    ("minItems", "at least {}"),
    ("maxItems", "{} items"),
    ("maxProperties", "{} entries"),
)


def _limits(node: dict[str, Any]) -> str:
    words = []
    if "minimum" in node or "maximum" in node:
        words.append(f"{node.get('minimum', '')} to {node.get('maximum', '')}".strip())
    words += [text.format(node[key]) for key, text in _UNITS if key in node and node[key] not in (0, 1)]
    if node["type"] == "array":
        words += [f"each {word}" for word in [_limits(node["items"])] if word and node["items"]["type"] != "object"]
    if "enum" in node:
        return ""
    return ", ".join(words)
