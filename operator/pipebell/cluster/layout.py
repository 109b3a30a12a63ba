"""The files of a cluster's directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below one directory."""

    directory: Path

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.directory / "kubeconfig"

    @property
    def credentials(self) -> Path:
        """What `credentials.create` made."""
        return self.directory / "credentials"

    @property
    def authority(self) -> Path:
        """Who signed the API server's certificate."""
        return self.credentials / "ca.crt"

    @property
    def admin(self) -> tuple[Path, Path]:
        """The administrator's certificate and key."""
        return self.credentials / "admin.crt", self.credentials / "admin.key"

    @property
    def audit_policy(self) -> Path:
        """What the audit log is about."""
        return self.directory / "audit-policy.yaml"

    @property
    def audit_log(self) -> Path:
        """One JSON line per request."""
        return self.directory / "audit.log"

    def log(self, process: str) -> Path:
        """What the process of this name wrote."""
        return self.directory / f"{process}.log"
