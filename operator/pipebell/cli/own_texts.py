"""Organisations' templates, run here as the operator runs them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from pipebell.templates.runner import TemplateRunner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipebell.core.destinations.base import Kind
    from pipebell.core.message import Message
    from pipebell.core.models import NotificationSpec
    from pipebell.templates.runner import Complaint


def worded(
    message: Message, kind: Kind, sources: Mapping[str, str], escaped: dict[str, list[str]] | None = None
) -> tuple[Message, str]:
    """The message in the words of a destination's templates, and which of them failed.

    `escaped` is given the values, by field, that do not stand there as they are.
    """
    if not sources:
        return message, ""

    async def work() -> tuple[Message, str]:
        runner = TemplateRunner(time.monotonic, on_escaped=None if escaped is None else escaped.__setitem__)
        try:
            return await runner.render(message, kind.name, sources)
        finally:
            await runner.close()

    return asyncio.run(work())


def complaints(spec: NotificationSpec) -> Sequence[Complaint]:
    """What is wrong with a configuration's templates."""
    if not any(True for _ in spec.all_templates()):
        return ()

    async def work() -> Sequence[Complaint]:
        runner = TemplateRunner(time.monotonic)
        try:
            return await runner.check(spec)
        finally:
            await runner.close()

    return asyncio.run(work())
