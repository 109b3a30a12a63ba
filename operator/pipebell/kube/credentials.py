"""Who we are towards the API server: tokens that stay, tokens in files that are rotated, and plugins that make them.

Kubernetes rotates a pod's token in place (at 80 % of its life, an hour by default), so a file is read again every
minute and whenever the server answers 401. No credential ever appears in a `repr` or in an exception.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pipebell.core.errors import SettingsError
from pipebell.kubeconfig.login import clean_token

if TYPE_CHECKING:
    from collections.abc import Callable

REREAD_AFTER: Final = 60.0  # seconds
RERUN_AFTER: Final = 5.0  # seconds; many requests get their 401 at the same moment


class Credential(Protocol):
    """Where the bearer token comes from; None when the connection needs none."""

    def token(self) -> str | None:
        """The token to use now."""

    async def renew(self) -> bool:
        """The server refused the token: get another one. Whether it differs from the last."""


class StaticToken:
    """A token that never changes, or none (client certificates, `kubectl proxy`)."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def token(self) -> str | None:
        """The token, without a line break at its end. Raises SettingsError for what no header can hold."""
        return clean_token(self._token, "the token") if self._token else None

    async def renew(self) -> bool:
        """There is no other."""
        return False


class TokenFile:
    """A token in a file that somebody else keeps fresh. Read again after `REREAD_AFTER` seconds of `now`."""

    def __init__(self, path: str | Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._now = now
        try:
            self._token = self._read()
        except OSError as error:
            raise SettingsError(f"cannot read the token file {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"the token file {path} holds no text") from None
        if not self._token:
            raise SettingsError(f"the token file {path} is empty")
        self._read_at = now()

    def token(self) -> str:
        """The token as last read; the old one is kept while the file cannot be read."""
        if self._now() - self._read_at >= REREAD_AFTER:
            self._reread()
        return self._token

    async def renew(self) -> bool:
        """Read the file at once."""
        before = self._token
        self._reread()
        return self._token != before

    def _reread(self) -> None:
        self._read_at = self._now()
        try:
            self._token = self._read() or self._token
        except (OSError, UnicodeDecodeError, SettingsError):
            return  # kubelet swaps a symlink; the next reading finds it

    def _read(self) -> str:
        return clean_token(self._path.read_text(encoding="utf-8"), f"the token file {self._path}") or ""


class Plugin:
    """A token from a kubeconfig's `exec` plugin. `run` blocks, so renewal happens in a thread."""

    def __init__(
        self, run: Callable[[], str | None], *, first: str | None, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._run = run
        self._now = now
        self._token = first
        self._ran_at = now()
        self._lock = asyncio.Lock()

    def token(self) -> str | None:
        """The token that the plugin gave last."""
        return self._token

    async def renew(self) -> bool:
        """Run the plugin again, at most once in `RERUN_AFTER` seconds. A plugin that fails changes nothing."""
        before = self._token
        async with self._lock:
            if self._token == before and self._now() - self._ran_at >= RERUN_AFTER:
                self._ran_at = self._now()
                try:
                    self._token = await asyncio.to_thread(self._run)
                except SettingsError:
                    return False
        return self._token != before
