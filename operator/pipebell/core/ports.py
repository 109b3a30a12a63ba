"""Protocols that several rooms share: time, and whoever carries messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.core.finding import Finding
    from pipebell.core.message import Message
    from pipebell.core.outcome import Attempt, Outcome


class Clock(Protocol):
    """Time, injected: tests move it by hand."""

    def now(self) -> float:
        """Seconds since the epoch."""

    async def sleep(self, seconds: float) -> None:
        """Wait for this many seconds of this clock."""

    @property
    def trusted(self) -> bool:
        """Whether it agrees well enough with the API server's to expire or delete anything by it."""


class Provider(Protocol):
    """Carries messages to destinations of one kind."""

    async def send(self, message: Message, target: Any, attempt: Attempt) -> Outcome:  # noqa: ANN401
        """One attempt. Never raises for what the other side does; every answer is an `Outcome`."""

    async def check(self, target: Any, namespace: str = "") -> None:  # noqa: ANN401
        """Whether the target's host may be connected to at all; raises NotReady(HostNotAllowed). Sends nothing.

        `namespace` is the configuration's: its look-ups hold up nobody else's.
        """

    async def verify(self, target: Any, namespace: str = "") -> Sequence[Finding]:  # noqa: ANN401
        """Whether the target would take a message, tried without sending one; what fails is the last finding.

        It comes to an end in time, whatever the other side does; nothing secret is in any finding.
        """

    async def probe(self, target: Any, namespace: str = "") -> Outcome:  # noqa: ANN401
        """Try the endpoint without sending anything, as `verify` does, for what `core.health` makes of it.

        Delivered with the reason REACHED: its kind has no harmless way, and its host was reached. Never raises.
        """

    async def close(self) -> None:
        """Give connections back."""
