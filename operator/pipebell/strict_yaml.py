"""YAML as people write it, read strictly, with errors that say where and never what: a line may hold a password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

from pipebell.core.bounds import twice

if TYPE_CHECKING:
    from collections.abc import Hashable

# What PyYAML says without quoting the text. Its other messages name aliases, tags and characters that stand there.
_SAFE_TO_SAY: Final = frozenset(
    {
        "could not find expected ':'",
        "did not find expected <document start>",
        "expected a mapping or list of mappings for merging, but found scalar",
        "expected the node content, but found '<stream end>'",
        "found a tab character where an indentation space is expected",
        "found character '\\t' that cannot start any token",
        "found unexpected document separator",
        "found unexpected end of stream",
        "found unhashable key",
        "mapping keys are not allowed here",
        "mapping values are not allowed here",
        "sequence entries are not allowed here",
    }
)


MOST: Final = 500_000  # values that a text may stand for, each alias counted as what it repeats


class _TooLarge(ValueError):  # noqa: N818  (as the one below)
    """A few lines of aliases stand for more than anybody reads, or for themselves."""

    def __init__(self) -> None:
        super().__init__("is not usable: its aliases (*) stand for too much; write out what is meant")


class DuplicateNames(ValueError):  # noqa: N818  (it names the mapping's state)
    """A mapping names something twice. `names` are those, `line` is where the mapping begins (from 1)."""

    def __init__(self, names: list[str], line: int) -> None:
        super().__init__(f"names twice: {', '.join(names)} (in what begins at line {line})")
        self.names, self.line = names, line


class _Loader(yaml.SafeLoader):
    """Safe, and strict about names that stand there twice, as `kubectl apply` is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping. Raises DuplicateNames."""
        if isinstance(node, yaml.MappingNode):  # a tag such as !!set promises one, and the base class complains
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
            if len(set(names)) != len(names):
                raise DuplicateNames(twice(names), node.start_mark.line + 1)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge what `<<` names; of the same name, what counts alone is kept, or ten merged tenfold are 10^10."""
        super().flatten_mapping(node)
        kept = {
            (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key): (key, value)
            for key, value in node.value
        }
        if len(kept) < len(node.value):
            node.value = list(kept.values())


def load_all(text: str) -> list[Any]:
    """All documents that are not empty; a byte order mark is no part of them.

    Raises ValueError (DuplicateNames is one) that names the place, and nothing that stands there but names.
    """
    line, found = 1, []
    try:
        loader: Any = _Loader(text.removeprefix("\ufeff"))
        try:
            while loader.check_data():
                found.append(loader.get_data())
        finally:
            line = loader.get_mark().line + 1
            loader.dispose()
        if "&" in text:
            _check_size(found)
    except (DuplicateNames, _TooLarge):
        raise
    except yaml.MarkedYAMLError as error:
        raise ValueError(_said(error)) from None
    except yaml.YAMLError:
        raise ValueError("is not valid YAML: it holds a character that YAML does not allow") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except Exception:  # noqa: BLE001  (PyYAML's constructors let int(), float() and others fail, with the value quoted)
        raise ValueError(f"is not valid YAML: a value up to line {line} is not what it looks like") from None
    return [document for document in found if document is not None]


def load_one(text: str) -> Any:  # noqa: ANN401  (whatever the document is)
    """The only document of a text; None when it is empty. Raises ValueError, also for several documents."""
    found = load_all(text)
    if len(found) > 1:
        raise ValueError(f"is {len(found)} YAML documents; only one is expected")
    return found[0] if found else None


def _check_size(value: Any) -> None:  # noqa: ANN401  (whatever YAML can say)
    """Raises _TooLarge."""
    known: dict[int, int] = {}

    def size(item: Any) -> int:  # noqa: ANN401
        if not isinstance(item, (dict, list, tuple, set)):
            return 1
        if id(item) not in known:
            known[id(item)] = MOST + 1  # it is too large if it is a part of itself
            parts = (*item, *item.values()) if isinstance(item, dict) else item
            known[id(item)] = 1 + sum(map(size, parts))
            if known[id(item)] > MOST:
                raise _TooLarge
        return known[id(item)]

    if size(value) > MOST:
        raise _TooLarge


def _said(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    what = f": {error.problem}" if error.problem in _SAFE_TO_SAY else ""
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return f"is not valid YAML{what}{where}"
