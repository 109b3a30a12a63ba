"""What pydantic refuses, in words for people: the field, what is wrong, how to fix it; never the value."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from pipebell.core.errors import InvalidInput, Problem
from pipebell.core.fields import HINTS
from pipebell.core.render.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError

_LONGEST_KEY: Final = 128  # characters


def explain(error: ValidationError, model: type[BaseModel]) -> InvalidInput:
    """A pydantic error as problems that name the field, what is wrong and how to fix it; never the value."""
    problems = []
    for item in error.errors(include_url=False, include_input=False, include_context=True):
        location = [part for part in item["loc"] if part not in ("function-after", "constrained-str")]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in location).lstrip(".")
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, location[:-1])
            near = get_close_matches(str(location[-1]), known, n=1)
            message = "unknown field" + (
                f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}" if known else ""
            )
        elif item["type"] == "string_pattern_mismatch":
            message = HINTS.get(item["ctx"]["pattern"], "has characters that are not allowed here")
        problems.append(Problem(path, message))
    return InvalidInput(problems)


def _key(name: str) -> str:
    """A name as one short line: whoever wrote the document chose it, and a status and a terminal show it."""
    return one_line(name, _LONGEST_KEY)


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Names of the fields that the model at `location` knows, in camelCase."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        current = next(
            (
                nested
                for name, info in current.model_fields.items()
                if part in (name, info.alias)
                for nested in _models_in(info.annotation)
            ),
            None,
        )
    return [info.alias or name for name, info in current.model_fields.items()] if current else []


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
