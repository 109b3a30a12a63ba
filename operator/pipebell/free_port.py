"""Free ports on loopback."""

from __future__ import annotations

import random
import socket
from typing import Final

# Below every system's ephemeral range (Linux from 32768, macOS and Windows from 49152): while a server is stopped,
# a client that keeps dialling an ephemeral port of its own machine may end up connected to itself, and hold the port.
_RANGE: Final = range(20_000, 32_000)
_REMEMBERED: Final = 6_000  # half of them
# Nobody may listen yet on a port that was given out a moment ago. Oldest first.
_given: Final[dict[int, None]] = {}


def free_port() -> int:
    """A port that nobody listens on at this moment, and that was not given to anybody else in this process."""
    draw = random.SystemRandom()
    while True:
        port = draw.choice(_RANGE)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given[port] = None
        if len(_given) > _REMEMBERED:
            del _given[next(iter(_given))]
        return port
