"""Where services come from: one for each set of arguments and process."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pipebell.sdk.access import find
from pipebell.sdk.api import Api
from pipebell.sdk.sender import Sender
from pipebell.sdk.service import TIMEOUT, NotificationService
from pipebell.sdk.spool import Spool, default_folder

if TYPE_CHECKING:
    from pipebell.sdk.sync import SyncNotificationService

_services: dict[tuple[object, ...], NotificationService] = {}
_making = threading.Lock()


def get_notification_service(
    *,
    namespace: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    timeout: float = TIMEOUT,
    spool: str | None = None,
) -> NotificationService:
    """The process's service; the same one for the same arguments.

    In a pod it needs no argument: the service account's token and namespace apply. Elsewhere KUBECONFIG and its current
    context do, unless `kubeconfig` or `context` say otherwise. Events go to `namespace`, else to
    PIPEBELL_NAMESPACE_FOR_EVENTS, else to the context's or the pod's. `timeout` is what each call may take, in seconds.
    `spool` is the folder for what cannot be sent (PIPEBELL_SPOOL_DIR, else below ~/.local/state). Never raises: where
    there is no cluster, calls say so in the log.
    """
    namespace = namespace or os.environ.get("PIPEBELL_NAMESPACE_FOR_EVENTS") or None
    key = (namespace, kubeconfig, context, timeout, spool)
    with _making:
        if key not in _services:
            _services[key] = make_service(
                namespace=namespace, kubeconfig=kubeconfig, context=context, timeout=timeout, spool=spool
            )
        return _services[key]


def make_service(
    *,
    namespace: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    timeout: float = TIMEOUT,
    spool: str | None = None,
) -> NotificationService:
    """A service of its own, with its own threads."""
    namespace = namespace or os.environ.get("PIPEBELL_NAMESPACE_FOR_EVENTS") or None
    folder = Path(spool) if spool else default_folder(os.environ)
    sender = Sender(Api(lambda: find(kubeconfig, context)), Spool(folder))
    return NotificationService(sender, namespace=namespace, timeout=timeout)


def get_sync_notification_service(
    *,
    namespace: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    timeout: float = TIMEOUT,
    spool: str | None = None,
) -> SyncNotificationService:
    """As `get_notification_service`, for code that is not asynchronous."""
    return get_notification_service(
        namespace=namespace, kubeconfig=kubeconfig, context=context, timeout=timeout, spool=spool
    ).sync
