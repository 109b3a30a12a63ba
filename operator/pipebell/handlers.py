"""The door: what the watches tell is handed over here. The only module that imports kopf.

Handlers are thin on purpose: parse, hand over, return. Our own queue bounds what is done at once, and nothing of an
event's fate is left to kopf's annotations and retries. kopf keeps the operator's life and watches the configurations;
events come by a watch of our own (`kube/event_watch.py`), because kopf's work for each costs as much as all of ours.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

import kopf
import structlog

from pipebell import process
from pipebell.core.vocabulary import GROUP, VERSION
from pipebell.kube.connection import connect, kopf_access
from pipebell.kube.watches import LONGEST
from pipebell.settings import Settings
from pipebell.wiring import App, build_app

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

CONFIGS: Final = (GROUP, VERSION, "notificationconfigs")

log = structlog.get_logger(__name__)


class Shared(kopf.Memo):
    """kopf copies the memo for every object that it hears of; what ours holds is the same for all."""

    def __copy__(self) -> Self:
        return self


class NoDiffBase(kopf.DiffBaseStorage):
    """We compare nothing with what was before, so nothing is kept on the resources, and nothing copied for it."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:  # noqa: ANN401, ARG002, D102
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002, D102  (kopf's signature)
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:  # noqa: D102
        pass


class NoProgress(kopf.ProgressStorage):
    """Progress is in our status, not in kopf's annotations."""

    def fetch(self, *, key: kopf.HandlerId, body: kopf.Body) -> kopf.ProgressRecord | None:  # noqa: ARG002, D102
        return None

    def store(self, *, key: kopf.HandlerId, record: kopf.ProgressRecord, body: kopf.Body, patch: kopf.Patch) -> None:  # noqa: D102
        pass

    def purge(self, *, key: kopf.HandlerId, body: kopf.Body, patch: kopf.Patch) -> None:  # noqa: D102
        pass

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:  # noqa: D102
        return essence

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:  # noqa: D102
        pass


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401  (kopf's keywords)
    """Tune kopf to what measurements said, and start everything else."""
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    # A worker of kopf keeps its object for so long: with 10,000 configurations, 20 MB that are never given back.
    settings.queueing.idle_timeout = 0.02
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.networking.request_timeout = 60.0
    # An API server that is away for minutes must not end the process: these waits add up to half an hour.
    settings.networking.error_backoffs = [0.2, 0.5, 1.0, 2.0, *[3.0] * 600]
    settings.watching.server_timeout = LONGEST
    settings.watching.chunk_size = 200  # all at once, 10,000 configurations take 80 MB more, and keep them
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    process.tune()
    memo.connection = connect()
    memo.app = build_app(memo.get("settings") or Settings.from_env(os.environ), memo.connection)
    await memo.app.start(partial(on_pipeline_event, memo.app))
    process.started()


@kopf.on.login()
async def login(memo: kopf.Memo, **_: Any) -> kopf.AiohttpSession:  # noqa: ANN401  (kopf awaits it)
    """A session of kopf's own, with the same identity as ours."""
    return kopf.AiohttpSession(**kopf_access(memo.connection, memo.app.watches)._asdict())


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401
    """Finish what is under way."""
    app: App | None = memo.get("app")
    if app is not None:
        await app.close()


@kopf.on.event(*CONFIGS)
async def on_notification_config(event: kopf.RawEvent, memo: kopf.Memo, **_: Any) -> None:  # noqa: ANN401
    """A NotificationConfig was listed, added, changed or deleted."""
    app: App = memo.app
    try:
        if event["type"] == "DELETED":
            app.intake.config_deleted(_object(event))
        else:
            app.intake.config_seen(_object(event))
    except Exception:
        log.exception("config_not_taken_in", name=_name(_object(event)))


def on_pipeline_event(app: App, kind: str, item: Mapping[str, Any]) -> None:
    """A PipelineEvent was listed, added or changed; or deleted, or has just been finished."""
    try:
        if kind == "DELETED":
            app.intake.event_gone(item)
        else:
            app.intake.event_seen(item)
    except Exception:
        log.exception("event_not_taken_in", name=_name(item))


def _object(event: kopf.RawEvent) -> Mapping[str, Any]:
    return event["object"]


def _name(item: Mapping[str, Any]) -> str:
    metadata = item.get("metadata") or {}
    return f"{metadata.get('namespace')}/{metadata.get('name')}"


def scope(settings: Settings) -> Collection[str]:
    """The namespaces to watch; none means all."""
    if not settings.watch_namespaces:
        return ()
    return tuple(dict.fromkeys((*settings.watch_namespaces, *settings.shared_namespaces)))
