"""Somebody who types what a page says, one block after the other, with stand-ins for its placeholders."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from tests.docs.blocks import PAGES, ROOT, SHELL, blocks

from pipebell.cluster import tools

_RUN_PYTHON = Path(__file__).with_name("snippet.py")
_PARTS = ("charts", "configs", "crds", "manifests")  # what pages name by paths of the checkout
_SECONDS = 500.0


@dataclass(frozen=True)
class Page:
    """How a page is typed.

    `stand_ins` are put for its placeholders. `prelude` is typed first; `before` maps words of a block to what is typed
    before that block, and `after` is typed last. `files` maps words of a YAML block to the file that the page calls it;
    other objects of ours are given to the API server by `--dry-run=server`. `names` is Python that goes before the
    page's Python. `shows` is what must be printed. `namespace` is the context's; "" for one that is made for the page.
    """

    stand_ins: dict[str, str] = field(default_factory=dict)
    prelude: str = ""
    before: dict[str, str] = field(default_factory=dict)
    after: str = ""
    files: dict[str, str] = field(default_factory=dict)
    names: str = ""
    shows: tuple[str, ...] = ()


class Reader:
    """Types pages against one cluster. `env` is added to what a shell has anyway."""

    def __init__(self, folder, cluster, env=None):
        self.folder, self.cluster = folder, cluster
        programs = folder / "programs"
        programs.mkdir()
        for name, program in (("kubectl", tools.kubectl()), ("helm", tools.helm())):
            (programs / name).symlink_to(program)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIPEBELL_", "KUBE", "HELM"))}
        self.env = kept | {
            "PATH": os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"])),
            "HOME": str(folder),
            "COLUMNS": "200",
            "XDG_STATE_HOME": str(folder / "state"),
            **{key: str(value) for key, value in (env or {}).items()},
        }

    def type(self, name, page, namespace):
        """Type the page's blocks into one shell, in a folder of its own; what was printed."""
        place = self.folder / namespace
        place.mkdir()
        for part in _PARTS:
            shutil.copytree(ROOT / part, place / part)
        kubeconfig = place / "kubeconfig"
        kubeconfig.write_bytes(Path(self.cluster.kubeconfig).read_bytes())
        lines = ["set -euo pipefail", f"kubectl config set-context --current --namespace={namespace}", page.prelude]
        used = set()
        for number, block in enumerate(blocks(PAGES[name].read_text(encoding="utf-8"))):
            if block.why_not or (name == "README.md" and block.language in SHELL):
                continue
            text = _stood_in(block.text, page.stand_ins)
            for words, command in page.before.items():
                if words in block.text and words not in used:
                    used.add(words)
                    lines.append(command)
            lines += _typed(block.language, text, page, place / f"block-{number}")
        assert used == set(page.before), f"{name} has no block with {set(page.before) - used}"
        script = "\n".join((*lines, page.after))
        done = subprocess.run(
            ["bash", "-c", script], cwd=place, env=self.env | {"KUBECONFIG": str(kubeconfig)}, capture_output=True,
            text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n\n{done.stdout}\n{done.stderr}"
        for words in page.shows:
            assert words in done.stdout, f"{words!r} is not in\n{done.stdout}\n{done.stderr}"
        return done.stdout


def _stood_in(text, stand_ins):
    for placeholder, value in stand_ins.items():
        text = text.replace(placeholder, value)
    return text


def _typed(language, text, page, path):
    """What is typed for a block; nothing for one that is read only."""
    if language == "console":
        command, _, said = text.removeprefix("$ ").partition("\n")
        return [f"said=$({command} 2>&1 || true)", _compared(said)]
    if language in SHELL:
        return [text]
    if language == "python":
        path.write_text(f"{page.names}\n{text}\n", encoding="utf-8")
        return [f"python {shlex.quote(str(_RUN_PYTHON))} {shlex.quote(str(path))}"]
    if language == "yaml":
        return _given(text, page, path)
    return []


def _given(text, page, path):
    for words, name in page.files.items():
        if words in text:
            target = path.parent / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            return []
    documents = [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    if not any(str(document.get("apiVersion")).startswith(("pipebell.io/", "v1")) for document in documents):
        return []  # a part of an object: tests/cli/test_docs.py judges those of ours
    path.write_text(text, encoding="utf-8")
    verb = "create" if any("generateName" in (document.get("metadata") or {}) for document in documents) else "apply"
    return [f"kubectl {verb} --dry-run=server -f {shlex.quote(str(path))}"]


def _compared(said):
    """That a command said this, whatever the line ends, and `…` being anything."""
    pattern = r".*".join(re.escape(" ".join(part.split())) for part in said.split("…"))
    check = f"import re, sys; sys.exit(not re.fullmatch({pattern!r}, ' '.join(sys.argv[1].split()), re.DOTALL))"
    return f'python -c {shlex.quote(check)} "$said" || {{ echo "it said: $said" >&2; false; }}'
