"""From the file-based system's `configs/` to manifests, without touching a disk or a cluster.

`configs/notifications/config.json` becomes the ConfigMap `pipebell-root`, each `configs/{org}/notifications.json` a
NotificationConfig; what fills their `${VAR}`s a Secret each, of which only keys with a value are ever written. As in
the file-based system, the folder's name says whose configuration it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pipebell.cli import documents, rules
from pipebell.core.errors import InvalidInput, Problem
from pipebell.core.fields import ORG_SLUG
from pipebell.core.root import JSON_KEY, parse_notification_json
from pipebell.core.vocabulary import API_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.models import NotificationSpec

ROOT_FILE: Final = "notifications/config.json"
ROOT_FOLDER: Final = "_root"  # a name that no organisation's folder gets
ROOT_CONFIGMAP: Final = "pipebell-root"
ROOT_SECRET: Final = "pipebell-root-variables"  # noqa: S105  (a Secret's name; the Deployment reads it)
_LABELS: Final = {"app.kubernetes.io/managed-by": "pipebell-migrate"}
# What may stand in the files as it is although it is a credential, and the variable that takes it.
_CREDENTIALS: Final = (("email", "smtp_password", "SMTP_PASSWORD"), ("slack", "webhook_url", "SLACK_WEBHOOK_URL"))


@dataclass(slots=True)
class Source:
    """One of the system's files, and what became of it. `file` is relative to the migrated folder.

    `secret` are the variables that have a value: those that stood in the file as it was, and (`filled`) those that the
    environment file gave. `missing` are the others.
    """

    file: str
    kind: str
    org: str = ""
    problems: list[Problem] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    inferred: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    secret: dict[str, str] = field(default_factory=dict)
    filled: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    spec: NotificationSpec | None = None
    text: str = ""
    name: str = ""

    @property
    def lost(self) -> bool:
        """Whether no manifest could be made of it."""
        return bool(self.problems)


def read(files: Mapping[str, str | InvalidInput], env: Mapping[str, str] | None = None) -> list[Source]:
    """Sources from texts by relative path (or why they cannot be read): root first, then organisations by name.

    Of `env`, each gets the variables that it names, and no others.
    """
    sources = [
        _read(file, text) for file, text in sorted(files.items(), key=lambda item: (item[0] != ROOT_FILE, item[0]))
    ]
    _refuse_duplicates(sources)
    _name(sources)
    root = next((source.spec for source in sources if source.kind == "root"), None)
    for source in sources:
        if source.spec is not None and not source.lost:
            _fill(source, env or {})
            _foresee(source, root)
    return sources


def _read(file: str, text: str | InvalidInput) -> Source:
    source = Source(file, "root" if file == ROOT_FILE else "organisation", org=file.partition("/")[0])
    try:
        if isinstance(text, InvalidInput):
            raise text
        document = documents.load_json(text)
        if not isinstance(document, dict):
            raise InvalidInput([Problem("", "must be an object")])  # noqa: TRY301  (one way out for all that is wrong)
        taken = _take_credentials(document, source)
        source.spec = parse_notification_json(document, root=source.kind == "root")
    except InvalidInput as error:
        source.problems = list(error.problems)
        return source
    source.text = json.dumps(document, indent=2, ensure_ascii=False) + "\n" if taken else text
    source.variables = rules.variables(source.spec)
    if source.kind == "organisation":
        _whose(source)
    return source


def _take_credentials(document: dict[str, Any], source: Source) -> bool:
    """Move credentials that stand in the file into the Secret; whether there were any."""
    used = set(re.findall(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", json.dumps(document)))
    for block, key, variable in _CREDENTIALS:
        section = document.get(block)
        spelled = next((name for name in (key, _camel(key)) if isinstance(section, dict) and name in section), None)
        value = section[spelled] if isinstance(section, dict) and spelled else None
        if not isinstance(section, dict) or not isinstance(value, str) or not value or "${" in value:
            continue
        free = next(
            name for number in range(1, 99) if (name := variable + (f"_{number}" if number > 1 else "")) not in used
        )
        if block == "slack" and not value.startswith("https://"):
            continue  # the rules will name it; a value that no field takes is nothing to keep
        source.credentials.append(f"{block}.{spelled}")
        source.secret[free] = value
        section[str(spelled)] = f"${{{free}}}"
    return bool(source.secret)


def _fill(source: Source, env: Mapping[str, str]) -> None:
    for variable in source.variables:
        if variable not in source.secret and env.get(variable):
            source.secret[variable] = env[variable]
            source.filled.append(variable)
    source.missing = [variable for variable in source.variables if not source.secret.get(variable)]


def _whose(source: Source) -> None:
    assert source.spec is not None  # noqa: S101  (tells mypy)
    said = source.spec.org_slug
    if not re.fullmatch(ORG_SLUG, source.org):
        source.problems.append(Problem("", f"the folder's name {source.org!r} cannot be an organisation's slug"))
    elif said is None:
        source.inferred.append(f"org_slug: {source.org} (the folder's name)")


def _refuse_duplicates(sources: list[Source]) -> None:
    """Two files that claim the same organisation: the one in the organisation's own folder counts."""
    folders = {source.org for source in sources if source.kind == "organisation"}
    claims = Counter(_claim(source) for source in sources if source.kind == "organisation" and source.spec is not None)
    for source in sources:
        if source.kind != "organisation" or source.spec is None or _claim(source) == source.org:
            continue
        claim = _claim(source)
        if claim in folders or claims[claim] > 1:
            message = f"says {claim}, but stands in {source.org}/: {claim} is configured twice; keep one file"
            source.problems.append(Problem("org_slug", message))
        else:
            source.inferred.append(f"org_slug: {source.org} (the folder's name; the file says {claim})")


