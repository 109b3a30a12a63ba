"""Whether anybody has said what is to become of such events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.core.policy.decision import Skip, Wait, WaitsFor
from pipebell.core.policy.situation import Resolved, Situation, Stage
from pipebell.core.vocabulary import Reason, StageName

if TYPE_CHECKING:
    from pipebell.core.policy.decision import Decision
    from pipebell.core.status import ConfigReference


def title(reference: ConfigReference) -> str:
    """A configuration's name for people."""
    return f"{reference.kind} {reference.namespace}/{reference.name}"


def nobody() -> Skip:
    """There is neither an organisation's configuration nor root's."""
    message = "neither the organisation nor root has a configuration"
    return Skip(StageName.CONFIGURED, Reason.NO_CONFIG, message)


def disabled(reference: ConfigReference) -> Skip:
    """Somebody has said that nothing is to be sent."""
    name = "the root configuration" if reference.kind == "RootConfig" else title(reference)
    return Skip(StageName.CONFIGURED, Reason.CONFIG_DISABLED, f"{name} is disabled", title(reference))


def configured(s: Situation) -> Decision | Situation:
    """Skip without a configuration or with a disabled one; wait for one that cannot be used yet."""
    if s.skip is not None and not isinstance(s.configuration, Resolved):
        return s.skip
    match s.configuration:
        case Resolved():
            return s
        case Skip() as skip:
            return skip
        case None:
            return Wait(StageName.CONFIGURED, WaitsFor.CONFIG, None, "the configuration is not known yet")
        case error:
            message = f"{error.reason}: {error.message}"
            return Wait(StageName.CONFIGURED, WaitsFor.CONFIG, Reason.CONFIG_NOT_READY, message)


CONFIGURED = Stage(StageName.CONFIGURED, configured)
