"""Who is told what happens, for metrics and bookkeeping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipebell.core.errors import NotReady
    from pipebell.core.outcome import Outcome
    from pipebell.core.policy.settle import Verdicts
    from pipebell.core.vocabulary import ProviderName
    from pipebell.engine.configs.resolver import Resolved
    from pipebell.engine.events.state import Journey


class Observer(Protocol):
    """Is told what happens. Must not raise and must not wait."""

    def attempted(self, journey: Journey, provider: ProviderName, outcome: Outcome, seconds: float) -> None:
        """One attempt was made; it took so many seconds."""

    def finished(self, journey: Journey, verdicts: Verdicts, now: float) -> None:
        """One event reached its final phase, and that is recorded."""

    def not_ready(self, resolved: Resolved, error: NotReady) -> None:
        """A configuration turned out not to be usable while an event wanted it."""
