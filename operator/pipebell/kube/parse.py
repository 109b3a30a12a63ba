"""API dict → model. Tolerant of anything that the API may hold: a newer writer's fields, a hand-edited status."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from pipebell.core.bounds import shortened
from pipebell.core.config import ConfigObject
from pipebell.core.errors import InvalidEvent, InvalidIncident, Problem
from pipebell.core.event import DETAILS_SHOWN, Event, PipelineEventSpec
from pipebell.core.explain import explain
from pipebell.core.incidents.resource import Incident, IncidentSpec, IncidentStatus
from pipebell.core.models import NotificationConfigSpec
from pipebell.core.silences.resource import Silence, SilenceSpec, SilenceStatus
from pipebell.core.status import EventStatus, NotificationConfigStatus, epoch
from pipebell.core.vocabulary import VERIFY
from pipebell.core.wire import encode
from pipebell.kube.lean import lean, shared
from pipebell.plain import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = structlog.get_logger(__name__)
_Model = TypeVar("_Model", bound=BaseModel)
_SHOWN: Final = 2 * DETAILS_SHOWN  # characters of details that are kept: more than any message shows
_LONG: Final = 2 * _SHOWN  # bytes of JSON from which on details are looked at
_LARGE: Final = 200_000  # bytes of a spec's JSON from which on it matters how much room is left beside it
_OBJECTS: Final = 4_000  # bytes that an event takes besides what it says (measured: 5 to 6 KB for an ordinary one)
_TOKEN: Final = 253  # characters of an annotation that are looked at
_ROUNDS: Final = 8  # of cutting out what cannot be read, before all of it is given up


def parse_event(item: Mapping[str, Any]) -> Event:
    """A PipelineEvent as the API gives it. Raises InvalidEvent when its spec breaks the rules.

    Fields that this version does not know are passed over: an event is a fact to report, whoever wrote it. A status
    that cannot be read loses just what is wrong in it, and a line in the log says so. Of details, what cannot be shown
    anyway is left out.
    """
    metadata = _mapping(item.get("metadata"))
    status = _status(EventStatus, item, metadata)
    raw = item.get("spec")
    text = encode(raw)
    stored = _stored(item) if len(text) > _LARGE else 0
    if len(text) > _LONG and isinstance(raw, dict) and isinstance(raw.get("details"), dict):
        raw = raw | {"details": shortened(raw["details"], _SHOWN)}
        text = encode(raw)
    try:
        spec = _known(PipelineEventSpec, raw)
    except ValidationError as error:
        raise InvalidEvent(
            explain(error, PipelineEventSpec).problems,
            namespace=_text(metadata, "namespace"),
            name=_text(metadata, "name"),
            uid=_text(metadata, "uid"),
            resource_version=_text(metadata, "resourceVersion"),
            phase=status.phase,
        ) from None
    return Event(
        namespace=_text(metadata, "namespace"),
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        resource_version=_text(metadata, "resourceVersion"),
        generation=_number(metadata, "generation"),
        created=_created(metadata),
        spec=spec,
        status=status,
        size=_size(text),
        stored_bytes=stored,
    )


def _size(text: bytes) -> int:
    """Bytes that an event takes, rather too many: as text, and for each value and each array or object of its JSON."""
    return _OBJECTS + 3 * len(text) + 80 * (text.count(b",") + text.count(b"[") + text.count(b"{"))


def _stored(item: Mapping[str, Any]) -> int:
    """Bytes that the API stores for an object, its status aside: JSON in which Go writes three signs as six."""
    text = encode({key: value for key, value in item.items() if key != "status"})
    return len(text) + 5 * (text.count(b"<") + text.count(b">") + text.count(b"&"))


def parse_config(item: Mapping[str, Any]) -> ConfigObject:
    """A NotificationConfig as the API gives it. Never raises: a spec that breaks the rules is None, with problems."""
    metadata = _mapping(item.get("metadata"))
    raw = _mapping(item.get("spec"))
    spec: NotificationConfigSpec | None = None
    problems: tuple[Problem, ...] = ()
    try:
        spec = lean(NotificationConfigSpec.model_validate(raw))
    except ValidationError as error:
        problems = explain(error, NotificationConfigSpec).problems
    return ConfigObject(
        namespace=shared(_text(metadata, "namespace")),
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        resource_version=_text(metadata, "resourceVersion"),
        generation=_number(metadata, "generation"),
        created=_created(metadata),
        org_slug=_text(raw, "orgSlug"),
        spec=spec,
        problems=problems,
        status=lean(_status(NotificationConfigStatus, item, metadata)),
        verify=_verify(metadata),
    )


def parse_incident(item: Mapping[str, Any]) -> Incident:
    """An Incident as the API gives it. Raises InvalidIncident when its spec breaks the rules.

    Unknown fields and a status that cannot be read are treated as those of an event.
    """
    metadata = _mapping(item.get("metadata"))
    try:
        spec = _known(IncidentSpec, item.get("spec"))
    except ValidationError as error:
        raise InvalidIncident(
            explain(error, IncidentSpec).problems, namespace=_text(metadata, "namespace"), name=_text(metadata, "name")
        ) from None
    return Incident(
        namespace=_text(metadata, "namespace"),
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        resource_version=_text(metadata, "resourceVersion"),
        generation=_number(metadata, "generation"),
        created=_created(metadata),
        spec=spec,
        status=_status(IncidentStatus, item, metadata),
    )


def _verify(metadata: Mapping[str, Any]) -> str:
    """The token, as its answer can repeat it."""
    annotations = metadata.get("annotations")
    token = _text(annotations, VERIFY) if isinstance(annotations, dict) else ""
    return clean(token)[:_TOKEN]


def parse_silence(item: Mapping[str, Any], home: str) -> Silence:
    """A Silence as the API gives it; `home` is the operator's own namespace. Raises InvalidInput.

    A field that this version does not know may be what narrows it: such a silence is not obeyed.
    """
    metadata = _mapping(item.get("metadata"))
    try:
        spec = SilenceSpec.model_validate(_mapping(item.get("spec")))
    except ValidationError as error:
        raise explain(error, SilenceSpec) from None
    namespace = _text(metadata, "namespace")
    return Silence(
        namespace=namespace,
        name=_text(metadata, "name"),
        uid=_text(metadata, "uid"),
        resource_version=_text(metadata, "resourceVersion"),
        created=_created(metadata),
        spec=spec,
        status=_status(SilenceStatus, item, metadata),
        platform=namespace == home,
    )


def newer(version: str, than: str) -> bool:
    """Whether one resourceVersion of an object is newer than another.

    They are integers that grow, since Kubernetes 1.35 by contract (KEP-5504) and before in fact. Text that is no
    number counts as newer unless it is the same: a needless look is cheaper than a missed one.
    """
    try:
        return int(version) > int(than)
    except ValueError:
        return version != than


def _known(model: type[_Model], raw: object) -> _Model:
    """A spec without the fields that this version does not know."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        if any(item["type"] != "extra_forbidden" for item in error.errors(include_url=False, include_input=False)):
            raise
        return model.model_validate(_without_faults(raw, error))


