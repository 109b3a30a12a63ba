"""Names that need a product which may not be installed: imported when asked for, with an error that says what to do."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def names(module: str, product: str, package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's `__getattr__`: `homes` says which module each public name comes from.

    Raises ImportError, which names the package to install, when the product `product` is missing.
    """

    def find(name: str) -> Any:  # noqa: ANN401  (any of the public names)
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        try:
            return getattr(import_module(homes[name]), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != product:
                raise
            raise ImportError(
                f"{module}.{name} needs {package}, which is not installed: pip install '{package}'"
            ) from None

    return find
