"""What the operator's process is tuned to: what it loads, the garbage collector, and the memory of TLS connections."""

from __future__ import annotations

import asyncio.sslproto
import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

TLS_BUFFER: Final = 1 << 15  # bytes: two TLS records of the greatest size (RFC 8446, 5.1)


# Libraries load these where they are installed, and do without where they are not. kopf would recognise the objects of
# the official client, which are the SDK's matter (10 MB); structlog would show tracebacks in colour (3 MB).
UNUSED: Final = ("kubernetes", "rich")


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """What is imported within finds these packages missing, unless they are loaded already."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is the import system's word for it
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def tune() -> None:
    """Before anything is started or connected."""
    gc.set_threshold(10_000, 20, 20)  # the start makes a great many objects
    # asyncio reserves 256 KiB for each TLS connection and writes zeros into all of it: with a slow Slack and 2,000
    # organisations to tell, half a gigabyte. This is not documented; where it has no effect, memory is all it costs.
    asyncio.sslproto.SSLProtocol.max_size = TLS_BUFFER


def started() -> None:
    """After the start: modules, models and configurations live as long as the process, so they are not looked at again.

    A tenth of the CPU under load went into that, in pauses of up to 0.1 s; a third of this is left.
    """
    gc.unfreeze()  # what an earlier run of this process left behind
    gc.collect()
    gc.freeze()
