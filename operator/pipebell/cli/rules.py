"""The cluster's rules without a cluster: what a document is, what is wrong with it, and whether it could be used."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from pipebell import strict_yaml
from pipebell.cli import documents
from pipebell.core.destinations.http import HttpTarget
from pipebell.core.errors import InvalidInput, NotReady, Problem
from pipebell.core.event import PipelineEventSpec
from pipebell.core.explain import explain
from pipebell.core.hosts import HostPolicy
from pipebell.core.incidents.resource import IncidentSpec
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec, NotificationSpec
from pipebell.core.placeholders import variables_of
from pipebell.core.policy.triggers import destinations_to_check
from pipebell.core.root import parse_notification_json, parse_root
from pipebell.core.silences.resource import SilenceSpec
from pipebell.core.vocabulary import API_VERSION, GROUP, NAME, NotReadyReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pipebell.core.fields import SecretKeyRef

_TOP: Final = {"apiVersion", "kind", "metadata", "spec", "status"}
_Spec = NotificationSpec | PipelineEventSpec | SilenceSpec | IncidentSpec
_SPECS: Final[dict[str, type[NotificationConfigSpec | PipelineEventSpec | SilenceSpec | IncidentSpec]]] = {
    "NotificationConfig": NotificationConfigSpec,
    "PipelineEvent": PipelineEventSpec,
    "Silence": SilenceSpec,
    "Incident": IncidentSpec,
}
NOT_OURS: Final = "is none of Pipebell's kinds: not looked at"


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: what it is, and what is wrong with it. `spec` is None when it cannot be read.

    `namespace` is "" where the file does not say it.
    """

    file: str
    kind: str
    name: str
    spec: _Spec | None = None
    problems: tuple[Problem, ...] = ()
    secret: Mapping[str, str] | None = None
    notes: list[str] = field(default_factory=list)
    namespace: str = ""


def read(path: Path, text: str, *, root: bool = False) -> list[Document]:
    """All documents of a file. Problems that concern the file as a whole are a document's, too.

    `root`: a JSON file is the root configuration, whatever its name.
    """
    try:
        found = documents.load(path, text)
    except InvalidInput as error:
        return [Document(str(path), "file", path.name, problems=error.problems)]
    return [_document(path, item, root=root) for item in found] or [
        Document(str(path), "file", path.name, problems=(Problem("", "holds nothing"),))
    ]


def _document(path: Path, item: object, *, root: bool) -> Document:
    if not isinstance(item, dict):
        return Document(str(path), "file", path.name, problems=(Problem("", "must be an object"),))
    if "kind" not in item and "apiVersion" not in item:
        return _seed(path, item, root=root or (path.parent.name == "notifications" and path.name == "config.json"))
    kind = str(item.get("kind"))
    metadata = item.get("metadata")
    if not isinstance(metadata, dict):
        metadata = {}
    found = Document(str(path), kind, str(metadata.get("name") or ""), namespace=str(metadata.get("namespace") or ""))
    if kind in _SPECS:
        spec, problems = _resource(item, kind, metadata)
        return replace(found, spec=spec, problems=tuple(problems))
    if kind == "ConfigMap" and set(_mapping(item.get("data"))) & {"config.json", "config.yaml"}:
        return _root(item, replace(found, kind="RootConfig"))
    if kind == "Secret":
        return replace(found, secret=_secret(item))
    return _other_kind(item, found)


def _other_kind(item: dict[str, Any], found: Document) -> Document:
    """None of ours: another's, or one of ours whose name is mistyped."""
    if str(item.get("apiVersion")).partition("/")[0] != GROUP:
        return replace(found, notes=[NOT_OURS])
    return replace(found, problems=(Problem("kind", _no_kind(found.kind)),))


def _no_kind(kind: str) -> str:
    near = get_close_matches(kind.lower(), [known.lower() for known in _SPECS], n=1)
    meant = next((known for known in _SPECS if near == [known.lower()]), "")
    return f"{API_VERSION} has no kind {kind}; " + (
        f"did you mean {meant}?" if meant else f"it has {', '.join(_SPECS)}"
    )


def _seed(path: Path, item: dict[str, Any], *, root: bool) -> Document:
    """One of the file-based system's JSON files."""
    kind, name = (
        ("RootConfig", "config.json") if root else ("organisation", str(item.get("org_slug") or path.parent.name))
    )
    try:
        return Document(str(path), kind, name, spec=parse_notification_json(item, root=root))
    except InvalidInput as error:
        return Document(str(path), kind, name, problems=error.problems)


def _resource(item: dict[str, Any], kind: str, metadata: dict[str, Any]) -> tuple[_Spec | None, list[Problem]]:
    name = str(metadata.get("name") or "")
    problems = [Problem(key, "unknown field") for key in item if key not in _TOP]
    if item.get("apiVersion") != API_VERSION:
        problems.append(Problem("apiVersion", f"must be {API_VERSION}"))
    if not name and not metadata.get("generateName"):
        problems.append(Problem("metadata.name", "is missing"))
    elif name and (not re.fullmatch(NAME, name) or len(name) > 253):  # noqa: PLR2004  (RFC 1123)
        problems.append(Problem("metadata.name", "must be lower-case letters, digits, '-' and '.'"))
    model = _SPECS[kind]
    try:
        return model.model_validate(item.get("spec")), problems
    except ValidationError as error:
        inner = explain(error, model).problems
        return None, problems + [Problem(f"spec.{each.path}".rstrip("."), each.message) for each in inner]


