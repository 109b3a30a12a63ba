"""Which incident an event belongs to: its key, among those of its namespace, organisation and class."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from pipebell.core.incidents.resource import IncidentClass
from pipebell.core.incidents.rules import CLASSES
from pipebell.core.incidents.spec import LABEL
from pipebell.core.vocabulary import EventType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.core.event import Event, PipelineEventSpec
    from pipebell.core.incidents.rules import IncidentRules

LONGEST: Final = 512  # characters of a key's text
REST: Final = "*"  # of a namespace that has too many: the key of all that are beyond
_KEPT: Final = 440


class IncidentKey(NamedTuple):
    """What makes failures one incident. `value` is text that people read, and that no two different groups share."""

    namespace: str
    org: str
    kind: IncidentClass
    value: str


def key_of(event: Event, rules: IncidentRules) -> IncidentKey | None:
    """The key of a failure; None for an event that is none."""
    kind = CLASSES.get(event.spec.event)
    if kind is None:
        return None
    return IncidentKey(event.namespace, event.spec.org_slug, kind, _value(event.spec, event.spec.event, rules.group_by))


def recovered_by(event: Event, rules: IncidentRules) -> tuple[IncidentKey, ...]:
    """The keys of incidents that a success may end: of runs, then of data quality."""
    if event.spec.event is not EventType.PIPELINE_SUCCESS:
        return ()
    keys = []
    for kind in (IncidentClass.RUN, IncidentClass.DATA_QUALITY):
        types = [name for name, its in CLASSES.items() if its == kind] if "event" in rules.group_by else [None]
        keys += [
            IncidentKey(event.namespace, event.spec.org_slug, kind, _value(event.spec, name, rules.group_by))
            for name in types
        ]
    return tuple(dict.fromkeys(keys))


def _value(spec: PipelineEventSpec, event: EventType | None, groups: Sequence[str]) -> str:
    if spec.incident_key:
        return _shortened(f"incidentKey={_escaped(spec.incident_key)}")
    return _shortened(",".join(f"{_escaped(name)}={_escaped(_part(spec, event, name))}" for name in groups))


def _part(spec: PipelineEventSpec, event: EventType | None, name: str) -> str:
    if name == "event":
        return event.value if event is not None else ""
    if name == "owner":
        return spec.owner or ""
    if name.startswith(LABEL):
        return (spec.labels or {}).get(name.removeprefix(LABEL), "")
    return spec.pipeline_id or ""


def _escaped(text: str) -> str:
    """Without the signs that separate: one value that looks like two stays one."""
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def reaches(key: IncidentKey, rules: IncidentRules) -> bool:
    """Whether failures can still come to an incident of this key: not after `groupBy` has changed."""
    names = _names(key.value)
    if key.value == REST or names == ["incidentKey"]:
        return True
    whole = "…" not in key.value
    return tuple(names) == rules.group_by if whole else tuple(names) == rules.group_by[: len(names)]


def _names(value: str) -> list[str]:
    """The names of a key's parts."""
    names, name, in_name, escaped = [], "", True, False
    for sign in value:
        if escaped or sign not in "\\,=":
            name, escaped = name + sign if in_name else name, False
        elif sign == "\\":
            escaped = True
        elif sign == "=":
            names.append(name)
            in_name = False
        else:
            name, in_name = "", True
    return names


def _shortened(text: str) -> str:
    """A longer key ends with a hash of all of it."""
    if len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{text[:_KEPT]}…{digest[:32]}"


def name_of(key: IncidentKey, uid: str) -> str:
    """The name of the Incident that the event of this uid opens: asked for twice, it is the same object."""
    digest = hashlib.sha256("\0".join((*key, uid)).encode(errors="surrogatepass")).hexdigest()
    return f"inc-{digest[:20]}"
