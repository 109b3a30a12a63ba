"""Prefect 3: hooks for flows that fail or crash, and a notification block.

    @flow(**pipebell_hooks(org="acme_corp"))

or, with the organisation from the parameter `org` or a tag `org:SLUG`, `@flow(on_failure=[on_failure],
on_crashed=[on_crashed])`. The block is in `pipebell.integrations.prefect.blocks`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipebell.integrations._lazy import names
from pipebell.integrations.prefect.hooks import on_completion, on_crashed, on_failure, pipebell_hooks

if TYPE_CHECKING:
    from pipebell.integrations.prefect.blocks import PipebellNotification

__all__ = ["PipebellNotification", "on_completion", "on_crashed", "on_failure", "pipebell_hooks"]

__getattr__ = names(__name__, "prefect", "prefect>=3", {"PipebellNotification": "pipebell.integrations.prefect.blocks"})
