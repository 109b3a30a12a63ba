"""Files as people write them: JSON and YAML, with errors that say where, and never quote a value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipebell import strict_yaml
from pipebell.core.bounds import twice
from pipebell.core.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from pathlib import Path


def load_json(text: str) -> Any:  # noqa: ANN401  (JSON)
    """A JSON document. Raises InvalidInput: no JSON, or a name twice in one object."""
    try:
        return json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_each_once)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput([Problem("", f"is not valid JSON: {error.msg} at {place}")]) from None
    except RecursionError:
        raise InvalidInput([Problem("", "is nested too deeply")]) from None
    except ValueError:  # the one that is left: Python reads no whole numbers of thousands of digits
        raise InvalidInput([Problem("", "is not valid JSON: a number has too many digits")]) from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = twice(name for name, _ in pairs)
        raise InvalidInput([Problem(name, "stands there twice: keep one") for name in names])
    return result


def load_yaml(text: str) -> list[Any]:
    """All documents of a YAML text that are not empty. Raises InvalidInput."""
    try:
        return strict_yaml.load_all(text)
    except strict_yaml.DuplicateNames as error:
        said = f"stands there twice (from line {error.line}): keep one"
        raise InvalidInput([Problem(name, said) for name in error.names]) from None
    except ValueError as error:
        raise InvalidInput([Problem("", str(error))]) from None


def load(path: Path, text: str) -> list[Any]:
    """All documents of a file, by its name's end; JSON reports better places than YAML, which it is a part of."""
    return [load_json(text)] if path.suffix == ".json" else load_yaml(text)


def read_text(path: Path) -> str:
    """A file's text. Raises InvalidInput."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput([Problem("", "is not UTF-8 text")]) from None
    except OSError as error:
        raise InvalidInput([Problem("", f"cannot be read: {error.strerror}")]) from None
