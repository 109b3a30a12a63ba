"""`incidents` as it applies: an organisation's settings over root's, with defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipebell.core.incidents.resource import IncidentClass
from pipebell.core.vocabulary import EventType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

    from pipebell.core.incidents.spec import IncidentsSpec

CLASSES: Final = {
    **dict.fromkeys(
        (
            EventType.PIPELINE_FAILURE,
            EventType.PIPELINE_MISSING,
            EventType.PIPELINE_LATE,
            EventType.PIPELINE_STUCK,
        ),
        IncidentClass.RUN,
    ),
    **dict.fromkeys((EventType.DATA_QUALITY_FAILURE, EventType.DATA_QUALITY_WARNING), IncidentClass.DATA_QUALITY),
    **dict.fromkeys((EventType.SYSTEM_ERROR, EventType.RATE_LIMIT_EXCEEDED), IncidentClass.SYSTEM),
}
"""Which class of incident a failure belongs to."""

LONGEST_REMINDER: Final = 86_400.0  # seconds between two reminders at most
_AUTO_RESOLVE: Final = {IncidentClass.RUN: 0.0, IncidentClass.DATA_QUALITY: 86_400.0, IncidentClass.SYSTEM: 86_400.0}


class Escalation(NamedTuple):
    """One step: `after` seconds after the opening these are notified, again every `repeat` seconds (0: once)."""

    after: float
    providers: tuple[str, ...]
    repeat: float = 0.0


class IncidentRules(NamedTuple):
    """All settings of incidents. Times are seconds."""

    group_by: tuple[str, ...] = ("pipelineId",)
    only_final_attempt: bool = True
    retry_expected: float = 3600.0
    notify_after_failures: int = 1
    notify_after: float = 0.0
    remind_after: float = 14_400.0
    notify_recovery: bool = True
    auto_resolve: float | None = None
    escalation: tuple[Escalation, ...] = ()
    flapping_changes: int = 6
    flapping_within: float = 3600.0
    storm_openings: int = 10
    storm_within: int = 60

    def auto_resolve_after(self, kind: IncidentClass) -> float:
        """Seconds after the last failure when an incident of this class ends by itself; 0 for never."""
        return _AUTO_RESOLVE[kind] if self.auto_resolve is None else self.auto_resolve

    def reminder(self, number: int) -> float:
        """Seconds from the message before to reminder `number` (from 1); 0 for none."""
        return min(self.remind_after * 2.0 ** min(number - 1, 20), max(LONGEST_REMINDER, self.remind_after))


_DEFAULT: Final = IncidentRules()


def merged(specs: Iterable[IncidentsSpec | None]) -> IncidentRules | None:
    """The rules of these settings, the first one's first; None where incidents are not switched on."""
    given = [spec for spec in specs if spec is not None]

    def value(name: str, default: Any) -> Any:  # noqa: ANN401  (of any type)
        return next((found for spec in given if (found := getattr(spec, name)) is not None), default)

    if value("enabled", default=False) is not True:
        return None
    flapping, storm = [spec.flapping for spec in given], [spec.storm for spec in given]
    return IncidentRules(
        group_by=tuple(value("group_by", _DEFAULT.group_by)),
        only_final_attempt=value("only_final_attempt", _DEFAULT.only_final_attempt),
        retry_expected=float(value("retry_expected_seconds", _DEFAULT.retry_expected)),
        notify_after_failures=value("notify_after_failures", _DEFAULT.notify_after_failures),
        notify_after=float(value("notify_after_seconds", _DEFAULT.notify_after)),
        remind_after=float(value("remind_after_seconds", _DEFAULT.remind_after)),
        notify_recovery=value("notify_recovery", _DEFAULT.notify_recovery),
        flapping_changes=_nested(flapping, "changes", _DEFAULT.flapping_changes),
        flapping_within=float(_nested(flapping, "within_seconds", _DEFAULT.flapping_within)),
        storm_openings=_nested(storm, "openings", _DEFAULT.storm_openings),
        storm_within=_nested(storm, "within_seconds", _DEFAULT.storm_within),
        auto_resolve=value("auto_resolve_after_seconds", None),
        escalation=tuple(
            Escalation(float(step.after_seconds), tuple(step.providers), float(step.repeat_seconds or 0))
            for step in sorted(value("escalation", ()), key=lambda item: item.after_seconds)
        ),
    )


def _nested(given: Iterable[BaseModel | None], name: str, default: Any) -> Any:  # noqa: ANN401  (of any type)
    """A field of an object within: these merge field by field too."""
    return next((found for spec in given if spec is not None and (found := getattr(spec, name)) is not None), default)
