"""The cluster as commands see it: requests whose failures are one line with the fix."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from pipebell.core.errors import Conflict, NotFound, Rejected, Unavailable
from pipebell.core.vocabulary import GROUP, NAME, VERSION
from pipebell.sdk.access import find
from pipebell.sdk.api import Answer, Api

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from pipebell.cli.access import Access

EVENTS: Final = "pipelineevents"
CONFIGS: Final = "notificationconfigs"
INCIDENTS: Final = "incidents"
SILENCES: Final = "silences"
_KINDS: Final = {EVENTS: "PipelineEvent", CONFIGS: "NotificationConfig", INCIDENTS: "Incident", SILENCES: "Silence"}
_SPELT: Final = {
    EVENTS: ("pipelineevent", "pe"),
    CONFIGS: ("notificationconfig", "nc"),
    INCIDENTS: ("incident", "inc"),
    SILENCES: ("silence", "sil"),
}
_PAGE: Final = 500
_OK: Final = range(200, 300)
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_TOO_MANY: Final = 429
_SERVER: Final = 500
_SOON: Final = 0.2  # seconds between two tries at least


def bare(word: str, resource: str) -> str:
    """A name without the kind before it, which `-o name` writes, ours and kubectl's (`pipelineevent.pipebell.io/x`)."""
    kind, slash, name = word.partition("/")
    return name if slash and kind.lower().removesuffix(f".{GROUP}") in (resource, *_SPELT[resource]) else word


