"""The configuration that an event would use, found as the operator finds it, but with a person's rights."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from pydantic import ValidationError

from pipebell import strict_yaml
from pipebell.cli import dotenv, replicas
from pipebell.cli.client import CONFIGS
from pipebell.cli.filling import Filled
from pipebell.core import resolve
from pipebell.core.config import ConfigObject
from pipebell.core.errors import InvalidInput, NotFound, NotReady, PipebellError, Problem, Rejected, SettingsError
from pipebell.core.explain import explain
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationConfigSpec, NotificationSpec
from pipebell.core.policy.configured import disabled, nobody
from pipebell.core.policy.situation import Resolved
from pipebell.core.root import parse_root
from pipebell.core.status import ConfigReference, NotificationConfigStatus
from pipebell.core.vocabulary import NotReadyReason
from pipebell.tls import check_ca_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipebell.cli.client import Client
    from pipebell.core.policy.decision import Skip

ROOT_SECRET: Final = "pipebell-root-variables"  # noqa: S105  (a Secret's name: manifests/deployment.yaml reads it)


class Unusable(PipebellError):  # noqa: N818  (it names the configuration's state)
    """There is no configuration, or it cannot be used; the message says what to do.

    `answer` is what the operator goes by instead; None where no operator comes to that.
    """

    def __init__(self, message: str, answer: Skip | NotReady | None = None) -> None:
        self.answer = answer
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the operator lives: what people may have to say, because no API tells it."""

    namespace: str
    root_configmap: str
    shared: tuple[str, ...]


@dataclass(slots=True)
class Effective:
    """The layers that apply, what they are called, and what was not readable on the way."""

    layers: Layers
    title: str
    reference: ConfigReference
    notes: list[str] = field(default_factory=list)


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where the operator lives, as its own settings do, and with what to fill `${VAR}`s."""
    env_file = click.Path(exists=True, dir_okay=False, path_type=Path)
    text = "Fill ${VAR}s from here instead of from Secrets."
    return click.option("--env-file", type=env_file, metavar="FILE", help=text)(where_options(function))


def where_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where the operator lives, as its own settings do."""
    root = "pipebell-root"
    for name, default, variable, text in (
        ("--root-configmap", root, "PIPEBELL_ROOT_CONFIGMAP", f"The root configuration [default: {root}]."),
        ("--shared-namespaces", "", "PIPEBELL_SHARED_NAMESPACES", "Comma-separated [default: the operator's]."),
    ):
        function = click.option(name, default=default, envvar=variable, metavar="NAME", help=text)(function)
    return replicas.operator_option(function)


def place(operator_namespace: str, root_configmap: str, shared_namespaces: str) -> Place:
    """The options as a Place."""
    shared = tuple(part for part in shared_namespaces.replace(",", " ").split() if part)
    return Place(operator_namespace, root_configmap, shared or (operator_namespace,))


