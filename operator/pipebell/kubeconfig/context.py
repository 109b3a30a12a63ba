"""A context of kubeconfigs: the cluster, the user, the namespace.

Format: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/. Several files joined by `:` are merged as
kubectl does it: the first file to name an entry wins. What we cannot honour is refused by name, not ignored; no message
quotes a file, for its lines may be credentials.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipebell.core.errors import SettingsError
from pipebell.kubeconfig.subset import NotInSubsetError, parse

_LISTS: Final = ("clusters", "users", "contexts")
_PATHS: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_NOT_HONOURED: Final = ("as", "as-groups", "as-uid", "as-user-extra", "username", "auth-provider")


class NotHonouredError(SettingsError):
    """The kubeconfig asks by `field` for something that we cannot do by ourselves."""

    def __init__(self, context: str, field: str) -> None:
        self.field = field
        super().__init__(f"the kubeconfig's context {context!r} has a user with {field}, which is not supported here")


class Context(NamedTuple):
    """Who and where. `server` has no trailing slash; paths in `cluster` and `user` are absolute or as given."""

    name: str
    server: str
    namespace: str
    cluster: dict[str, Any]
    user: dict[str, Any]

    def __repr__(self) -> str:
        return f"Context(name={self.name!r}, namespace={self.namespace!r})"  # the rest may hold credentials

    def check(self) -> None:
        """Raises NotHonouredError that names the field."""
        for field in _NOT_HONOURED:
            if self.user.get(field):
                raise NotHonouredError(self.name, field)


def read(paths: str, context: str | None = None) -> Context:
    """A context (the current one, unless named) of these files. Raises SettingsError that names the file or field."""
    config = _merged([path for path in paths.split(os.pathsep) if path], paths)
    name = context or config["current-context"]
    if not name:
        raise SettingsError(f"KUBECONFIG={paths}: no current-context; choose one with `kubectl config use-context`")
    found = _named(config, "contexts", name)
    cluster = _named(config, "clusters", str(found.get("cluster") or ""))
    user = _named(config, "users", str(found["user"])) if found.get("user") else {}
    server = str(cluster.get("server") or "").rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise SettingsError(f"cluster {found.get('cluster')!r} in the kubeconfig has no server URL")
    if "@" in server:
        raise SettingsError(f"cluster {found.get('cluster')!r} in the kubeconfig has a password in its server URL")
    return Context(name, server, str(found.get("namespace") or "default"), cluster, user)


def names(paths: str) -> list[str]:
    """Names of all contexts of these files. Raises SettingsError that names the file or field."""
    return list(_merged([path for path in paths.split(os.pathsep) if path], paths)["contexts"])


def flag(entry: dict[str, Any], field: str) -> bool:
    """A boolean, however it is written."""
    return str(entry.get(field) or "").lower() in ("true", "yes", "on", "y")


def _merged(files: list[str], given: str) -> dict[str, Any]:
    merged: dict[str, Any] = {"current-context": "", **{kind: {} for kind in _LISTS}}
    present = [path for file in files if (path := Path(file).expanduser()).is_file()]
    if not present:
        raise SettingsError(f"KUBECONFIG={given}: there is no such file")
    for path in present:
        document = _load(path)
        merged["current-context"] = merged["current-context"] or str(document.get("current-context") or "")
        for kind in _LISTS:
            for name, value in _entries(document, kind, path):
                for field in _PATHS:
                    if value.get(field):  # relative to the file that says it
                        value[field] = str(path.parent / str(value[field]))
                plugin = value.get("exec")
                if isinstance(plugin, dict) and os.sep in str(plugin.get("command") or ""):
                    value["exec"] = plugin | {"command": str(path.parent.absolute() / str(plugin["command"]))}
                merged[kind].setdefault(name, value)
    return merged


def _entries(document: dict[str, Any], kind: str, path: Path) -> list[tuple[str, dict[str, Any]]]:
    found = []
    entries = document.get(kind) or []
    for entry in entries if isinstance(entries, list) else [None]:
        value = (entry.get(kind.removesuffix("s")) or {}) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(value, dict):
            raise SettingsError(
                f"the kubeconfig {path} is malformed: {kind} must be a list of names and what they mean"
            )
        found.append((str(entry.get("name")), dict(value)))
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot read the kubeconfig {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the kubeconfig {path} is not YAML") from None
    try:
        document = parse(text)
    except NotInSubsetError as error:
        document = _by_pyyaml(text, path, error)
    if not isinstance(document, dict):
        raise SettingsError(f"the kubeconfig {path} is not a kubeconfig")
    return document


def _by_pyyaml(text: str, path: Path, reason: NotInSubsetError) -> Any:  # noqa: ANN401  (YAML)
    """What our reader refuses, read by PyYAML where that is installed."""
    try:
        import yaml  # noqa: PLC0415  (hardly any kubeconfig needs it)
    except ImportError:
        raise SettingsError(
            f"the kubeconfig {path} is not YAML, or of a kind that needs another reader ({reason}): "
            "pip install 'pipebell[kubeconfig]'"
        ) from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        # The parser's message would quote the line, and that may be a token.
        raise SettingsError(f"the kubeconfig {path} is not YAML") from None


def _named(config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = config[kind].get(name)
    if found is None:
        known = ", ".join(config[kind]) or "none"
        raise SettingsError(f"the kubeconfig has no {kind.removesuffix('s')} {name!r}; it has: {known}")
    return found
