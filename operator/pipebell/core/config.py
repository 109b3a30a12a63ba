"""Configurations as the engine holds them: the objects that organisations apply, and root."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipebell.core.placeholders import secrets_of

if TYPE_CHECKING:
    from pipebell.core.errors import Problem
    from pipebell.core.models import NotificationSpec
    from pipebell.core.status import NotificationConfigStatus


@dataclass(frozen=True)
class ConfigObject:
    """One NotificationConfig. `spec` is None when it cannot be parsed; then `problems` say why.

    `created` is seconds since the epoch. `status` is what the object carried when it was read. `verify` is the token of
    its annotation, as `status.verification` repeats it; "" when nobody asks.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created: float
    org_slug: str
    spec: NotificationSpec | None
    problems: tuple[Problem, ...]
    status: NotificationConfigStatus
    verify: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return (self.namespace, self.name)

    @cached_property
    def secrets(self) -> frozenset[str]:
        """Names of the Secrets that the configuration references."""
        return frozenset() if self.spec is None else secrets_of(self.spec)
