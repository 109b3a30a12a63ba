"""Without its product each integration can still be imported, and says what is missing when it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pythons import interpreter

import pipebell

MODULES = [
    "airflow", "airflow.callbacks", "airflow.provider", "airflow.settings", "airflow.states",
    "dagster", "dagster.events", "dbt", "events", "prefect", "prefect.hooks",
]  # fmt: skip
NAMES = [
    ("airflow", "PipebellNotifier", "apache-airflow>=2.10"),
    ("airflow", "PipebellPlugin", "apache-airflow>=2.10"),
    ("dagster", "pipebell_sensors", "dagster>=1.8"),
    ("dagster", "PipebellResource", "dagster>=1.8"),
    ("prefect", "PipebellNotification", "prefect>=3"),
]
# As in an environment where neither the products nor what the operator needs are installed.
BARE = """
import sys
MISSING = "airflow aiohttp click dagster httpx kubernetes prefect pydantic rich sqlalchemy tenacity yaml".split()
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nothing())
"""


def python(script, version=None):
    environ = os.environ | {"PYTHONPATH": str(Path(pipebell.__file__).parents[1])}
    return subprocess.run(
        [interpreter(version) if version else sys.executable, "-c", BARE + script],
        env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_every_module_is_imported_by_the_oldest_python():
    done = python("".join(f"import pipebell.integrations.{module}\n" for module in MODULES), "3.10")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_imported_by_the_standard_library_alone(module):
    done = python(f"import pipebell.integrations.{module}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("module", "name", "package"), NAMES)
def test_what_needs_a_product_says_which(module, name, package):
    done = python(f"from pipebell.integrations.{module} import {name}")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        f"ImportError: pipebell.integrations.{module}.{name} needs {package}, which is not installed: "
        f"pip install '{package}'"
    )


def test_a_name_that_is_none_is_no_missing_product():
    done = python("import pipebell.integrations.airflow as a; a.PipebellNotifer")
    assert (
        done.stderr.strip().splitlines()[-1].startswith("AttributeError: module 'pipebell.integrations.airflow' has no")
    )
