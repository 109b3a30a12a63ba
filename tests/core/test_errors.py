"""The tree of exceptions, which `core/errors.py` draws whole."""

import ast
from pathlib import Path

from pipebell.core import errors

PACKAGE = Path(errors.__file__).parents[1]


def raised():
    """Parent of each class below PipebellError, wherever it stands in the package."""
    classes = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes += [(node.name, base.id) for base in node.bases if isinstance(base, ast.Name)]
    found = {"PipebellError": ""}
    while more := {name: parent for name, parent in classes if parent in found and name not in found}:
        found |= more
    return {name: parent for name, parent in found.items() if parent}


def drawn():
    """The same by the docstring: the nearest line above that is one step further out is the parent."""
    above, parents = {}, {}
    for line in errors.__doc__.splitlines():
        if line.startswith("- "):
            depth = line.count("- ", 0, len(line) - len(line.lstrip("- ")))
            above[depth] = line.lstrip("- ").partition(":")[0]
            parents[above[depth]] = above.get(depth - 1)
    return parents


def test_the_tree_is_drawn_whole():
    tree = drawn()
    assert tree.pop("PipebellError") is None
    assert tree == raised()