class Finder:
    """Finds configurations in a cluster, or in files that stand for it."""

    def __init__(self, client: Client | None, place: Place, env: Mapping[str, str] | None) -> None:
        self._client, self._place, self._env = client, place, env
        self.notes: list[str] = []
        self.root_hidden = False  # there may be a root configuration that this person may not read

    def find(self, org: str, namespace: str) -> Effective:
        """As the operator resolves it. Raises Unusable and ApiErrors."""
        config = self.configuration(org, namespace)
        root = self._root()
        if config is not None:
            return self.over(config, root, f"NotificationConfig {config.namespace}/{config.name}")
        if root is None:
            raise Unusable(
                f"{org} has no NotificationConfig in namespace {namespace}, and there is no root configuration: "
                "its events end Skipped/NoConfig",
                nobody(),
            )
        return self.root_alone(root)

    def configuration(self, org: str, namespace: str) -> ConfigObject | None:
        """The organisation's own or a shared one; None where root's would be used. Raises ApiErrors."""
        assert self._client is not None  # noqa: S101  (files have their own way)
        configs = [parse_config(item) for item in self._client.list(CONFIGS, namespace, fields={"spec.orgSlug": org})]
        return resolve.own(configs, namespace) or self._shared(org, namespace)

    def answer(self, org: str, namespace: str) -> tuple[Resolved | Skip | NotReady, str]:
        """What the operator goes by, and what it is called. Raises ApiErrors."""
        try:
            found = self.find(org, namespace)
        except Unusable as error:
            if error.answer is None:
                raise
            return error.answer, str(error)
        return Resolved(found.layers, found.reference, None), found.title

    def over(self, config: ConfigObject, root: NotificationSpec | None, title: str) -> Effective:
        """An organisation's configuration over root's."""
        if config.spec is None:
            problems = "; ".join(map(str, config.problems))
            raise Unusable(f"{title} is invalid: {problems}", NotReady(NotReadyReason.INVALID, problems))
        reference = ConfigReference(
            kind="NotificationConfig", namespace=config.namespace, name=config.name, generation=config.generation
        )
        if config.spec.enabled is False:
            message = f"{title} is disabled (enabled: false): its events end Skipped/ConfigDisabled"
            raise Unusable(message, disabled(reference))
        layers = Layers(Layer(config.spec, self._source(config)), self._root_layer(root), config.namespace)
        below = "" if root is None else " over the root configuration"
        return Effective(layers, title + below, reference, self.notes)

    def root_alone(self, root: NotificationSpec) -> Effective:
        """Root's configuration for an organisation without one."""
        where = f"{self._place.namespace}/{self._place.root_configmap}"
        reference = ConfigReference(
            kind="RootConfig", namespace=self._place.namespace, name=self._place.root_configmap, generation=None
        )
        if root.enabled is False:
            message = f"the root configuration {where} is disabled: events end Skipped/ConfigDisabled"
            raise Unusable(message, disabled(reference))
        return Effective(Layers(None, self._root_layer(root)), f"root configuration {where}", reference, self.notes)

    def _shared(self, org: str, namespace: str) -> ConfigObject | None:
        found: list[ConfigObject] = []
        for other in self._place.shared:
            if other == namespace or self._client is None:
                continue
            try:
                items = self._client.list(CONFIGS, other, fields={"spec.orgSlug": org})
                found += [parse_config(item) for item in items]
            except Rejected:
                self.notes.append(f"you may not list NotificationConfigs in {other}: a shared one may be there")
        return resolve.shared(found, namespace, self._labels(namespace, found), self._place.shared)

    def _labels(self, namespace: str, found: Iterable[ConfigObject]) -> Mapping[str, str] | None:
        if self._client is None or not resolve.wants_labels(found, self._place.shared):
            return None
        try:
            return self._client.labels(namespace)
        except PipebellError:
            self.notes.append(f"you may not read namespace {namespace}: whether a selector matches it is not known")
            return None

    def _root(self) -> NotificationSpec | None:
        if self._client is None:
            return None
        where = f"{self._place.namespace}/{self._place.root_configmap}"
        try:
            item = self._client.core("configmaps", self._place.root_configmap, self._place.namespace)
        except Rejected:
            self.notes.append(f"you may not read the root configuration {where}: what comes from it is not shown")
            self.root_hidden = True
            return None
        except NotFound:
            return None
        if item is None:
            return None
        try:
            return parse_root(item.get("data") or {}, strict_yaml.load_one)
        except InvalidInput as error:
            message = f"the root configuration {where} is invalid: {error}"
            answer = NotReady(NotReadyReason.INVALID, f"the root configuration is invalid: {error}")
            raise Unusable(message, answer) from None

    def _root_layer(self, root: NotificationSpec | None) -> Layer | None:
        if root is None:
            return None
        # The Deployment reads this Secret, but the operator's environment may come from elsewhere as well.
        secret = self._secret(self._place.namespace, ROOT_SECRET) or NotFound(ROOT_SECRET)
        return Layer(root, Filled(self._env, {ROOT_SECRET: secret}, ROOT_SECRET, self.notes, "the root's"), root=True)

    def _source(self, config: ConfigObject) -> Filled:
        assert config.spec is not None  # noqa: S101  (callers have checked)
        reference = config.spec.secret_ref
        names = config.secrets
        secrets = {name: self._secret(config.namespace, name) for name in names}
        return Filled(self._env, secrets, reference.name if reference else None, self.notes, "the organisation's")

    def _secret(self, namespace: str, name: str) -> dict[str, str] | Exception | None:
        if self._client is None:
            return Rejected("no cluster is asked")
        try:
            item = self._client.core("secrets", name, namespace)
        except PipebellError as error:
            return error
        if item is None:
            return None
        return {
            key: base64.b64decode(value).decode("utf-8", "surrogateescape")
            for key, value in (item.get("data") or {}).items()
        }


def parse_config(item: Mapping[str, Any]) -> ConfigObject:
    """A NotificationConfig as the API gives it; one that breaks the rules has problems instead of a spec."""
    metadata, raw = item["metadata"], item.get("spec") or {}
    spec: NotificationConfigSpec | None = None
    problems: tuple[Problem, ...] = ()
    try:
        spec = NotificationConfigSpec.model_validate(raw)
    except ValidationError as error:
        problems = explain(error, NotificationConfigSpec).problems
    created = metadata.get("creationTimestamp")
    return ConfigObject(
        namespace=metadata.get("namespace") or "",
        name=metadata.get("name") or "",
        uid=metadata.get("uid") or "",
        resource_version=metadata.get("resourceVersion") or "",
        generation=metadata.get("generation") or 0,
        created=datetime.fromisoformat(created).timestamp() if created else 0.0,
        org_slug=str(raw.get("orgSlug") or ""),
        spec=spec,
        problems=problems,
        status=NotificationConfigStatus(),
    )


def read_env(path: Path | None) -> dict[str, str] | None:
    """`--env-file`, over which the process's own environment does not count. Raises ClickException."""
    if path is None:
        return None
    try:
        return dotenv.read(path)
    except InvalidInput as error:
        raise click.ClickException(f"{path}: {error}") from None


def ca_file() -> str:
    """The extra CA bundle that the operator uses as well."""
    path = os.environ.get("PIPEBELL_CA_FILE", "").strip()
    if path:
        try:
            check_ca_file(path)
        except ValueError as error:
            raise SettingsError(f"PIPEBELL_CA_FILE={path!r} {error}") from None
    return path
