"""Leases (coordination.k8s.io/v1) of one group of replicas (implements `pipebell.engine.ports.Leases`).

Their owner is the ServiceAccount of whoever made or took them last, so that Kubernetes removes them with it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from pipebell.core.errors import ApiError
from pipebell.core.shards import FORMAT, FORMAT_NUMBER, GROUP, LEAVING, REPLICA, ROOT, SCOPE, VERSION, LeaseRecord
from pipebell.kube.client import MERGE_PATCH
from pipebell.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient

TIMEOUT: Final = 2.0  # seconds for one request: a late answer is worth nothing
_API: Final = "coordination.k8s.io/v1"
_LONGEST: Final = 40  # characters of a group's name
_ACCOUNT: Final = re.compile(r"system:serviceaccount:(?P<namespace>[^:]+):(?P<name>[^:]+)")


def group_of(installation: str) -> str:
    """A name for the replicas of one installation, from its own name or that of its root ConfigMap."""
    name = installation.removesuffix("-root").replace(".", "-")
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 9]}-{crc32(name.encode()):08x}"


class KubeLeases:
    """The Leases labelled as `group`'s; their names begin with the group's, which callers leave out.

    `root` says how the root configuration stands; people read it on a replica's Lease (`pipebell status`).
    """

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        *,
        namespace: str,
        group: str,
        seconds: float,
        root: Callable[[], str] = lambda: "unread",
    ) -> None:
        self._client, self._clock, self._root = client, clock, root
        self._namespace, self._group, self._seconds = namespace, group, seconds
        self._path = f"/apis/{_API}/namespaces/{namespace}/leases"
        self._owners: list[dict[str, str]] | None = None

    async def list(self) -> Sequence[LeaseRecord]:
        """All of them (a consistent read). Raises ApiErrors."""
        answer = await self._request("GET", self._path, params={"labelSelector": f"{GROUP}={self._group}"})
        return [self._record(item) for item in answer.get("items") or ()]

    async def create(self, name: str, holder: str, scope: str, number: int = FORMAT) -> LeaseRecord:
        """Raises Conflict when it exists already, NotFound when the namespace does not."""
        metadata: dict[str, Any] = {
            "name": f"{self._group}-{name}",
            "labels": {GROUP: self._group, "app.kubernetes.io/part-of": "pipebell"},
            "ownerReferences": await self._owner(),
        }
        if name.startswith(REPLICA):
            metadata["annotations"] = {SCOPE: scope, FORMAT_NUMBER: str(number), **self._said()}
        now = self._now()
        spec = {
            "holderIdentity": holder,
            "leaseDurationSeconds": round(self._seconds),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        body = {"apiVersion": _API, "kind": "Lease", "metadata": metadata, "spec": spec}
        return self._record(await self._request("POST", self._path, body=body))

    async def renew(self, name: str, *, leaving: bool) -> None:
        """Say that its holder lives, and whether it is leaving. Raises NotFound when it was taken away."""
        annotations = {**self._said(), **({LEAVING: "true"} if leaving else {})}
        await self._patch(name, {"metadata": {"annotations": annotations}, "spec": {"renewTime": self._now()}})

    def _said(self) -> dict[str, str]:
        """What changes while a Lease lives: root, and the release, when a successor takes the Lease over."""
        return {VERSION: __version__, ROOT: self._root()}

    async def hand(self, lease: LeaseRecord, holder: str) -> LeaseRecord:
        """Give it to a holder ("" for none) if it is as it was read. Raises Conflict when it is not."""
        now = self._now()
        spec: dict[str, Any] = {"holderIdentity": holder or None, "renewTime": now}
        if holder:
            spec |= {"acquireTime": now, "leaseTransitions": lease.transitions + 1}
        metadata: dict[str, Any] = {"resourceVersion": lease.version}
        if owner := await self._owner():
            metadata["ownerReferences"] = owner
        return self._record(await self._patch(lease.name, {"metadata": metadata, "spec": spec}))

    async def delete(self, lease: LeaseRecord) -> None:
        """Remove it if it is as it was read. Raises Conflict when it is not."""
        body = {"preconditions": {"uid": lease.uid, "resourceVersion": lease.version}}
        await self._request("DELETE", f"{self._path}/{self._group}-{lease.name}", body=body)

    async def _owner(self) -> Sequence[Mapping[str, str]]:
        """Who we are, as an owner: the ServiceAccount; nobody when we are none, or cannot know."""
        if self._owners is None:
            self._owners = []
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
            try:
                answer = await self._request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body)
            except ApiError:
                return self._owners
            user = answer.get("status", {}).get("userInfo", {})
            account = _ACCOUNT.fullmatch(user.get("username") or "")
            if account and account["namespace"] == self._namespace and user.get("uid"):
                owner = {"apiVersion": "v1", "kind": "ServiceAccount", "name": account["name"], "uid": user["uid"]}
                self._owners = [owner]
        return self._owners

    async def _patch(self, name: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401  (JSON)
        return await self._request("PATCH", f"{self._path}/{self._group}-{name}", body=body, content_type=MERGE_PATCH)

    async def _request(self, method: str, path: str, **rest: Any) -> Any:  # noqa: ANN401  (JSON)
        return await self._client.request(method, path, timeout=TIMEOUT, **rest)

    def _record(self, item: Mapping[str, Any]) -> LeaseRecord:
        metadata, spec = item["metadata"], item.get("spec") or {}
        annotations = metadata.get("annotations") or {}
        return LeaseRecord(
            name=metadata["name"].removeprefix(f"{self._group}-"),
            holder=spec.get("holderIdentity") or "",
            version=metadata["resourceVersion"],
            uid=metadata["uid"],
            acquired=spec.get("acquireTime") or "",
            scope=annotations.get(SCOPE, ""),
            format=_number(annotations.get(FORMAT_NUMBER)),
            transitions=spec.get("leaseTransitions") or 0,
            leaving=annotations.get(LEAVING) == "true",
        )

    def _now(self) -> str:
        moment = datetime.fromtimestamp(self._clock.now(), UTC)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _number(text: str | None) -> int:
    """A format's number; 1 for a release that did not say."""
    return int(text) if text is not None and text.isdecimal() else 1