class Client:
    """Pipebell's resources (and what belongs to them) in one cluster. All methods raise PipebellErrors."""

    def __init__(self, access: Access, timeout: float = 15.0) -> None:
        self._api = Api(lambda: find(access.kubeconfig, access.context))
        self._given = access.namespace
        self._timeout = timeout

    @property
    def namespace(self) -> str:
        """Where commands look unless told otherwise: `-n`, else the context's or the pod's."""
        return self._given or self._api.endpoint.namespace

    @property
    def api(self) -> Api:
        """The API itself, for the spool."""
        return self._api

    def close(self) -> None:
        """Close the connection."""
        self._api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, resource: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """One of Pipebell's objects."""
        return self._ask("GET", f"{self._path(resource, namespace)}/{_segment(name)}", resource, name, namespace)

    def list(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        fields: dict[str, str] | None = None,
        unlike: dict[str, str] | None = None,
        everywhere: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Pipebell's objects, page by page, in one namespace or everywhere.

        Only those whose selectable fields have the values of `fields`, and not those of `unlike`.
        """
        path = f"/apis/{GROUP}/{VERSION}/{resource}" if everywhere else self._path(resource, namespace)
        query = {"limit": str(_PAGE)}
        chosen = [f"{key}={value}" for key, value in (fields or {}).items()]
        chosen += [f"{key}!={value}" for key, value in (unlike or {}).items()]
        if chosen:
            query["fieldSelector"] = ",".join(chosen)
        while True:
            page = self._ask("GET", f"{path}?{urlencode(query)}", resource, "", namespace)
            yield from page.get("items") or ()
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    def create(self, resource: str, manifest: dict[str, Any], namespace: str | None = None) -> dict[str, Any]:
        """A new object."""
        name = manifest["metadata"]["name"]
        return self._ask("POST", self._path(resource, namespace), resource, name, namespace, manifest)

    def annotate(self, resource: str, name: str, annotations: dict[str, str], namespace: str) -> dict[str, Any]:
        """Set annotations of one of Pipebell's objects."""
        path = f"{self._path(resource, namespace)}/{_segment(name)}"
        return self._ask("PATCH", path, resource, name, namespace, {"metadata": {"annotations": annotations}})

    def patch(
        self, resource: str, name: str, version: str, change: dict[str, Any], namespace: str | None = None
    ) -> dict[str, Any]:
        """Merge-patch an object's spec (RFC 7396). Raises Conflict when it is no longer of this resourceVersion."""
        body = {"metadata": {"resourceVersion": version}, "spec": change}
        return self._ask(
            "PATCH", f"{self._path(resource, namespace)}/{_segment(name)}", resource, name, namespace, body
        )

    def delete(self, resource: str, name: str, namespace: str | None = None) -> None:
        """Remove an object."""
        self._ask("DELETE", f"{self._path(resource, namespace)}/{_segment(name)}", resource, name, namespace)

    def user(self) -> str:
        """Whom the API server takes us for; "" where it does not say."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            found = self._ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "users", "", "", body)
        except (Rejected, NotFound):
            return ""
        return str(((found.get("status") or {}).get("userInfo") or {}).get("username") or "")

    def core(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """A core object (`secrets`, `configmaps`) by name; None when there is none."""
        path = f"/api/v1/namespaces/{_segment(namespace or self.namespace)}/{kind}/{_segment(name)}"
        try:
            return self._ask("GET", path, kind, name, namespace)
        except NotFound:
            return None

    def uid(self, namespace: str) -> str:
        """A namespace's uid."""
        found = self._ask("GET", f"/api/v1/namespaces/{_segment(namespace)}", "namespaces", namespace, namespace)
        return str(found["metadata"]["uid"])

    def labels(self, namespace: str) -> dict[str, str]:
        """A namespace's labels."""
        found = self._ask("GET", f"/api/v1/namespaces/{_segment(namespace)}", "namespaces", namespace, namespace)
        return dict(found["metadata"].get("labels") or {})

    def leases(self, namespace: str, label: str) -> Sequence[dict[str, Any]]:
        """All Leases of a namespace that have this label."""
        place = _segment(namespace)
        path = f"/apis/coordination.k8s.io/v1/namespaces/{place}/leases?{urlencode({'labelSelector': label})}"
        items: Sequence[dict[str, Any]] = self._ask("GET", path, "leases", "", namespace).get("items") or []
        return items

    def schemas(self) -> dict[str, Any]:
        """Pipebell's kinds as this API server serves them (OpenAPI); no kind when it knows none."""
        try:
            document = self._ask("GET", f"/openapi/v3/apis/{GROUP}/{VERSION}", "definitions", "", "")
        except NotFound:
            return {}
        return dict((document.get("components") or {}).get("schemas") or {})

    def namespaces(self) -> Sequence[str]:
        """Names of all namespaces."""
        found = self._ask("GET", "/api/v1/namespaces", "namespaces", "", "")
        return [str(item["metadata"]["name"]) for item in found.get("items") or ()]

    def _path(self, resource: str, namespace: str | None) -> str:
        return f"/apis/{GROUP}/{VERSION}/namespaces/{_segment(namespace or self.namespace)}/{resource}"

    def _ask(
        self, method: str, path: str, resource: str, name: str, namespace: str | None, body: object = None
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        until = time.monotonic() + self._timeout
        answer = self._api.request(method, path, data, timeout=self._timeout)
        # Nothing was done, and the server says when to ask again: right after definitions were applied, for example.
        while answer.status == _TOO_MANY and answer.retry_after is not None:
            wait = max(answer.retry_after, _SOON)
            if time.monotonic() + wait > until:
                break
            time.sleep(wait)
            answer = self._api.request(method, path, data, timeout=self._timeout)
        if answer.status in _OK:
            return answer.document
        raise self._error(answer, resource, name, namespace or self.namespace)

    def _error(self, answer: Answer, resource: str, name: str, namespace: str) -> Exception:
        kind = _KINDS.get(resource, resource.removesuffix("s").capitalize())
        server = self._api.endpoint.server
        if answer.status == _UNAUTHORIZED:
            return Rejected(f"{server} does not accept your credentials: log in again, or choose another --context")
        if answer.status == _FORBIDDEN:
            return Rejected(f"not permitted: {answer.message}{_role(answer.message)}")
        if answer.status == _NOT_FOUND:
            return NotFound(_absent(answer, kind, name, namespace))
        if answer.status == _CONFLICT:
            return Conflict(answer.message)
        if answer.status == _TOO_MANY or answer.status >= _SERVER:
            return Unavailable(f"{server}: {answer.message}; try again later", answer.retry_after)
        return Rejected(answer.message)


def _role(message: str) -> str:
    if "quota" in message:
        return " (raise the ResourceQuota, or delete finished events)"
    changes = any(f"cannot {verb}" in message for verb in ("create", "patch", "delete"))
    if changes and ("incidents" in message or "silences" in message):
        return " (ask for the role pipebell-responder or edit there)"
    if "cannot patch" in message:
        return " (ask for the role edit there)"
    if "cannot create" in message:
        return " (ask for the role pipebell-pipeline or edit there)"
    if "secrets" in message or "configmaps" in message:
        return " (only who may read it can look into it)"
    return " (ask for the role view there)"


def _absent(answer: Answer, kind: str, name: str, namespace: str) -> str:
    details = answer.document.get("details") or {}
    if details.get("kind") == "namespaces":
        return f"there is no namespace {namespace}"
    if details.get("name"):
        return f"there is no {kind} {name} in namespace {namespace}"
    return f"the cluster does not know {kind}s: install Pipebell's CRDs (kubectl apply --server-side -f crds/)"


def _segment(name: str) -> str:
    """A name as a part of a path. Raises NotFound for what can be none: it would ask for something else."""
    if not re.fullmatch(NAME, name):
        raise NotFound(f"{name!r} is not found: it is no name (lower-case letters, digits, '-' and '.')")
    return name
