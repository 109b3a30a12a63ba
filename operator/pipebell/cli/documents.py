"""Files as people write them: JSON and YAML, with errors that say where, and never quote a value."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from pipebell.core.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")


def load_json(text: str) -> Any:  # noqa: ANN401  (JSON)
    """A JSON document. Raises InvalidInput: no JSON, or a name twice in one object."""
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput([Problem("", f"is not valid JSON: {error.msg} at {place}")]) from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        raise InvalidInput([Problem(name, "stands there twice: keep one") for name in result if names.count(name) > 1])
    return result


class _Loader(yaml.SafeLoader):
    """Safe, and strict about names that stand there twice, as `kubectl apply` is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping. Raises InvalidInput when a name stands there twice."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            line = node.start_mark.line + 1
            raise InvalidInput([Problem(name, f"stands there twice (from line {line}): keep one") for name in twice])
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> list[Any]:
    """All documents of a YAML text that are not empty. Raises InvalidInput."""
    try:
        return [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidInput([Problem("", f"is not valid YAML: {error.problem or 'cannot be read'}{place}")]) from None
    except yaml.YAMLError as error:
        raise InvalidInput([Problem("", f"is not valid YAML ({type(error).__name__})")]) from None


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
