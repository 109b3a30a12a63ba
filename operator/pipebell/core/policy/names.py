"""What an event that the operator makes may be called: somebody else's event may have its name.

The name of a notice follows from what it tells. Where an ordinary event has it, the notice gets the next free one.
"""

from __future__ import annotations

import re
from typing import Final

TRIES: Final = 5  # names that a notice may have
_NEXT: Final = re.compile(rf"(.+)\.([2-{TRIES}])")  # no name that the operator thinks of has a dot in it


def names(name: str) -> tuple[str, ...]:
    """The names that a notice may have, in the order in which they are tried."""
    return (name, *(f"{name}.{number}" for number in range(2, TRIES + 1)))


def first_name(name: str) -> str:
    """The name that was tried first for a notice which got this one."""
    found = _NEXT.fullmatch(name)
    return found[1] if found else name


def tried_before(name: str) -> tuple[str, ...]:
    """The names that a notice of this name did not get."""
    tried = names(first_name(name))
    return tried[: tried.index(name)] if name in tried else ()
