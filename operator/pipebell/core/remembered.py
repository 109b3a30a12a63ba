"""Memory of bounded size that tenants share: nobody pushes out what another has in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Entries by namespace and key, `most` at most, in the order in which they were put.

    One more goes at the cost of the namespace that has most of them: its oldest entry is forgotten.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._spaces: dict[str, dict[K, V]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[str, K]]:
        """All there is by now, whatever becomes of it meanwhile."""
        return iter([(namespace, key) for namespace, found in self._spaces.items() for key in found])

    def get(self, namespace: str, key: K) -> V | None:
        """The value; None where there is none."""
        found = self._spaces.get(namespace)
        return found.get(key) if found is not None else None

    def put(self, namespace: str, key: K, value: V) -> tuple[str, K] | None:
        """Remember this, as the newest entry of its namespace; what had to be forgotten for it."""
        self.pop(namespace, key)
        found = self._spaces.setdefault(namespace, {})
        found[key] = value
        self._count += 1
        if self._count <= self.most:
            return None
        if len(found) <= self.most // len(self._spaces):
            namespace, found = max(self._spaces.items(), key=lambda item: len(item[1]))
        oldest = next(iter(found))
        self.pop(namespace, oldest)
        return namespace, oldest

    def pop(self, namespace: str, key: K) -> V | None:
        """Forget this; the value that it had."""
        found = self._spaces.get(namespace)
        if found is None or key not in found:
            return None
        self._count -= 1
        value = found.pop(key)
        if not found:
            del self._spaces[namespace]
        return value
