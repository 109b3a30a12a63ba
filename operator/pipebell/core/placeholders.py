"""Filling `${VAR}`: each layer from its own source only, once, and with the rule of the field that it fills."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic import BaseModel

from pipebell.core.errors import NotReady
from pipebell.core.fields import PLACEHOLDER, SecretKeyRef, traits
from pipebell.core.vocabulary import NotReadyReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipebell.core.fields import Fillable, SecretRef, Trait

_PLACEHOLDER: Final = re.compile(PLACEHOLDER)


def variable_in(value: str) -> str | None:
    """The variable that a value names, when the value is exactly `${VAR}`."""
    return value[2:-1] if _PLACEHOLDER.fullmatch(value) else None


class Source(Protocol):
    """Where one layer's placeholders and references are looked up. Both raise NotReady, naming what is missing."""

    def variable(self, name: str, field: str) -> str:
        """The value of a variable that `field` names."""

    def secret(self, reference: SecretKeyRef, field: str) -> str:
        """The value of a Secret's key that `field` refers to."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Root's source: the operator's environment."""

    variables: Mapping[str, str] = field(repr=False)

    def variable(self, name: str, field: str) -> str:
        """See `Source`."""
        if name not in self.variables:
            raise NotReady(
                NotReadyReason.MISSING_VARIABLE,
                f"{field} of the root configuration: ${{{name}}} is not set for the operator",
            )
        return self.variables[name]

    def secret(self, reference: SecretKeyRef, field: str) -> str:  # noqa: ARG002  (the Protocol's signature)
        """Root names no Secrets (its parser rejects it), so this is never reached with a valid root."""
        raise NotReady(NotReadyReason.INVALID, f"{field} of the root configuration: root takes ${{VAR}} only")


@dataclass(frozen=True, slots=True)
class OrgSecrets:
    """An organisation's source: Secrets in its own namespace. A Secret that is missing maps to None.

    `unreadable` says of Secrets that could not be read why.
    """

    secret_name: str | None
    secrets: Mapping[str, Mapping[str, str] | None] = field(repr=False)
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def variable(self, name: str, field: str) -> str:
        """See `Source`."""
        if self.secret_name is None:
            raise NotReady(
                NotReadyReason.MISSING_SECRET,
                f"{field} uses ${{{name}}}, but spec.secretRef names no Secret to fill it from",
            )
        return self._key(self.secret_name, name, field)

    def secret(self, reference: SecretKeyRef, field: str) -> str:
        """See `Source`."""
        return self._key(reference.name, reference.key, field)

    def _key(self, secret: str, key: str, field: str) -> str:
        if secret in self.unreadable:
            why = self.unreadable[secret]
            raise NotReady(NotReadyReason.MISSING_SECRET, f"{field}: Secret {secret} cannot be read: {why}")
        keys = self.secrets.get(secret)
        if keys is None:
            raise NotReady(NotReadyReason.MISSING_SECRET, f"{field}: there is no Secret {secret} in this namespace")
        if key not in keys:
            raise NotReady(NotReadyReason.MISSING_VARIABLE, f"{field}: Secret {secret} has no key {key}")
        return keys[key]


def fill(value: str, rule: Fillable | None, source: Source, path: str) -> str:
    """The value itself, or what its placeholder stands for.

    A trailing line break, which `echo | base64` leaves behind, is dropped. What comes out is not filled again; it has
    to meet the rule of the field. Raises NotReady that names `path` and the variable, never the value.
    """
    variable = variable_in(value) if rule is not None else None
    if variable is None:
        return value
    return checked(source.variable(variable, path), rule, path, f"${{{variable}}}")


def checked(text: str, rule: Fillable | None, path: str, origin: str) -> str:
    """A looked-up value that meets the rule of its field. Raises NotReady otherwise."""
    value = text.rstrip("\r\n")
    if not value:
        raise NotReady(NotReadyReason.MISSING_VARIABLE, f"{path}: {origin} is empty")
    if not _is_text(value):
        said = f"{path}: the value of {origin} is not UTF-8 text: save it as UTF-8 (perhaps it is UTF-16 or latin-1)"
        raise NotReady(NotReadyReason.MISSING_VARIABLE, said)
    if rule is not None and not rule.fits(value):
        raise NotReady(NotReadyReason.INVALID, f"{path}: the value of {origin} is not {rule.words}")
    return value


def _is_text(value: str) -> bool:
    """Whether a value was UTF-8: other bytes are lone surrogates by now, and UTF-16 has NULs between its letters."""
    return "\0" not in value and not any("\ud800" <= sign <= "\udfff" for sign in value)


def _given(spec: BaseModel) -> Iterator[tuple[Trait, Any]]:
    """The fields that are set, with their values: of a configuration few are, and this runs for every event."""
    for trait in traits(type(spec)).values():
        value = getattr(spec, trait.name)
        if value is not None:
            yield trait, value


def secrets_of(spec: BaseModel) -> frozenset[str]:
    """Names of all Secrets that a configuration references: the only ones that are ever read for it."""
    names = {reference.name for _, reference in references_of(spec)}
    general: SecretRef | None = getattr(spec, "secret_ref", None)
    if general is not None and any(True for _ in variables_of(spec)):
        names.add(general.name)
    return frozenset(names)


def variables_of(spec: BaseModel, path: str = "") -> Iterator[tuple[str, str]]:
    """Every placeholder of a configuration, as (path in camelCase, variable)."""
    for trait, value in _given(spec):
        here = f"{path}{trait.camel}"
        if isinstance(value, BaseModel):
            yield from variables_of(value, f"{here}.")
        elif trait.fillable is not None:
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, str) and (variable := variable_in(item)) is not None:
                    yield here, variable
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, BaseModel):
                    yield from variables_of(item, f"{here}[{index}].")


def references_of(spec: BaseModel, path: str = "") -> Iterator[tuple[str, SecretKeyRef]]:
    """Every reference to a Secret's key, as (path in camelCase, reference)."""
    for trait, value in _given(spec):
        here = f"{path}{trait.camel}"
        if isinstance(value, SecretKeyRef):
            yield here, value
        elif isinstance(value, BaseModel):
            yield from references_of(value, f"{here}.")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, BaseModel):
                    yield from references_of(item, f"{here}[{index}].")
