"""A pipeline's run: what it raises, how long it takes and what its data are worth becomes the right event, or none.

    async with pipeline_run("acme_corp", "daily-orders", timeout=3600) as run:
        rows = await load()
        await run.data_quality(failed=[check.name for check in checks if not check.ok])

    @pipeline_run("acme_corp", "daily-orders", on_success=True)
    async def daily_orders(): ...

Exceptions go on as they came, so the pipeline's own cleanup goes on in every case.
"""

from __future__ import annotations

import functools
import inspect
import sys
import time
import traceback
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipebell.core.vocabulary import EventType
from pipebell.sdk import log, sanitise
from pipebell.sdk.factory import get_notification_service

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType
    from typing import Self

    from pipebell.sdk.receipt import Receipt
    from pipebell.sdk.service import NotificationService

_MAX_TRACEBACK: Final = 8_000  # characters


class DataQualityError(Exception):
    """Raised in a run: its data are not fit for use. Becomes data_quality_failure instead of pipeline_failure."""

    def __init__(self, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.details = dict(details or {})


class _Tale(NamedTuple):
    """What there is to tell about a run."""

    event: EventType
    message: object
    details: dict[str, Any]


class _Later:
    """A text that is made when it is asked for, in the service's time: it may need other people's code, or a disk."""

    def __init__(self, make: Callable[[], str]) -> None:
        self._make = make

    def __str__(self) -> str:
        return self._make()


class PipelineRun:
    """One run that tells how it ends: `async with`, `with`, or a decorator (each call is then a run of its own).

    An unhandled exception or a cancellation becomes pipeline_failure; `timeout` (seconds; asynchronous runs only) the
    same with the reason timeout; a `DataQualityError` data_quality_failure. `on_start` and `on_success` tell those too.
    Without a `pipeline_logging_id` one is drawn. `details` may be added to while it runs: every later event of the run
    carries them. Raises TypeError for a timeout where nothing can be interrupted.
    """

    def __init__(  # noqa: PLR0913  (each says one thing about the run)
        self,
        org_slug: str,
        pipeline_id: str,
        pipeline_logging_id: str | None = None,
        *,
        timeout: float | None = None,
        on_start: bool = False,
        on_success: bool = False,
        details: Mapping[str, Any] | None = None,
        links: Mapping[str, str] | None = None,
        service: NotificationService | None = None,
    ) -> None:
        self.org_slug, self.pipeline_id = org_slug, pipeline_id
        self.pipeline_logging_id = pipeline_logging_id or uuid.uuid4().hex
        self.timeout = None if timeout is None else _limit_of(timeout)
        self.details: dict[str, Any] = _copy(details)
        self._given_id, self._given_details = pipeline_logging_id, details
        self._on_start, self._on_success, self._links = on_start, on_success, links
        self._service = service
        self._began = time.monotonic()
        self._limit: AbstractAsyncContextManager[object] | None = None

    async def data_quality(
        self, *, failed: Sequence[str] = (), degraded: Sequence[str] = (), details: Mapping[str, Any] | None = None
    ) -> Receipt | None:
        """Tell how the checks went: data_quality_failure if any failed, else data_quality_warning, else nothing."""
        tale = self._quality(failed, degraded, details)
        return await self._tell(tale) if tale else None

    def data_quality_blocking(
        self, *, failed: Sequence[str] = (), degraded: Sequence[str] = (), details: Mapping[str, Any] | None = None
    ) -> Receipt | None:
        """As `data_quality`, for code that is not asynchronous."""
        tale = self._quality(failed, degraded, details)
        return self._tell_blocking(tale) if tale else None

    def _quality(
        self, failed: Sequence[str], degraded: Sequence[str], details: Mapping[str, Any] | None
    ) -> _Tale | None:
        bad, poor = _names(failed), _names(degraded)
        if not bad and not poor:
            return None
        event = EventType.DATA_QUALITY_FAILURE if bad else EventType.DATA_QUALITY_WARNING
        names = ", ".join(bad or poor)
        found = {"failed_checks": bad, "degraded_checks": poor, **_copy(details)}
        return _Tale(event, f"data quality checks {'failed' if bad else 'degraded'}: {names}", found)

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        if self._on_start:
            await self._tell(_Tale(EventType.PIPELINE_STARTED, None, {}))
        if self.timeout is not None:
            self._limit = _limit(self.timeout)
            await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        late: TimeoutError | None = None
        if self._limit is not None:
            try:
                await self._limit.__aexit__(kind, error, where)
            except TimeoutError as raised:
                late = raised
        if tale := self._tale(error, timed_out=late is not None):
            await self._tell(tale)
        if late is not None:
            raise late

    def __enter__(self) -> Self:
        self._refuse_timeout()
        self._began = time.monotonic()
        if self._on_start:
            self._tell_blocking(_Tale(EventType.PIPELINE_STARTED, None, {}))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if tale := self._tale(error, timed_out=False):
            self._tell_blocking(tale)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a coroutine function or a plain function: every call of it is a run of its own."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def asynchronous(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  (the function's own)
                async with self._again():
                    return await function(*args, **kwargs)

            return asynchronous
        self._refuse_timeout()

        @functools.wraps(function)
        def blocking(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            with self._again():
                return function(*args, **kwargs)

        return blocking

    def _again(self) -> PipelineRun:
        return PipelineRun(
            self.org_slug,
            self.pipeline_id,
            self._given_id,
            timeout=self.timeout,
            on_start=self._on_start,
            on_success=self._on_success,
            details=self._given_details,
            links=self._links,
            service=self._service,
        )

    def _refuse_timeout(self) -> None:
        if self.timeout is not None:
            raise TypeError(
                "a run that is not asynchronous cannot be interrupted: use `async with`, or `pipebell exec`"
            )

    def _tale(self, error: BaseException | None, *, timed_out: bool) -> _Tale | None:
        """What the end of the run is worth telling."""
        if timed_out:
            late = f"timed out after {self.timeout:g} s"
            return _Tale(EventType.PIPELINE_FAILURE, late, self._circumstances("timeout", error))
        if error is None or (isinstance(error, SystemExit) and not error.code):
            return (
                _Tale(EventType.PIPELINE_SUCCESS, None, self._circumstances(None, None)) if self._on_success else None
            )
        if isinstance(error, GeneratorExit):
            return None
        if isinstance(error, DataQualityError):
            details = self._circumstances("data_quality", None) | _copy(error.details)
            return _Tale(EventType.DATA_QUALITY_FAILURE, _Later(lambda: str(error)), details)
        reason = _reason(error)
        message = _Later(lambda: f"{type(error).__name__}: {sanitise.text(error)}".removesuffix(": "))
        return _Tale(EventType.PIPELINE_FAILURE, message, self._circumstances(reason, error))

    def _circumstances(self, reason: str | None, error: BaseException | None) -> dict[str, Any]:
        found: dict[str, Any] = {"duration_seconds": round(time.monotonic() - self._began, 3)}
        if reason is not None:
            found["reason"] = reason
        if error is not None:
            place = error.__traceback__  # it would grow while the exception goes on
            found["exception"] = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
            found["traceback"] = _Later(lambda: _traceback(error, place))
        return found

    async def _tell(self, tale: _Tale) -> Receipt:
        service = self._service or get_notification_service()
        return await service.notify(
            tale.event,
            self.org_slug,
            self.pipeline_id,
            self.pipeline_logging_id,
            tale.message,
            _copy(self.details) | tale.details or None,
            links=self._links,
        )

    def _tell_blocking(self, tale: _Tale) -> Receipt:
        service = self._service or get_notification_service()
        return service.notify_blocking(
            tale.event,
            self.org_slug,
            self.pipeline_id,
            self.pipeline_logging_id,
            tale.message,
            _copy(self.details) | tale.details or None,
            links=self._links,
        )


def _copy(details: object) -> dict[str, Any]:
    """Details as a dict of their own, whatever they are."""
    if details is None:
        return {}
    try:
        return dict(details)  # type: ignore[call-overload, no-any-return]
    except Exception:  # noqa: BLE001  (nothing may be raised into the pipeline)
        return {"details": details}


def _names(checks: object) -> list[str]:
    """Names of checks, whatever was given."""
    if checks is None or isinstance(checks, str):
        return [checks] if checks else []
    try:
        return [sanitise.text(check) for check in checks]  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001  (the same)
        return [sanitise.text(checks)]


def _limit_of(timeout: object) -> float | None:
    try:
        return float(timeout)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001  (the same)
        log.warning("pipebell: a run's timeout left out: it is no number of seconds")
        return None


def _traceback(error: BaseException, where: TracebackType | None) -> str:
    return sanitise.shorten("".join(traceback.format_exception(type(error), error, where)), _MAX_TRACEBACK)


def _limit(seconds: float) -> AbstractAsyncContextManager[object]:
    if sys.version_info >= (3, 11):
        import asyncio  # noqa: PLC0415  (only asynchronous callers need it, and they have it)

        return asyncio.timeout(seconds)
    from pipebell.sdk.limit import Limit  # noqa: PLC0415  (the same)

    return Limit(seconds)


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, SystemExit):
        return "exit"
    if isinstance(error, Exception):
        return "exception"
    return "cancelled" if type(error).__name__ == "CancelledError" else "exception"


pipeline_run = PipelineRun
