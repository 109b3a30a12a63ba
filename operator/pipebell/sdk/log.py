"""The logger `pipebell`, for code that must not fail: a handler that raises harms nobody."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

logger: Final = logging.getLogger("pipebell")


def info(text: str, *values: object) -> None:
    """What went well."""
    _log(logging.INFO, text, values)


def warning(text: str, *values: object) -> None:
    """What went wrong and is made good."""
    _log(logging.WARNING, text, values)


def error(text: str, *values: object) -> None:
    """What is lost, or needs somebody."""
    _log(logging.ERROR, text, values)


def exception(text: str, *values: object) -> None:
    """What nobody expected, with its traceback."""
    _log(logging.ERROR, text, values, trace=True)


def _log(level: int, text: str, values: tuple[object, ...], *, trace: bool = False) -> None:
    # In a signal's handler standard error may be busy ("reentrant call"), and handlers are other people's code.
    with suppress(Exception):
        logger.log(level, text, *values, exc_info=trace, stacklevel=3)
