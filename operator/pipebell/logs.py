"""Structured logs: one JSON object a line, or plain text for people."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import structlog

from pipebell.plain import Guarded, clean

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import Processor

# They log URLs (a webhook's is a credential) or every request.
_OURS: Final = ("exception", "stack")  # tracebacks have lines; the stream takes from them what terminals obey
_QUIET: Final = ("aiohttp", "httpx", "httpcore", "aiosmtplib", "asyncio", "kopf.objects")


def _as_text(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """What others wrote is text, and no line of its own. JSON needs no such care: it escapes."""
    return {
        key: clean(value).replace("\n", "\\n") if isinstance(value, str) and key not in _OURS else value
        for key, value in line.items()
    }


def set_up_logging(log_format: str, level: str) -> None:
    """Configure structlog and the standard library's logging alike, to standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    # `event` is the PipelineEvent's name in our lines, not structlog's word for the message.
    last: list[Processor] = [structlog.processors.EventRenamer("msg", replace_by="_event")]
    if log_format == "json":
        # Without local variables: some of them hold credentials.
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        last += [structlog.processors.ExceptionRenderer(tracebacks), structlog.processors.JSONRenderer()]
    else:
        traceback = structlog.dev.plain_traceback
        colours = sys.stderr.isatty()
        last += [
            _as_text,
            structlog.dev.ConsoleRenderer(colors=colours, event_key="msg", exception_formatter=traceback),
        ]
    stream = sys.stderr if log_format == "json" else cast("TextIO", Guarded(sys.stderr))
    threshold = logging.getLevelName(level.upper())
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.INFO))
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
