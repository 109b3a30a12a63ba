"""The real products in environments of their own; skipped unless `make test-integrations` asks for them."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from tests.integrations.api import Api
from tests.integrations.environments import PRODUCTS, build_wheel, environment

DOCS = Path(__file__).parents[2] / "docs" / "integrations"
ASKED = os.environ.get("PIPEBELL_INTEGRATIONS", "")


@pytest.fixture(scope="session")
def product(tmp_path_factory):
    """The environment of a product, with this checkout's wheel installed."""
    if not ASKED:
        pytest.skip("needs the real product in an environment of its own: make test-integrations")
    made = {}

    def product(name):
        if ASKED != "all" and name not in ASKED.split(","):
            pytest.skip(f"PIPEBELL_INTEGRATIONS={ASKED} leaves {name} out")
        if name not in made:
            if "wheel" not in made:
                made["wheel"] = build_wheel(tmp_path_factory.mktemp("wheel"))
            made[name] = environment(name, made["wheel"])
        return made[name]

    return product


@pytest.fixture(scope="module")
def api():
    """An API server that does not answer yet."""
    api = Api()
    yield api
    api.close()


@pytest.fixture(scope="module")
def kubeconfig(api, tmp_path_factory):
    path = tmp_path_factory.mktemp("kube") / "config"
    path.write_text(api.kubeconfig())
    return path


def wait_for(condition, seconds, what):
    """Poll until `condition` gives something true; how long a machine may take is no part of any assertion."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come within {seconds} s: {value!r}")
        time.sleep(0.25)
    return value


def table(page: str, heading: str) -> dict[str, dict[str, str]]:
    """The first table below a heading of a docs page, by its first column."""
    text = (DOCS / page).read_text().split(f"## {heading}\n", 1)[1]
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in re.search(r"(?:^\|.*\n)+", text, re.MULTILINE).group().splitlines()
    ]
    head, _, *body = rows
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in body}


__all__ = ["PRODUCTS", "table", "wait_for"]
