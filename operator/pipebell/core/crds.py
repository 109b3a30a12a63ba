"""The CustomResourceDefinitions: the generated schemas in the envelopes that the API server wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipebell.core import cel
from pipebell.core.event import PipelineEventSpec
from pipebell.core.incidents.resource import IncidentSpec, IncidentStatus
from pipebell.core.models import NotificationConfigSpec
from pipebell.core.schema import structural
from pipebell.core.silences.resource import SilenceSpec, SilenceStatus
from pipebell.core.status import EventStatus, NotificationConfigStatus
from pipebell.core.vocabulary import GROUP, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

_WIDE: Final = 1  # a column's priority: shown by `kubectl get -o wide` only


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False

    def manifest(self) -> dict[str, Any]:
        """As the API server takes it."""
        known = {"name": self.name, "type": self.type, "description": self.description, "jsonPath": self.path}
        return {**known, "priority": _WIDE} if self.wide else known


@dataclass(frozen=True, slots=True)
class Resource:
    """What makes a model a resource of its own.

    `selectable` are the paths that field selectors may use (Kubernetes 1.32 or later).
    """

    kind: str
    singular: str
    plural: str
    short: str
    description: str
    spec: type[BaseModel]
    status: type[BaseModel]
    spec_rules: Mapping[str, Any]
    selectable: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


_AGE: Final = Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date")


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


def _ready(field: str) -> str:
    return _condition("Ready", field)


NOTIFICATION_CONFIG: Final = Resource(
    kind="NotificationConfig",
    singular="notificationconfig",
    plural="notificationconfigs",
    short="nc",
    description=(
        "Whom an organisation wants told about its pipelines, and how. "
        "What it leaves unset comes from the platform's root configuration."
    ),
    spec=NotificationConfigSpec,
    status=NotificationConfigStatus,
    spec_rules={},
    selectable=(".spec.orgSlug",),
    columns=(
        Column("Org", ".spec.orgSlug", "The organisation."),
        Column("Enabled", ".spec.enabled", "Whether it is notified at all; empty means yes.", "boolean"),
        Column(
            "Provider",
            ".spec.defaultProvider",
            "Destination of triggers that name none; empty means inherited, else email.",
        ),
        Column("Ready", _ready("status"), "Whether events can be delivered by it."),
        Column("Reason", _ready("reason"), "Why it is ready or not."),
        Column(
            "Deliverable",
            _condition("Deliverable", "status"),
            "Whether the last messages to its own endpoints got through; empty while that is not known.",
        ),
        Column("Shared", _condition("Shared", "status"), "Whether it serves other namespaces.", wide=True),
        Column("Delivered", ".status.counters.delivered", "Events delivered so far.", "integer", wide=True),
        Column("Suppressed", ".status.counters.suppressed", "Events held back by a cooldown.", "integer", wide=True),
        Column("Failed", ".status.counters.failed", "Events that could not be delivered.", "integer", wide=True),
        Column(
            "Last Event", ".status.lastDelivery.time", "Time since the last event that it served.", "date", wide=True
        ),
        Column("Message", _ready("message"), "What to fix.", wide=True),
        _AGE,
    ),
)

PIPELINE_EVENT: Final = Resource(
    kind="PipelineEvent",
    singular="pipelineevent",
    plural="pipelineevents",
    short="pe",
    description="Something that happened to a pipeline; its status says who was told, or why nobody was.",
    spec=PipelineEventSpec,
    status=EventStatus,
    spec_rules=cel.IMMUTABLE,
    selectable=(".status.phase", ".spec.orgSlug", ".spec.event", ".spec.pipelineId", ".status.incident.name"),
    columns=(
        Column("Org", ".spec.orgSlug", "The organisation."),
        Column("Event", ".spec.event", "What happened."),
        Column("Severity", ".status.severity", "The severity that the notification carries."),
        Column("Pipeline", ".spec.pipelineId", "Which pipeline."),
        Column("Phase", ".status.phase", "Where the event stands."),
        Column("Reason", ".status.reason", "Why it stands there."),
        Column("Run", ".spec.pipelineLoggingId", "Which run of the pipeline.", wide=True),
        Column(
            "Attempts", ".status.deliveries[*].attempts", "Attempts at the first destination.", "integer", wide=True
        ),
        Column("Config", ".status.configRef.name", "The configuration that was used.", wide=True),
        Column("Suppressed By", ".status.suppressedBy", "The event whose notification stands for it.", wide=True),
        Column("Completed", ".status.completionTime", "Time since the final phase.", "date", wide=True),
        Column("Message", ".status.message", "The same for people.", wide=True),
        _AGE,
    ),
)

INCIDENT: Final = Resource(
    kind="Incident",
    singular="incident",
    plural="incidents",
    short="inc",
    description=(
        "What is wrong with a pipeline, from its first failure to its recovery. Made by the operator where a "
        "configuration has `incidents`; people acknowledge, resolve and snooze it."
    ),
    spec=IncidentSpec,
    status=IncidentStatus,
    spec_rules=cel.INCIDENT,
    selectable=(".status.phase", ".spec.orgSlug"),
    columns=(
        Column("Org", ".spec.orgSlug", "The organisation."),
        Column("Pipeline", ".spec.pipelineId", "Which pipeline."),
        Column("Phase", ".status.phase", "Where it stands."),
        Column("Failures", ".status.failures", "Failures counted so far.", "integer"),
        Column("Open", ".status.openedTime", "Time since the first destination was told.", "date"),
        Column("Acknowledged", ".status.acknowledgedBy", "Who acknowledged it."),
        Column("Severity", ".status.severity", "The highest severity that was told of it.", wide=True),
        Column("Class", ".spec.class", "What kind of thing is wrong.", wide=True),
        Column("Last Failure", ".status.lastFailureTime", "Time since it was last seen.", "date", wide=True),
        Column("Resolved", ".status.resolvedTime", "Time since it ended.", "date", wide=True),
        Column("Resolved By", ".status.resolvedBy", "What ended it.", wide=True),
        Column("First Error", ".status.firstError", "Error of the first failure.", wide=True),
        _AGE,
    ),
)

SILENCED_BY: Final = "pipebell.io/by"  # an annotation: who silences, as the command knows it; nobody vouches for it

SILENCE: Final = Resource(
    kind="Silence",
    singular="silence",
    plural="silences",
    short="sil",
    description="Which events nobody is told of for a time, and why; afterwards it is told what was held back.",
    spec=SilenceSpec,
    status=SilenceStatus,
    spec_rules=cel.SILENCE,
    selectable=(".spec.orgSlug", ".status.phase"),
    columns=(
        Column("Org", ".spec.orgSlug", "The organisation; empty for all."),
        Column("Pipelines", ".spec.pipelines", "Which pipelines; empty for all."),
        Column("Phase", ".status.phase", "Whether it holds events back now."),
        Column("Until", ".spec.endsAt", "When it ends."),
        Column("Held", ".status.matched", "Events held back so far.", "integer"),
        Column("By", r".metadata.annotations.pipebell\.io/by", "Who made it, as `pipebell silence` noted it."),
        Column("Reason", ".spec.reason", "Why nobody is told."),
        Column("Ticket", ".spec.ticket", "Where more of it is written.", wide=True),
        Column("Events", ".spec.events", "Which types of events; empty for all.", wide=True),
        Column("Max Severity", ".spec.maxSeverity", "More severe events are told.", wide=True),
        Column("Catch Up", ".spec.catchUp", "What is told afterwards; empty for StillFailing.", wide=True),
        Column("Last Match", ".status.lastMatch", "Time since the last event was held back.", "date", wide=True),
        _AGE,
    ),
)

RESOURCES: Final = (NOTIFICATION_CONFIG, PIPELINE_EVENT, INCIDENT, SILENCE)


def definition(resource: Resource) -> dict[str, Any]:
    """The complete CustomResourceDefinition of a resource."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.name, "labels": {"app.kubernetes.io/name": "pipebell"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.singular,
                "shortNames": [resource.short],
                "categories": ["pipebell"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [column.manifest() for column in resource.columns],
                    "selectableFields": [{"jsonPath": path} for path in resource.selectable],
                    "schema": {"openAPIV3Schema": _document(resource)},
                }
            ],
        },
    }


def _document(resource: Resource) -> dict[str, Any]:
    spec, status = {**structural(resource.spec), **resource.spec_rules}, structural(resource.status)
    if not spec.get("required", True):
        del spec["required"]
    return {
        "description": resource.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {GROUP}/{VERSION}.", "maxLength": 64},
            "kind": {"type": "string", "description": f"Always {resource.kind}.", "maxLength": 64},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