def _claim(source: Source) -> str:
    return (source.spec.org_slug if source.spec else None) or source.org


def _name(sources: list[Source]) -> None:
    """Object names: the slug in lower case, and with a digest of it where two slugs would get the same name."""
    simple = {source.org: object_name(source.org) for source in sources}
    often = Counter(simple.values())
    for source in sources:
        name = simple[source.org]
        if often[name] > 1 or not name:
            name = f"{name or 'org'}-{hashlib.sha256(source.org.encode()).hexdigest()[:6]}"
        source.name = name


def object_name(org: str) -> str:
    """An organisation's slug as an object's name; "" when nothing of it can stand in one."""
    return re.sub(r"[^a-z0-9]+", "-", org.lower()).strip("-")


def _foresee(source: Source, root: NotificationSpec | None) -> None:
    """What the cluster would say about the result."""
    kind = "RootConfig" if source.kind == "root" else "organisation"
    problems, notes = rules.usable(rules.Document(source.file, kind, source.org, spec=source.spec), root, None, {})
    source.notes += [f"would not be Ready: {problem.message}" for problem in problems] + notes


def manifests(source: Source, namespace: str | None, root_namespace: str) -> dict[str, list[dict[str, Any]]]:
    """Files by relative path, each with its objects. A Secret holds the variables that have a value, and no others."""
    if source.spec is None or source.lost:
        return {}
    secret = secret_of(source, namespace, root_namespace)
    secrets = {f"{folder_of(source)}/secret.yaml": [secret]} if source.secret else {}
    if source.kind == "root":
        data = {JSON_KEY: source.text}
        config = _object("v1", "ConfigMap", ROOT_CONFIGMAP, root_namespace) | {"data": data}
        return {f"{ROOT_FOLDER}/configmap.yaml": [config], **secrets}
    spec = source.spec.model_dump(by_alias=True, exclude_none=True, mode="json")
    spec = {"orgSlug": source.org, **{key: value for key, value in spec.items() if key != "orgSlug"}}
    if source.variables:
        spec["secretRef"] = {"name": secret["metadata"]["name"]}
    config = _object(API_VERSION, "NotificationConfig", source.name, namespace) | {"spec": spec}
    return {f"{source.name}/notificationconfig.yaml": [config], **secrets}


def folder_of(source: Source) -> str:
    """Where a source's files go."""
    return ROOT_FOLDER if source.kind == "root" else source.name


def secret_of(source: Source, namespace: str | None, root_namespace: str) -> dict[str, Any]:
    """The Secret that fills a source's variables."""
    if source.kind == "root":
        return secret(ROOT_SECRET, root_namespace, source.secret)
    return secret(f"{source.name}-notifications", namespace, source.secret)


def secret(name: str, namespace: str | None, values: Mapping[str, str]) -> dict[str, Any]:
    """A Secret with these values. `stringData` on purpose: what it leaves out, an apply leaves in the cluster."""
    return _object("v1", "Secret", name, namespace) | {"type": "Opaque", "stringData": dict(values)}


def _object(api_version: str, kind: str, name: str, namespace: str | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata | {"labels": dict(_LABELS)}}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
