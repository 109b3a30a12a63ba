"""Which other namespaces' events a shared configuration serves: label selectors, as everywhere in Kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from pipebell.core.fields import Spec

if TYPE_CHECKING:
    from collections.abc import Mapping


class LabelRequirement(Spec):
    """One requirement of a label selector."""

    key: Annotated[str, StringConstraints(min_length=1, max_length=317)] = Field(description="Label key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How key and values relate.")
    values: Annotated[list[Annotated[str, StringConstraints(max_length=63)]], Field(max_length=50)] | None = Field(
        None, description="Values for In and NotIn; none for Exists and DoesNotExist."
    )

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet it."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in (self.values or ())
            case "NotIn":
                return value is None or value not in (self.values or ())
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None


class LabelSelector(Spec):
    """A label selector as everywhere in Kubernetes; all requirements must hold."""

    match_labels: (
        Annotated[
            dict[Annotated[str, StringConstraints(max_length=317)], Annotated[str, StringConstraints(max_length=63)]],
            Field(max_length=50),
        ]
        | None
    ) = Field(None, description="Labels that must have exactly these values.")
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=50)] | None = Field(
        None, description="Requirements on labels."
    )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether all requirements hold; an empty selector matches everything, as everywhere in Kubernetes."""
        return all(labels.get(key) == value for key, value in (self.match_labels or {}).items()) and all(
            requirement.holds(labels) for requirement in self.match_expressions or ()
        )


class EventNamespaces(Spec):
    """Which namespaces' events may use a configuration."""

    from_: Literal["Same", "All", "Selector"] = Field(
        alias="from",
        description="Same: the configuration's own; All: every namespace; Selector: those that selector matches.",
    )
    selector: LabelSelector | None = Field(None, description="Labels of the namespaces; for from: Selector.")

    @model_validator(mode="after")
    def _selector_goes_with_from(self) -> Self:
        if (self.from_ == "Selector") != (self.selector is not None):
            msg = "selector goes with from: Selector, and only with it"
            raise ValueError(msg)
        return self

    def admits(self, labels: Mapping[str, str] | None) -> bool:
        """Whether another namespace's events may use it; None: its labels are not known, and no selector matches."""
        if self.from_ == "All":
            return True
        return labels is not None and self.selector is not None and self.selector.matches(labels)
