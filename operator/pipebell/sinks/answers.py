"""What a sink shall answer: planned one by one, or by a function, instead of its usual yes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How an answer is given: after `wait` seconds; `drop` cuts the connection instead.

    `keep` takes the message over although the connection is cut: what a sender sees when the network fails between
    the provider's work and its answer.
    """

    wait: float = 0.0
    drop: bool = False
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Say(Behaviour):
    """An SMTP answer (RFC 5321, 4.2): code and text; a text of several lines is not needed here."""

    status: str = "250 2.0.0 OK"

    @property
    def code(self) -> int:
        """The three digits."""
        return int(self.status[:3])


@dataclass(frozen=True, slots=True)
class Respond(Behaviour):
    """An HTTP answer."""

    status: int = 200
    body: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)


DROP = Behaviour(drop=True)
KEEP_AND_DROP = Behaviour(drop=True, keep=True)
HANG = Behaviour(wait=86_400.0, drop=True)

B = TypeVar("B", bound=Behaviour)


class Script(Generic[B]):
    """The next answers. `always` is asked when none is planned; it may say None for the usual answer."""

    def __init__(self) -> None:
        self.always: Callable[[Any], B | Behaviour | None] | None = None
        self._planned: deque[B | Behaviour | None] = deque()

    def plan(self, *answers: B | Behaviour | None) -> None:
        """Give these answers, in this order, once each; None stands for the usual one."""
        self._planned.extend(answers)

    def next(self, subject: Any) -> B | Behaviour | None:  # noqa: ANN401  (whatever the sink asks about)
        """The answer for this one."""
        if self._planned:
            return self._planned.popleft()
        return self.always(subject) if self.always else None

    def clear(self) -> None:
        """Back to the usual answer."""
        self._planned.clear()
        self.always = None
