"""Filling placeholders with a person's rights: from Secrets as the operator does, or by a stand-in that is noted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.cli import rules
from pipebell.core.errors import NotReady
from pipebell.core.vocabulary import NotReadyReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipebell.core.fields import SecretKeyRef


class Filled:
    """Fills placeholders from Secrets as the operator does; what one may not read stands in by name, and is noted."""

    def __init__(
        self,
        env: Mapping[str, str] | None,
        secrets: Mapping[str, dict[str, str] | Exception | None],
        name: str | None,
        notes: list[str],
        whose: str,
    ) -> None:
        self._env, self._secrets, self._name, self._notes, self._whose = env, secrets, name, notes, whose
        self.presumed: set[str] = set()  # fields of which a stand-in was given

    def variable(self, name: str, field: str) -> str:
        """See `pipebell.core.placeholders.Source`."""
        if self._env is not None and self._env.get(name):
            return self._env[name]
        if self._name is None:
            raise NotReady(
                NotReadyReason.MISSING_SECRET, f"{field} uses ${{{name}}}, but spec.secretRef names no Secret"
            )
        return self._key(self._name, name, field)

    def secret(self, reference: SecretKeyRef, field: str) -> str:
        """See `pipebell.core.placeholders.Source`."""
        return self._key(reference.name, reference.key, field)

    def _key(self, secret: str, key: str, field: str) -> str:
        keys = self._secrets.get(secret)
        if isinstance(keys, Exception):
            self.presumed.add(field)
            note = f"{field}: {self._whose} {key} is not to be had from here; a stand-in is used (or give --env-file)"
            if note not in self._notes:
                self._notes.append(note)
            return rules.stand_in(field)
        if keys is None:
            raise NotReady(NotReadyReason.MISSING_SECRET, f"{field}: there is no Secret {secret}")
        if key not in keys:
            raise NotReady(NotReadyReason.MISSING_VARIABLE, f"{field}: Secret {secret} has no key {key}")
        return keys[key]
