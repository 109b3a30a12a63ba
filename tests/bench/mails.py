"""The e-mail provider by itself: how many messages a second over one relay. `python -m bench.mails < order.json`."""

from __future__ import annotations

import asyncio
import json
import sys
import time

from bench.load import event
from pipebell.core.destinations.email import EmailTarget
from pipebell.core.event import Event, PipelineEventSpec
from pipebell.core.hosts import HostPolicy
from pipebell.core.message import Message
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.core.status import EventStatus
from pipebell.core.vocabulary import Severity
from pipebell.providers.email import EmailProvider
from pipebell.providers.smtp import Limits, Smtp
from pipebell.providers.tls import client_context

AT_ONCE = 16  # as many as the engine lets one organisation have under way


async def main() -> None:
    order = json.load(sys.stdin)
    provider = EmailProvider(Smtp(HostPolicy(()), client_context(order["ca_file"])), time.time)
    target = EmailTarget(
        host="127.0.0.1",
        port=order["port"],
        use_tls=True,
        trusted=True,
        from_email="pipebell@example.com",
        from_name="Pipebell",
        to=("team@example.com",),
        username=order["username"],
        password=order["password"],
    )
    await send(provider, target, AT_ONCE)  # connections, templates
    began, cpu = time.monotonic(), time.process_time()
    await send(provider, target, order["count"])
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    await provider.close()
    result = {
        "mails": order["count"],
        "mails_per_s": round(order["count"] / seconds, 1),
        "cpu_ms_per_mail": round(cpu * 1000 / order["count"], 3),
        "connections_at_most": Limits().connections,
    }
    json.dump(result, sys.stdout)


async def send(provider: EmailProvider, target: EmailTarget, count: int) -> None:
    numbers = iter(range(count))
    spec = PipelineEventSpec.model_validate(event("e", "acme", {})["spec"])
    now = time.time()

    async def worker() -> None:
        for number in numbers:
            known = Event("bench", f"e{number}", f"uid-{number}", "1", 1, now, spec, EventStatus())
            attempt = Attempt(f"uid-{number}.email")
            outcome = await provider.send(Message(known, Severity.ERROR), target, attempt)
            if outcome.kind is not OutcomeKind.DELIVERED:
                raise RuntimeError(f"not sent: {outcome}")

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(main())
