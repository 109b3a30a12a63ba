"""Configurations: what organisations apply and what stands in root's ConfigMap; only InvalidInput says no to it."""

from __future__ import annotations

import json
import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.core.messages import make
from tests.fuzz.area import SECRET, keeps_secret, one_line, plain
from tests.fuzz.texts import deep, json_value, less_deep, scalar, short, word

from pipebell import strict_yaml
from pipebell.core.destinations.http import HttpKind
from pipebell.core.errors import InvalidInput, NotReady
from pipebell.core.fields import traits
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec, RootSpec
from pipebell.core.outcome import Attempt
from pipebell.core.placeholders import Environment, OrgSecrets
from pipebell.core.policy.triggers import destinations_in_use
from pipebell.core.root import parse_notification_json, parse_root
from pipebell.kube.parse import parse_config

_TEXTS = st.sampled_from(
    [
        *("acme_corp", "email", "on-call", "smtp.example.com", "ops@example.com", "#channel", ":robot_face:", "U123"),
        *("https://hooks.slack.com/services/T/B/X", "${VAR}", "${SMTP_PASSWORD}", "x${VAR}", "2026-01-31T08:00:00Z"),
        *("0123456789abcdef0123456789abcdef", "-1001234567890", "1205000000000000003", "*", "a-*", "[::1]", "In"),
    ]
)
_SECRETS = st.sampled_from(
    [
        *(SECRET, f"https://hooks.slack.com/services/T/B/{SECRET}", f"https://{SECRET}.example.com/{SECRET}"),
        *(f"xoxb-{SECRET}", f"whsec_{SECRET}", f"{SECRET}\n", f"${{{SECRET}", f"http://{SECRET}@x/", f"1:{SECRET}"),
    ]
)
_ODD = st.one_of(scalar, short, json_value)


def _values(annotation: Any, secret: bool) -> st.SearchStrategy[Any]:  # noqa: PLR0911  (a way out for each kind of type)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return st.one_of(*(_values(part, secret) for part in inner if part is not type(None)))
    if hasattr(annotation, "__metadata__"):
        return _values(inner[0], secret)
    if origin is list:
        return st.lists(_values(inner[0], secret), max_size=3)
    if origin is dict:
        return st.dictionaries(word, _values(inner[1], secret), max_size=3)
    if origin is Literal:
        return st.sampled_from(inner)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from([each.value for each in annotation])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return documents(annotation)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(-1, 90_000)
    return _SECRETS if secret else st.one_of(_TEXTS, word, short)


_MADE: dict[type[BaseModel], st.SearchStrategy[dict[str, Any]]] = {}


def documents(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Documents of a model: fields in both spellings, most values of the right type, some of any."""
    if model not in _MADE:
        fields = []
        for trait in traits(model).values():
            secret = trait.fillable is not None and trait.fillable.secret
            good = _values(model.model_fields[trait.name].annotation, secret)
            # What is no text, beside a secret's name, must not be quoted either: only the marked one is looked for.
            value = st.one_of(good, good, good, good, _SECRETS.map(lambda text: [text]) if secret else _ODD)
            fields.append(st.tuples(st.sampled_from([trait.camel, trait.name]), value))
        unknown = st.tuples(short, _SECRETS | _ODD)
        _MADE[model] = st.lists(st.one_of(*fields, *fields, *fields, unknown), max_size=6).map(dict)
    return _MADE[model]


_BLOCKS = [
    {name: kind.example | change}
    for name, kind in KINDS.items()
    for change in ({}, {"enabled": False}, {"unknown": SECRET})
]


def _with_blocks(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    made = documents(model)
    return st.one_of(made, made, st.tuples(made, st.sampled_from(_BLOCKS)).map(lambda given: given[0] | given[1]))


def judge_error(refusal: InvalidInput) -> None:
    """A refusal: which field and why, no secret."""
    assert refusal.problems
    for problem in refusal.problems:
        assert problem.message
        one_line(str(problem))
    keeps_secret(refusal, repr(refusal), *refusal.problems)


def judge_spec(spec: Any, *, root: bool) -> None:
    """What a valid configuration leads to: targets or NotReady, without a secret in words or `repr`s."""
    keeps_secret(repr(spec), str(spec))
    source = Environment({"VAR": "value"}) if root else OrgSecrets("own", {"own": {"VAR": "value"}})
    layer = Layer(spec, source, root=root)
    layers = Layers(None, layer) if root else Layers(layer, None)
    for name in {*destinations_in_use(layers), *layers.names()}:
        try:
            target = layers.target(name)
        except NotReady as error:
            one_line(str(error))
            keeps_secret(error, repr(error))
            continue
        keeps_secret(repr(target), target.recipients)
        kind = KINDS[layers.kind(name)]
        if isinstance(kind, HttpKind):
            made = kind.request(make(), target, Attempt("0b54.x", now=1.0))
            assert not any("\r" in value or "\n" in value for value in made.headers.values())
            keeps_secret(repr(made).replace(SECRET, "") if made.body else "")


def _check_object(document):
    item = {"metadata": {"namespace": "data", "name": "c", "uid": "u", "resourceVersion": "1"}, "spec": document}
    found = parse_config(item)
    if found.spec is None:
        judge_error(InvalidInput(found.problems))
    else:
        judge_spec(found.spec, root=False)


def _check_root(given):
    key, text = given
    try:
        spec = parse_root({key: text}, strict_yaml.load_one)
    except InvalidInput as error:
        judge_error(error)
    else:
        judge_spec(spec, root=True)


def _check_seed(document):
    try:
        parse_notification_json(document)
    except InvalidInput as error:
        judge_error(error)


def spoil(text: str, changes: list[tuple[int, str]]) -> str:
    """The text with these pieces put in at these places (counted modulo its length)."""
    for place, piece in changes:
        at = place % (len(text) + 1)
        text = text[:at] + piece + text[at:]
    return text


_CHANGES = st.lists(
    st.tuples(
        st.integers(0, 4_000),
        st.sampled_from(
            [*('"', "{", "}", "[", "]", ":", ",", "\n", "\t", "\\", "\x00", "\ufeff", "&a ", "*a", "!!set ", "<<: "),
             *("!!python/object:os.system ", "%", "|", ">", "---\n", "#", "1e999", "9" * 5_000, "- ", "? ", "\u2028")]
        ) | short,
    ),
    max_size=2,
)  # fmt: skip


def _dumped(as_json: bool, document: dict[str, Any]) -> str:
    if as_json:
        return json.dumps(document)
    try:
        return yaml.safe_dump(document)
    except (yaml.YAMLError, ValueError):
        return repr(document)


def _root_text(as_json: bool):
    key = "config.json" if as_json else "config.yaml"
    made = st.tuples(_with_blocks(RootSpec), _CHANGES).map(lambda given: spoil(_dumped(as_json, given[0]), given[1]))
    return st.one_of(*[made] * 30, deep if as_json else less_deep).map(lambda text: (key, text))


AREAS = [
    plain("configurations", 12_000, _with_blocks(NotificationConfigSpec), _check_object),
    plain("root JSON", 9_000, _root_text(as_json=True), _check_root),
    plain("root YAML", 3_000, _root_text(as_json=False), _check_root),
    plain("seed documents", 8_000, _with_blocks(RootSpec), _check_seed),
]
