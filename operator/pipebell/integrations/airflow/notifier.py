"""`PipebellNotifier`: a callback for tasks and DAGs, and for whatever else takes a notifier."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any

from pipebell.integrations.airflow import facts, settings
from pipebell.integrations.airflow.callbacks import event_of
from pipebell.integrations.events import send, send_async

try:
    from airflow.sdk import BaseNotifier
except ImportError:  # Airflow 2
    from airflow.notifications.basenotifier import BaseNotifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipebell.integrations.events import Event

log = logging.getLogger("pipebell")


class PipebellNotifier(BaseNotifier):  # type: ignore[misc]  # noqa: AIR301  (untyped here; Airflow 2 has it there)
    """Tell the organisation about a task or a DAG run.

    As `on_failure_callback` of a task or of `default_args` it tells tasks that failed for good, as a DAG's it tells why
    the run failed and which tasks did; as `on_success_callback` it tells success. Without `org` the organisation is
    the DAG's own: its parameter `org`, a tag `org:SLUG`, or `org` in the section `[pipebell]`. `namespace` is where the
    event goes, `severity` and `message` replace what is derived; all may be templates. It never raises and takes
    `timeout` seconds at most.
    """

    template_fields: Sequence[str] = ("org", "namespace", "severity", "message")

    def __init__(
        self,
        org: str | None = None,
        *,
        namespace: str | None = None,
        severity: str | None = None,
        message: str | None = None,
        event: str | None = None,
        timeout: float = 2.0,
        context: Any = None,  # noqa: ANN401  (Airflow's own, given to notifiers that are awaited)
    ) -> None:
        super().__init__()
        self.context = context or {}
        self.org, self.namespace, self.severity, self.message = org, namespace, severity, message
        self.event, self.timeout = event, timeout

    def __call__(self, *args: Any) -> None:  # noqa: ANN401  (Airflow's signature)
        """Render and notify on a copy: rendering replaces templates for good, and a DAG's tasks share a notifier."""
        super(PipebellNotifier, copy.copy(self)).__call__(*args)

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:  # noqa: ANN401
        """Render; what cannot be rendered is left out, for a message without its decoration is better than none."""
        for name in self.template_fields:
            if "{" not in (value := getattr(self, name) or ""):
                continue
            try:
                env = jinja_env or self.get_template_env(dag=context.get("dag"))
                setattr(self, name, self.render_template(value, context, env))
            except Exception as error:  # noqa: BLE001  (a template may do anything)
                log.warning("pipebell: %s of PipebellNotifier cannot be rendered: %s", name, error)
                setattr(self, name, None)

    def notify(self, context: Any) -> None:  # noqa: ANN401
        """Send the event that the context tells of, if it tells of one."""
        if event := self._event(context):
            send(event, namespace=self._namespace(), timeout=self.timeout)

    async def async_notify(self, context: Any) -> None:  # noqa: ANN401
        """As `notify`, in the triggerer."""
        if event := self._event(context):
            await send_async(event, namespace=self._namespace(), timeout=self.timeout)

    def _event(self, context: Any) -> Event | None:  # noqa: ANN401
        try:
            dag = context.get("dag")
            params = context.get("params") or facts.attribute(dag, "params")
            org = self.org or facts.org_of(params, facts.attribute(dag, "tags")) or settings.read().org
            if not org:
                log.error(
                    "pipebell: %s names no organisation: give PipebellNotifier(org=…), a parameter org, a tag "
                    "org:SLUG, or org in the section [pipebell]",
                    facts.attribute(dag, "dag_id") or "the DAG",
                )
                return None
            return event_of(context, org, event=self.event, severity=self.severity, message=self.message)
        except Exception:
            log.exception("pipebell: the callback's context cannot be read")
            return None

    def _namespace(self) -> str | None:
        return self.namespace or settings.read().namespace
