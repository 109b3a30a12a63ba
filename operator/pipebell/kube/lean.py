"""Many parsed configurations in little memory.

With 10,000 of them in one process (measured, a full one with two triggers) pydantic's bookkeeping and equal values
parsed over and over are more than half of what they take.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import BaseModel

from pipebell.core.fields import SecretRef, Spec
from pipebell.core.models import RetrySpec, TriggerSpec

_Model = TypeVar("_Model", bound=BaseModel)
_T = TypeVar("_T")

_MOST: Final = 4_096  # values remembered for sharing; beyond, sharing starts anew
_LONGEST: Final = 128  # characters of a string worth remembering
_ALIKE: Final = (TriggerSpec, RetrySpec, SecretRef)  # parts that organisations mostly have alike
_NO_FIELDS: Final[set[str]] = set()
_seen: dict[Any, Any] = {}


def lean(model: _Model) -> _Model:
    """The same model, holding equal strings and equal parts only once in the process.

    What pydantic notes of each instance, which fields were given, is dropped: unset and null mean the same to
    Pipebell. So `model_fields_set` and `exclude_unset` say nothing about such a model.
    """
    object.__setattr__(model, "__pydantic_fields_set__", _NO_FIELDS)
    values = model.__dict__
    for name, value in values.items():
        if value is not None:
            values[name] = _lean_value(value)
    return model


def shared(value: _T) -> _T:
    """The first value seen that equals this one. For immutable values."""
    if len(_seen) >= _MOST:
        _seen.clear()
    found: _T = _seen.setdefault(value, value)
    return found


def _lean_value(value: Any) -> Any:  # noqa: ANN401  (whatever a model holds)
    if type(value) is str:  # not an enum's member, of which there is but one
        return shared(value) if len(value) <= _LONGEST else value
    if isinstance(value, list):
        value[:] = [_lean_value(entry) for entry in value]
        return value
    if isinstance(value, BaseModel):
        lean(value)
        return _shared_part(value) if isinstance(value, _ALIKE) else value
    return value


def _shared_part(part: Spec) -> Spec:
    """Specs are frozen, so one object can stand in many."""
    key = _key(part)
    if len(_seen) >= _MOST:
        _seen.clear()
    found: Spec = _seen.setdefault(key, part)
    return found


def _key(value: Any) -> Any:  # noqa: ANN401  (whatever a model holds)
    """What equal parts have in common, to be looked up by."""
    if isinstance(value, BaseModel):
        return (type(value), *(_key(each) for each in value.__dict__.values()))
    if isinstance(value, list):
        return tuple(_key(each) for each in value)
    if isinstance(value, dict):
        return frozenset((name, _key(each)) for name, each in value.items())
    return value
