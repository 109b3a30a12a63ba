"""One runner for every file here, with time moved by hand."""

import pytest

from pipebell.templates.runner import TemplateRunner


@pytest.fixture
def moment():
    """Seconds, in a list of one."""
    return [1000.0]


@pytest.fixture
async def runner(moment):
    made = TemplateRunner(lambda: moment[0])
    yield made
    await made.close()
