"""One destination's settings after the merge: an organisation's section over root's, or either alone.

Fields merge one by one, lists replace each other as a whole. Credentials follow their endpoint: whoever sets any field
of an endpoint owns all of it, and what `FOLLOWS_ENDPOINT` (recipients) is not inherited without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pipebell.core.errors import NotReady
from pipebell.core.fields import Trait, traits
from pipebell.core.placeholders import checked, fill
from pipebell.core.vocabulary import NotReadyReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from pipebell.core.placeholders import Source


@dataclass(frozen=True, slots=True)
class Section:
    """What one layer says of a destination. `path` is where it stands, such as `destinations[on-call].slack`."""

    spec: BaseModel
    source: Source
    root: bool
    path: str

    @property
    def beside(self) -> str:
        """Where that stands which in `destinations[]` is not part of the block."""
        return self.path.partition("].")[0] + "]" if self.path.startswith("destinations[") else self.path

    def raw(self, field: str) -> Any:  # noqa: ANN401  (a setting of any type)
        """What this layer itself says, not filled; None when it says nothing."""
        return getattr(self.spec, field)

    def sets(self, trait: Trait) -> bool:
        """Whether this layer says anything of the field."""
        return getattr(self.spec, trait.name) is not None

    def text(self, trait: Trait) -> str | None:
        """What this layer itself says, filled from its own source. Raises NotReady."""
        return _text(self.spec, trait, self.source, self.path)

    def texts(self, trait: Trait) -> tuple[str, ...]:
        """A list, each item filled. Raises NotReady."""
        path = f"{self.path}.{trait.camel}"
        items = self.raw(trait.name) or ()
        return tuple(fill(item, trait.fillable, self.source, f"{path}[{index}]") for index, item in enumerate(items))

    def items(self, trait: Trait, field: str) -> tuple[tuple[Any, str | None], ...]:
        """A list of objects, each with one of its texts filled. Raises NotReady."""
        path = f"{self.path}.{trait.camel}"
        return tuple(
            (item, _text(item, _traits_of(item)[field], self.source, f"{path}[{index}]"))
            for index, item in enumerate(self.raw(trait.name) or ())
        )

    @property
    def own_endpoint(self) -> str | None:
        """The first field of an endpoint that is set here."""
        spec = self.spec
        return next((trait.camel for trait in _endpoint(type(spec)) if getattr(spec, trait.name) is not None), None)


def _traits_of(item: BaseModel) -> Mapping[str, Trait]:
    return traits(type(item))


@cache
def _endpoint(model: type[BaseModel]) -> tuple[Trait, ...]:
    return tuple(trait for trait in traits(model).values() if trait.endpoint)


def _text(spec: BaseModel, trait: Trait, source: Source, path: str) -> str | None:
    here = f"{path}.{trait.camel}"
    value = getattr(spec, trait.name)
    if value is not None:
        return fill(value, trait.fillable, source, here)
    reference = getattr(spec, f"{trait.name}_secret_ref", None)
    if reference is None:
        return None
    origin = f"key {reference.key} of Secret {reference.name}"
    return checked(source.secret(reference, f"{here}SecretRef"), trait.fillable, f"{here}SecretRef", origin)


@dataclass(frozen=True, slots=True)
class Block:
    """A destination as its kind sees it. `name` is the destination's; `sections` the organisation's before root's."""

    name: str
    sections: tuple[Section, ...]
    owner: Section | None  # whose endpoint it is
    traits: Mapping[str, Trait]

    @property
    def path(self) -> str:
        """Where the settings stand that an error should name."""
        return self.sections[0].path if self.sections else self.name

    @property
    def trusted(self) -> bool:
        """Whether the endpoint is root's."""
        return self.owner is not None and self.owner.root

    @property
    def org(self) -> Section | None:
        """The organisation's section."""
        return next((section for section in self.sections if not section.root), None)

    def get(self, field: str) -> Any:  # noqa: ANN401
        """A setting after the merge, not filled; None when nobody set it."""
        for section in self._stack(self.traits[field]):
            value = section.raw(field)
            if value is not None:
                return value
        return None

    def text(self, field: str) -> str | None:
        """A text after the merge, filled by the layer that set it; None when nobody did. Raises NotReady."""
        trait = self.traits[field]
        for section in self._stack(trait):
            value = section.text(trait)
            if value is not None:
                return value
        return None

    def given(self, field: str) -> bool:
        """Whether anybody whose setting counts set it, by itself or by a reference."""
        names = [name for name in (field, f"{field}_secret_ref") if name in self.traits]
        return any(section.sets(self.traits[name]) for section in self._stack(self.traits[field]) for name in names)

    def required(self, field: str) -> str:
        """The same for what a destination cannot do without. Raises NotReady."""
        value = self.text(field)
        if value is None:
            raise self.incomplete(field)
        return value

    def from_root(self, field: str) -> bool:
        """Whether what counts for this field is root's: an organisation does not see it."""
        trait = self.traits[field]
        return next((section.root for section in self._stack(trait) if section.sets(trait)), False)

    def texts(self, field: str) -> tuple[str, ...]:
        """A list after the merge, filled by the layer that set it, each item once. Raises NotReady."""
        return tuple(dict.fromkeys(self.in_places(field)))

    def in_places(self, field: str) -> tuple[str, ...]:
        """The same as it is written, for lists in which an item's position says something. Raises NotReady."""
        trait = self.traits[field]
        for section in self._stack(trait):
            if section.sets(trait):
                return section.texts(trait)
        return ()

    def items(self, field: str, text: str) -> tuple[tuple[Any, str | None], ...]:
        """A list of objects after the merge, each with one of its texts, filled by the layer that set it.

        Raises NotReady.
        """
        trait = self.traits[field]
        for section in self._stack(trait):
            if section.sets(trait):
                return section.items(trait, text)
        return ()

    def incomplete(self, field: str, what: str = "is not set") -> NotReady:
        """What to raise for a field without which nothing can be sent."""
        trait = self.traits[field]
        owner = self.owner
        hint = ""
        if owner is not None and not owner.root and len(self.sections) > 1 and (trait.endpoint or trait.follows):
            hint = f" (with {owner.own_endpoint} of your own, none of root's endpoint and recipients is inherited)"
        return NotReady(NotReadyReason.INCOMPLETE, f"{self.path}.{trait.camel} {what}{hint}")

    def _stack(self, trait: Trait) -> tuple[Section, ...]:
        if self.owner is not None and (trait.endpoint or (trait.follows and not self.owner.root)):
            return (self.owner,)
        return self.sections


def make_block(name: str, org: Section | None, root: Section | None, model: type[BaseModel]) -> Block:
    """The settings of one destination."""
    sections = tuple(section for section in (org, root) if section is not None)
    owner = root
    if org is not None and (root is None or org.own_endpoint is not None):
        owner = org
    return Block(name, sections, owner, traits(model))
