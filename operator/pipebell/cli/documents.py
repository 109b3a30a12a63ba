"""Files as people write them: JSON and YAML, with errors that say where, and never quote a value."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pipebell import strict_yaml
from pipebell.core.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from pathlib import Path

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


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
        names = [name for name, _ in pairs]
        raise InvalidInput([Problem(name, "stands there twice: keep one") for name in result if names.count(name) > 1])
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


def read_env(path: Path) -> dict[str, str]:
    """Variables of a `.env` file: NAME=value lines, `export` and quotes allowed. Raises InvalidInput by line."""
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None:
            problems.append(Problem(f"line {number}", "is not NAME=value"))
        else:
            found[match[1]] = _unquoted(match[2])
    if problems:
        raise InvalidInput(problems)
    return found


def _unquoted(value: str) -> str:
    for quote in ("'", '"'):
        if value.startswith(quote) and (end := value.find(quote, 1)) > 0:
            return value[1:end]
    return value.split(" #", 1)[0].rstrip()
