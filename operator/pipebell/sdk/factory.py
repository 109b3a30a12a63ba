"""Where services come from: one for each set of arguments and process."""

from __future__ import annotations

import os
from pathlib import Path

from pipebell.sdk import log
from pipebell.sdk.access import find, place
from pipebell.sdk.api import Api
from pipebell.sdk.receipt import TIMEOUT
from pipebell.sdk.sender import Sender
from pipebell.sdk.service import NotificationService
from pipebell.sdk.spool import Spool, default_folder
from pipebell.sdk.sync import SyncNotificationService

# No lock: a signal's handler or a forked child may come at any moment. Two services for the same arguments, made at the
# same time, do no harm; the first one stays.
_services: dict[tuple[str, ...], NotificationService] = {}


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
    key = tuple(map(repr, (_namespace(namespace), kubeconfig, context, timeout, spool)))
    found = _services.get(key)
    if found is None:
        made = make_service(namespace=namespace, kubeconfig=kubeconfig, context=context, timeout=timeout, spool=spool)
        found = _services.setdefault(key, made)
    return found


def make_service(
    *,
    namespace: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    timeout: float = TIMEOUT,
    spool: str | None = None,
) -> NotificationService:
    """A service of its own, with its own threads."""
    kubeconfig, context, folder = (_text(value) for value in (kubeconfig, context, spool))
    # The folder is looked for when it is needed, in a thread: a home folder may hang.
    kept = Spool(Path(folder) if folder else lambda: default_folder(os.environ))
    where = place(kubeconfig, context, os.environ).key
    sender = Sender(Api(lambda: find(kubeconfig, context)), kept, place=where)
    return NotificationService(sender, namespace=_namespace(namespace), timeout=timeout)


def _namespace(given: object) -> str | None:
    return _text(given) or os.environ.get("PIPEBELL_NAMESPACE_FOR_EVENTS") or None


def _text(given: object) -> str | None:
    """A text or a path; anything else is said, and left out."""
    if given is None or isinstance(given, str):
        return given or None
    if isinstance(given, os.PathLike):
        return os.fsdecode(given)
    log.warning("pipebell: an argument that is a %s is left out: it must be text", type(given).__name__)
    return None


def get_sync_notification_service(
    *,
    namespace: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    timeout: float = TIMEOUT,
    spool: str | None = None,
) -> SyncNotificationService:
    """As `get_notification_service`, for code that is not asynchronous."""
    return SyncNotificationService(
        get_notification_service(
            namespace=namespace, kubeconfig=kubeconfig, context=context, timeout=timeout, spool=spool
        )
    )