def _mapping(value: object) -> Mapping[str, Any]:
    """What the API server would refuse where it is none."""
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def _root(item: dict[str, Any], found: Document) -> Document:
    odd = [key for key, value in item["data"].items() if not isinstance(value, str)]
    if odd:
        return replace(found, problems=tuple(Problem(f"data.{key}", "must be text") for key in odd))
    try:
        return replace(found, spec=parse_root(item["data"], strict_yaml.load_one))
    except InvalidInput as error:
        problems = (Problem(f"data.{each.path}".rstrip("."), each.message) for each in error.problems)
        return replace(found, problems=tuple(problems))


def _secret(item: dict[str, Any]) -> dict[str, str]:
    keys = {key: str(value) for key, value in _mapping(item.get("stringData")).items()}
    for key, value in _mapping(item.get("data")).items():
        try:
            keys.setdefault(key, base64.b64decode(str(value)).decode("utf-8", "surrogateescape"))
        except (binascii.Error, ValueError):
            continue
    return keys


class Variables:
    """What fills placeholders: an `.env` file and the Secrets among the files; without any, all count as filled."""

    def __init__(self, env: Mapping[str, str] | None, secret: Mapping[str, str] | None = None) -> None:
        self._env, self._secret = env, secret

    def variable(self, name: str, field: str) -> str:
        """See `pipebell.core.placeholders.Source`."""
        for keys in (self._env, self._secret):
            if keys is not None and keys.get(name):
                return keys[name]
        if self._env is not None:
            raise NotReady(NotReadyReason.MISSING_VARIABLE, f"{field}: ${{{name}}} is not in the environment file")
        return stand_in(field)

    def secret(self, reference: SecretKeyRef, field: str) -> str:  # noqa: ARG002  (the Protocol's signature)
        """A Secret's key is the cluster's business: it is taken as there."""
        return stand_in(field)


def stand_in(field: str) -> str:
    """A value that the rule of `field` (a path in camelCase) takes, for one that cannot be known here."""
    *_, kind, name = re.sub(r"\[\d+\]$", "", f".{field}").split(".")
    example = KINDS[kind].example.get(name.removesuffix("SecretRef")) if kind in KINDS else None
    value = example[0] if isinstance(example, list) else example
    return value if isinstance(value, str) else "presumed"


def usable(
    document: Document,
    root: NotificationSpec | None,
    env: Mapping[str, str] | None,
    secrets: Mapping[str, Mapping[str, str]],
) -> tuple[list[Problem], list[str]]:
    """Whether a configuration could be used as it is: problems, and what only the cluster can tell."""
    spec = document.spec
    if not isinstance(spec, NotificationSpec) or spec.enabled is False:
        return [], []
    if document.kind == "RootConfig":
        layers = Layers(None, Layer(spec, Variables(env), root=True))
    else:
        own = secrets.get(spec.secret_ref.name) if spec.secret_ref else None
        layers = Layers(
            Layer(spec, Variables(env, own)),
            Layer(root, Variables(env), root=True) if root is not None else None,
            document.namespace,
        )
    problems, notes = _unfilled(document, spec), []
    for name in destinations_to_check(layers):
        try:
            target = layers.target(name)
        except NotReady as error:
            elsewhere = error.reason in (NotReadyReason.INCOMPLETE, NotReadyReason.UNKNOWN_DESTINATION)
            if elsewhere and (root is None or document.kind == "RootConfig"):
                notes.append(f"{error.message}: it has to come from the {_other(document)}")
            elif not document.namespace and name in _by_namespace(root):
                notes.append(f"{name} is the platform's, which admits some namespaces only: the file names none")
            else:
                problems.append(Problem("", error.message))
            continue
        kind = KINDS[layers.kind(name) or ""]
        if isinstance(target, HttpTarget) and not target.trusted and not HostPolicy().admits_url(kind, target.url):
            notes.append(f"the host of {target.where} is none of {kind.title}: the platform team has to allow it")
    return problems, notes


def _by_namespace(root: NotificationSpec | None) -> set[str]:
    """Root's destinations that some organisations may name, by their namespaces."""
    if root is None:
        return set()
    blocks = ((kind, root.block(kind)) for kind in KINDS)
    named = (
        (item.name, item.allow or getattr(item.block(item.kind), "allow", None)) for item in root.destinations or ()
    )
    return {name for name, block in blocks if block is not None and block.allow} | {
        name for name, allow in named if allow
    }


def _other(document: Document) -> str:
    return "organisation's configuration" if document.kind == "RootConfig" else "root configuration"


def _unfilled(document: Document, spec: NotificationSpec) -> list[Problem]:
    if document.kind != "NotificationConfig" or spec.secret_ref is not None:
        return []
    return [
        Problem(f"spec.{path}", f"uses ${{{variable}}}, but spec.secretRef names no Secret to fill it from")
        for path, variable in variables_of(spec)
    ]


def variables(spec: NotificationSpec) -> list[str]:
    """The `${VAR}`s of a configuration, each once."""
    return list(dict.fromkeys(variable for _, variable in variables_of(spec)))


def as_json(found: Iterable[Any]) -> str:
    """For `-o json`."""
    return json.dumps(list(found), indent=2)
