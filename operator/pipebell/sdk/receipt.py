"""What a call takes besides the seed's arguments, and what it gives back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

from pipebell.sdk.delivery import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


TIMEOUT: Final = 2.0  # seconds that a call may take unless it says otherwise


class Receipt(NamedTuple):
    """What became of a call: `state`, the event's `name`, and why, when it is not `sent`. True when it is not lost."""

    state: State
    name: str
    reason: str = ""

    def __bool__(self) -> bool:
        return self.state in (State.SENT, State.SPOOLED, State.PENDING)


class More(TypedDict, total=False):
    """What every method takes besides the seed's arguments.

    `links` is a mapping of titles to URLs, or a list of (title, url) pairs or {"title", "url"} mappings. `severity` is
    info, warning, error or critical; without it the trigger's applies. `occurred_at` is when it happened; a time
    without a zone is local. `timeout` is in seconds. With `wait=False` the call returns at once, its receipt pending,
    and `timeout` is what the sending may take before the event goes to disk. Calls with the same `dedup_key` (for the
    same organisation, type and pipeline) are one event as long as that exists. `owner` is who is responsible for the
    pipeline, `labels` are what rules may go by; `attempt` (from 1) of `max_attempts` says which try of the run it was.
    """

    links: Sequence[Mapping[str, str] | tuple[str, str]] | Mapping[str, str] | None
    severity: str | None
    occurred_at: datetime | None
    owner: str | None
    labels: Mapping[str, str] | None
    attempt: int | None
    max_attempts: int | None
    timeout: float | None
    wait: bool
    dedup_key: str | None
