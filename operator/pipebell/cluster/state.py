"""What is remembered of a cluster between processes: `cluster.json` in its directory."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from pipebell.cluster.errors import ClusterError
from pipebell.cluster.processes import Process

_FILE: Final = "cluster.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A cluster's facts. `owner` is the process a nameless cluster ends with; a named one has none."""

    port: int
    store: Path
    extra_flags: tuple[str, ...] = ()
    audit_log: bool = False
    processes: tuple[Process, ...] = ()
    owner: Process | None = None

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """The state of the cluster in this directory; None when there is none. Raises ClusterError when unreadable."""
        try:
            document: dict[str, Any] = json.loads((directory / _FILE).read_text(encoding="utf-8"))
            owner = document.pop("owner")
            return cls(
                port=document.pop("port"),
                store=Path(document.pop("store")),
                extra_flags=tuple(document.pop("extra_flags")),
                processes=tuple(Process(**item) for item in document.pop("processes")),
                owner=Process(**owner) if owner else None,
                **document,
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(f"{directory / _FILE} is damaged: delete the folder {directory}") from error

    def write(self, directory: Path) -> Self:
        """Replace the file as a whole: a reader never sees half of it."""
        document = asdict(self) | {"store": str(self.store)}
        draft = directory / f"{_FILE}.{os.getpid()}"
        draft.write_text(json.dumps(document, indent=1), encoding="utf-8")
        draft.replace(directory / _FILE)
        return self

    def running(self, *processes: Process) -> Self:
        """The same with these processes."""
        return replace(self, processes=processes)
