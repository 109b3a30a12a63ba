"""Manifests as files: written so that every YAML reader reads the same, replaced as a whole, and private if need be."""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
# What is a text to PyYAML and to nobody else (`y`, `1e3`, `0o17`), so that these get quotes.
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./@-]+")


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as people do, so that the seed's JSON stays readable inside its ConfigMap."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002  (the base class's signature)
        return True


class _Secret(str):
    """A value that is written in quotes, whatever it looks like, and with escapes for all but ASCII."""

    __slots__ = ()


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None if _PLAIN.fullmatch(value) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(
    _Secret, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style='"')
)


def dump(objects: Iterable[Mapping[str, Any]]) -> str:
    """The objects as YAML documents."""
    return "---\n".join(_dump(_guarded(item)) for item in objects)


def _dump(item: Mapping[str, Any]) -> str:
    secret = item.get("kind") == "Secret"
    return str(
        yaml.dump(item, Dumper=_Dumper, sort_keys=False, allow_unicode=not secret, width=1 << 20 if secret else 120)
    )


def _guarded(item: Mapping[str, Any]) -> dict[str, Any]:
    if item.get("kind") != "Secret":
        return dict(item)
    return {
        key: {name: _Secret(text) for name, text in value.items()} if key in ("stringData", "data") else value
        for key, value in item.items()
    }


def write(path: Path, text: str, mode: int) -> None:
    """Replace a file as a whole; it has this mode from its first moment on. Raises OSError.

    A file that says the same already is left alone, but for its mode.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and not path.is_symlink() and path.read_bytes() == text.encode():
        if path.stat().st_mode & 0o777 & ~mode:
            path.chmod(mode)
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(text.encode())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
