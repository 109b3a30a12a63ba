"""What `preview` is given as files instead of a cluster's objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipebell.cli import effective, rules
from pipebell.cli.documents import read_text
from pipebell.core.errors import InvalidInput
from pipebell.core.models import NotificationSpec, PipelineEventSpec
from pipebell.core.status import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipebell.core.event import Event


def event(path: Path, namespace: str | None, otherwise: str, now: float) -> dict[str, Any]:
    """A PipelineEvent in a file as the API would give it. Raises InvalidInput and ClickException.

    Its namespace is the one asked for, else the file's, `otherwise` where neither says one.
    """
    (document, *more) = rules.read(path, read_text(path))
    if document.problems:  # of its name, too
        raise InvalidInput(document.problems)
    if more or not isinstance(document.spec, PipelineEventSpec):
        raise click.ClickException(f"{path} must hold exactly one PipelineEvent")
    return {
        "metadata": {
            "namespace": namespace or document.namespace or otherwise,
            "name": document.name or "preview",
            "uid": "00000000-0000-0000-0000-000000000000",
            "creationTimestamp": rfc3339(now),
        },
        "spec": document.spec.model_dump(by_alias=True, exclude_none=True, mode="json"),
    }


def configuration(
    finder: effective.Finder, config_file: Path | None, root_file: Path | None, subject: Event
) -> effective.Effective:
    """The configuration that these files say. Raises Unusable, InvalidInput and ClickException."""
    root = _configuration(root_file, root=True)[0] if root_file else None
    if config_file is None:
        assert root is not None  # noqa: S101  (one of the two was given)
        return finder.root_alone(root)
    own, namespace = _configuration(config_file)
    spec = own.model_dump(by_alias=True, exclude_none=True, mode="json")
    spec.setdefault("orgSlug", subject.spec.org_slug)
    if spec["orgSlug"] != subject.spec.org_slug:
        raise effective.Unusable(f"{config_file} is {spec['orgSlug']}'s, the event is of {subject.spec.org_slug}")
    spec.setdefault("secretRef", {"name": "secret"})
    item: Mapping[str, Any] = {
        "metadata": {"namespace": namespace or subject.namespace, "name": config_file.stem},
        "spec": spec,
    }
    return finder.over(effective.parse_config(item), root, str(config_file))


def _configuration(path: Path, *, root: bool = False) -> tuple[NotificationSpec, str]:
    """The only configuration in a file, and the namespace that the file says; "" for none."""
    found = rules.read(path, read_text(path), root=root)
    if problems := [problem for document in found for problem in document.problems]:
        raise InvalidInput(problems)
    specs = [(document.spec, document.namespace) for document in found if isinstance(document.spec, NotificationSpec)]
    if len(specs) != 1:
        raise click.ClickException(f"{path} must hold exactly one configuration")
    return specs[0]