def _status(model: type[_Model], item: Mapping[str, Any], metadata: Mapping[str, Any]) -> _Model:
    raw = item.get("status")
    if not raw:
        empty: _Model = _empty(model)
        return empty
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        fields = sorted({".".join(map(str, fault["loc"])) for fault in error.errors(include_url=False)})
        _log.warning(
            "status_unreadable",
            kind=item.get("kind") or model.__name__,
            namespace=_text(metadata, "namespace"),
            name=_text(metadata, "name"),
            fields=fields[:10],
        )
        return _readable(model, raw, error)


@cache
def _empty(model: type[_Model]) -> _Model:
    """What nothing was written on yet: one for all, for nobody changes a status in its place."""
    return model()


def _readable(model: type[_Model], raw: object, error: ValidationError) -> _Model:
    """What of a document can be read; an empty model when nothing helps."""
    for _ in range(_ROUNDS):
        raw = _without_faults(raw, error)
        try:
            return model.model_validate(raw)
        except ValidationError as further:
            error = further
    return model()


def _without_faults(raw: object, error: ValidationError) -> object:
    """A copy without the values that the error names; what misses a field goes as a whole."""
    copy = deepcopy(raw)
    if not isinstance(copy, dict):
        return {}
    faults = {
        fault["loc"][:-1] if fault["type"] == "missing" else fault["loc"]
        for fault in error.errors(include_url=False, include_input=False)
    }
    if () in faults:
        return {}
    # Later entries of a list first, so that the other indexes stay true.
    for fault in sorted(faults, key=_position, reverse=True):
        _cut(copy, fault)
    return copy


def _position(location: tuple[int | str, ...]) -> list[tuple[str, int]]:
    return [("", part) if isinstance(part, int) else (part, 0) for part in location]


def _cut(document: Any, location: tuple[int | str, ...]) -> None:  # noqa: ANN401  (JSON)
    for part in location[:-1]:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return
    try:
        del document[location[-1]]
    except (KeyError, IndexError, TypeError):
        return


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(document: Mapping[str, Any], field: str) -> str:
    value = document.get(field)
    return value if isinstance(value, str) else ""


def _number(document: Mapping[str, Any], field: str) -> int:
    value = document.get(field)
    return value if isinstance(value, int) else 0


def _created(metadata: Mapping[str, Any]) -> float:
    try:
        return epoch(metadata["creationTimestamp"])
    except (KeyError, TypeError, ValueError):
        return 0.0
