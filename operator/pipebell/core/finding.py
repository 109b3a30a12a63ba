"""What was found out about a destination without sending anything: one finding for each thing that was tried."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried. `fix` says what to do when it is not `ok`; `reason` is one word for machines."""

    what: str
    ok: bool
    message: str
    fix: str = ""
    reason: str = ""
