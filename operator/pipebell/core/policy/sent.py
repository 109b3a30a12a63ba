"""The last notification of a cooldown, and how long it stands for others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sent:
    """The last notification of a cooldown key: when it first reached a destination, and which event it was of.

    Keys hold the events' namespace, so that event is always in the namespace of whoever it holds back.
    """

    at: float
    namespace: str
    name: str


def suppressed_until(last: Sent | None, cooldown: float, now: float) -> float | None:
    """The end of the cooldown that runs now (seconds since the epoch); None when none does.

    The window is measured from the first success, with the cooldown that is configured now, at the time of processing:
    a backlog after a downtime is no storm, and a shortened cooldown takes effect at once. A notification from farther
    in the future than a whole window was noted by a clock that was wrong: it must not mute anybody until then;
    one from a nearer future mutes for a window from now at most.
    """
    if last is None or cooldown <= 0 or now >= last.at + cooldown or last.at > now + cooldown:
        return None
    return min(last.at, now) + cooldown
