"""Creating an event and watching what becomes of it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from pipebell.cli import terminal
from pipebell.cli.client import EVENTS
from pipebell.core.errors import PipebellError
from pipebell.core.vocabulary import FINAL_PHASES, Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipebell.cli.client import Client
    from pipebell.sdk.record import Record

_POLL: Final = 0.25  # seconds
_SILENT: Final = 10.0  # seconds without any sign of the operator before people are told


class NotDelivered(PipebellError):  # noqa: N818  (it names what became of the event)
    """The event came to an end that is not a delivery, or to none in time."""


def create(client: Client, record: Record) -> dict[str, Any]:
    """Create the event of a record."""
    namespace = record.namespace or client.namespace
    return client.create(EVENTS, record.manifest(namespace), namespace)


def watch(
    client: Client, event: dict[str, Any], timeout: float, tell: Callable[[str], None] = terminal.say
) -> dict[str, Any]:
    """Tell how an event's deliveries go until it is finished; the finished event.

    Raises NotDelivered when it is not finished after `timeout` seconds.
    """
    name, namespace = event["metadata"]["name"], event["metadata"]["namespace"]
    began, seen, hinted = time.monotonic(), set[str](), False
    while True:
        event = client.get(EVENTS, name, namespace)
        status = event.get("status") or {}
        for item in status.get("deliveries") or ():
            line = terminal.delivery(item)
            if line not in seen:
                seen.add(line)
                tell(f"  {line}")
        if status.get("phase") in FINAL_PHASES:
            return event
        waited = time.monotonic() - began
        if not status and waited > _SILENT and not hinted:
            hinted = True
            tell("  nobody has looked at it yet: is the operator running? (kubectl get pods -A | grep pipebell)")
        if waited > timeout:
            raise NotDelivered(f"after {timeout:g} s {name} is still {terminal.unstyle(terminal.summary(event))}")
        time.sleep(_POLL)


def conclude(event: dict[str, Any], output: str) -> None:
    """Tell how it ended. Raises NotDelivered unless everything was delivered."""
    if output == "json":
        terminal.say(json.dumps(event, indent=2))
    else:
        terminal.say(terminal.summary(event))
        if used := terminal.configuration(event):
            terminal.say(f"by {used}")
    status = event.get("status") or {}
    if status.get("phase") != Phase.DELIVERED:
        raise NotDelivered(
            f"{event['metadata']['name']} ended {terminal.unstyle(terminal.summary(event))}{_fix(status)}"
        )


def _fix(status: dict[str, Any]) -> str:
    reason = status.get("reason")
    fixes = {
        "NoConfig": "apply a NotificationConfig for this organisation, or a root configuration",
        "ConfigDisabled": "set spec.enabled to true",
        "NoTrigger": "add the event to spec.eventTriggers",
        "TriggerDisabled": "enable its trigger in spec.eventTriggers",
        "NoProviderEnabled": "enable a provider of the trigger",
        "PermanentError": "`pipebell verify` says what is wrong",
        "RetriesExhausted": "`pipebell verify` says what is wrong",
    }
    return f"; {fixes[reason]}" if reason in fixes else ""
