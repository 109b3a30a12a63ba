"""Hooks for Prefect's flows. They need nothing of Prefect but what it hands them, never raise, and wait 2 s at most."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

from pipebell.integrations.events import FAILURE, SUCCESS, Event, send

if TYPE_CHECKING:
    from collections.abc import Callable

    Hook = Callable[[Any, Any, Any], None]

log = logging.getLogger("pipebell")

_TAG: Final = "org:"
_REASONS: Final = {"TimedOut": "timed_out", "Crashed": "crashed"}


def pipebell_hooks(
    org: str | None = None, *, namespace: str | None = None, on_success: bool = False, timeout: float = 2.0
) -> dict[str, list[Hook]]:
    """Keyword arguments for `@flow`: the flow tells when it failed for good or crashed, and success where wanted.

    Without `org` it is the flow run's parameter `org`, else its tag `org:SLUG`, else PIPEBELL_ORG. `namespace` is where
    the events go, `timeout` the seconds that a hook may take.
    """

    def hook(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ANN401  (Prefect's objects)
        _notify(flow, flow_run, state, org=org, namespace=namespace, timeout=timeout)

    hooks: dict[str, list[Hook]] = {"on_failure": [hook], "on_crashed": [hook]}
    return hooks | {"on_completion": [hook]} if on_success else hooks


def on_failure(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ANN401
    """For `@flow(on_failure=[on_failure])`: the flow failed, after its last retry."""
    _notify(flow, flow_run, state)


def on_crashed(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ANN401
    """For `@flow(on_crashed=[on_crashed])`: something outside the flow ended it."""
    _notify(flow, flow_run, state)


def on_completion(flow: Any, flow_run: Any, state: Any) -> None:  # noqa: ANN401
    """For `@flow(on_completion=[on_completion])`: the flow succeeded."""
    _notify(flow, flow_run, state)


def event_of(flow: Any, flow_run: Any, state: Any, org: str) -> Event:  # noqa: ANN401
    """What a hook is called for, as an event. A flow run tells each of its runs once, whichever process does it."""
    kind = str(getattr(state.type, "value", state.type)).lower()
    name = str(getattr(flow, "name", None) or flow_run.name)
    ran = getattr(flow_run, "run_count", None)
    succeeded = kind == "completed"
    details = {
        "flow_run": flow_run.name,
        "state": state.name,
        "reason": None if succeeded else _REASONS.get(state.name or "", kind),
        "run_count": ran,
        "deployment_id": _text(getattr(flow_run, "deployment_id", None)),
    }
    message = None if succeeded else state.message or f"the flow run ended as {state.name}"
    url = _url(flow_run)
    return Event(
        org=org,
        event=SUCCESS if succeeded else FAILURE,
        pipeline=name,
        run=str(flow_run.id),
        message=message,
        details=details,
        links={"Flow run": url} if url else {},
        key=("prefect", flow_run.id, ran),
    )


def org_of(flow_run: Any) -> str | None:  # noqa: ANN401
    """The organisation that a flow run names: its parameter `org`, else a tag `org:SLUG`, else PIPEBELL_ORG."""
    parameters = getattr(flow_run, "parameters", None) or {}
    if org := _text(parameters.get("org")):
        return org
    tags = (str(tag) for tag in getattr(flow_run, "tags", None) or ())
    found = sorted(tag[len(_TAG) :].strip() for tag in tags if tag.startswith(_TAG))
    return next((org for org in found if org), None) or os.environ.get("PIPEBELL_ORG") or None


def _notify(
    flow: Any,  # noqa: ANN401
    flow_run: Any,  # noqa: ANN401
    state: Any,  # noqa: ANN401
    *,
    org: str | None = None,
    namespace: str | None = None,
    timeout: float = 2.0,
) -> None:
    try:
        org = org or org_of(flow_run)
        if org is None:
            log.error(
                "pipebell: flow %s names no organisation: give org=, a parameter org, or a tag org:SLUG", flow.name
            )
            return
        send(event_of(flow, flow_run, state, org), namespace=namespace, timeout=timeout)
    except Exception:
        log.exception("pipebell: a flow run's end cannot be sent")


def _url(flow_run: Any) -> str | None:  # noqa: ANN401
    """The flow run's page, where Prefect knows its own address."""
    try:
        from prefect.utilities.urls import url_for  # noqa: PLC0415  (only Prefect calls hooks)

        return _text(url_for("flow-run", obj_id=flow_run.id))
    except Exception:  # noqa: BLE001  (a link is no reason to fail)
        return None


def _text(value: object) -> str | None:
    return str(value).strip() or None if value is not None else None
