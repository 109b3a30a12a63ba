"""A destination's messages in any 60 minutes, for kinds of which each message costs money."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.status import HOUR
from pipebell.core.vocabulary import Reason

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from pipebell.core.finding import Finding
    from pipebell.core.message import Message
    from pipebell.core.outcome import Attempt
    from pipebell.providers.webhook import HttpProvider

_SPENT_NOTHING: Final = (OutcomeKind.PERMANENT, OutcomeKind.PAUSE, OutcomeKind.HOST_NOT_ALLOWED)


class Budgeted:
    """A provider that keeps each organisation to its target's `per_hour`; what is more ends Failed/RateLimited.

    An organisation counts by itself; on root's account a namespace does, since whoever writes events there makes up as
    many organisations as they like. A message that is tried again counts once. The counts are this process's own: one
    that starts anew counts from nothing.
    """

    def __init__(self, provider: HttpProvider) -> None:
        self._provider = provider
        self._spent: dict[Hashable, OrderedDict[str, float]] = {}

    async def send(self, message: Message, target: Any, attempt: Attempt) -> Outcome:  # noqa: ANN401  (with a `per_hour`)
        """See `HttpProvider.send`."""
        org = "" if target.trusted else message.event.spec.org_slug
        spent = self._recent((message.event.namespace, org, target.endpoint), attempt.now)
        known = attempt.delivery_id in spent
        if not known and len(spent) >= target.per_hour:
            said = f"{target.where}.maxPerHour is {target.per_hour}, and so many were sent in the last 60 minutes"
            return Outcome(OutcomeKind.PERMANENT, "RateLimited", said, ends_as=Reason.RATE_LIMITED)
        spent[attempt.delivery_id] = attempt.now
        spent.move_to_end(attempt.delivery_id)
        try:
            outcome = await self._provider.send(message, target, attempt)
        except BaseException:
            if not known:
                spent.pop(attempt.delivery_id, None)
            raise
        if outcome.kind in _SPENT_NOTHING and not known:
            spent.pop(attempt.delivery_id, None)
        return outcome

    async def check(self, target: Any, namespace: str = "") -> None:  # noqa: ANN401
        """See `HttpProvider.check`."""
        await self._provider.check(target, namespace)

    async def verify(self, target: Any, namespace: str = "") -> Sequence[Finding]:  # noqa: ANN401
        """See `HttpProvider.verify`, which sends nothing and therefore costs nothing."""
        return await self._provider.verify(target, namespace)

    async def probe(self, target: Any, namespace: str = "") -> Outcome:  # noqa: ANN401
        """See `HttpProvider.probe`."""
        return await self._provider.probe(target, namespace)

    async def close(self) -> None:
        """Close all connections."""
        await self._provider.close()

    def _recent(self, who: Hashable, now: float) -> OrderedDict[str, float]:
        """What was sent in the last 60 minutes; those of nobody else who has sent nothing are forgotten."""
        for key, times in list(self._spent.items()):
            while times and next(iter(times.values())) <= now - HOUR:
                times.popitem(last=False)
            if not times:
                del self._spent[key]
        return self._spent.setdefault(who, OrderedDict())
