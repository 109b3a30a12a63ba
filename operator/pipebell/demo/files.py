"""Where the repository's files are at run time: in the wheel, or in the checkout that is installed editable."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import pipebell
from pipebell.core.errors import PipebellError

_PACKAGE: Final = Path(pipebell.__file__).parent
_OBJECTS: Final = Path(__file__).parent / "objects"


@cache
def shipped(name: str) -> Path:
    """A file or folder of `crds`, `manifests` or `configs`. Raises PipebellError when this installation lacks it."""
    # pyproject.toml puts these folders into the wheel as pipebell/data.
    for base in (_PACKAGE / "data", _PACKAGE.parents[1]):
        if (base / "manifests" / "kustomization.yaml").is_file() and (base / name).exists():
            return base / name
    raise PipebellError(f"{name} is not part of this installation: install Pipebell's wheel, or its checkout with -e")


def objects(name: str, /, **values: str) -> str:
    """One of the demo's manifests, with `@NAME@` replaced by the values."""
    text = (_OBJECTS / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key.upper()}@", value)
    return text
