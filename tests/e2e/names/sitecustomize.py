"""In the operator's process only: names of the outside world lead to the local sinks (PIPEBELL_TEST_NAMES, a
JSON object of [address, port]), the name server of `silent…` names never answers, the clock is as many seconds
ahead as a file says (PIPEBELL_TEST_CLOCK), and a watch is silent after fewer seconds (PIPEBELL_TEST_SILENCE).

The seed's files name smtp.gmail.com and hooks.slack.com; they are tested as they are, certificates included.
"""

import json
import os
import socket
import time
from pathlib import Path

_PLACES = json.loads(os.environ.get("PIPEBELL_TEST_NAMES", "{}"))
_ask = socket.getaddrinfo


def _getaddrinfo(host, port, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    if name and name.startswith("silent"):
        time.sleep(40.0)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")
    if name in _PLACES:
        return _ask(*_PLACES[name], *args, **kwargs)
    return _ask(host, port, *args, **kwargs)


socket.getaddrinfo = _getaddrinfo


if _AHEAD := os.environ.get("PIPEBELL_TEST_CLOCK"):
    _right = time.time

    def _wrong():
        try:
            return _right() + float(Path(_AHEAD).read_text(encoding="ascii") or 0)
        except (OSError, ValueError):  # it is being written
            return _right()

    time.time = _wrong


if _SILENCE := os.environ.get("PIPEBELL_TEST_SILENCE"):
    from pipebell.kube import client

    client.WATCH_SILENCE = float(_SILENCE)
