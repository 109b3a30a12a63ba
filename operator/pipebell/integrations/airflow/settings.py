"""The configuration's section `[pipebell]`, which the provider's description declares (see provider.py)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

SECTION: Final = "pipebell"


@dataclass(frozen=True)
class Settings:
    """`org` for DAGs that name none, `namespace` of the events, and what the listener tells."""

    org: str | None = None
    namespace: str | None = None
    listener: bool = True
    on_success: bool = False


def read() -> Settings:
    """The settings as Airflow has them now; PIPEBELL_ORG is the organisation's last resort."""
    from airflow.configuration import conf  # noqa: PLC0415  (Airflow is imported by who asks for it)

    return Settings(
        org=_text(conf, "org") or os.environ.get("PIPEBELL_ORG") or None,
        namespace=_text(conf, "namespace"),
        listener=conf.getboolean(SECTION, "listener", fallback=True),
        on_success=conf.getboolean(SECTION, "on_success", fallback=False),
    )


def _text(conf: Any, name: str) -> str | None:  # noqa: ANN401
    return (conf.get(SECTION, name, fallback="") or "").strip() or None
