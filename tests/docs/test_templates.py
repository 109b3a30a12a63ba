"""The examples of docs/templates.md work, and what it says of limits and names is so."""

import asyncio
import re
import textwrap
from pathlib import Path

import pytest
from pydantic.alias_generators import to_camel

from pipebell.core import template
from pipebell.core.fields import templates
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.render.context import context
from pipebell.core.render.samples import samples
from pipebell.templates import worker
from pipebell.templates.runner import BAN, TemplateRunner

PAGE = (Path(__file__).parents[2] / "docs" / "templates.md").read_text(encoding="utf-8")
EXAMPLES = [
    (place, textwrap.dedent(text)) for place, text in re.findall(r"```jinja (\S+)\n(.*?)\n *```", PAGE, re.DOTALL)
]


def test_there_are_ten_of_them():
    assert len(EXAMPLES) == 10


@pytest.mark.parametrize(("place", "text"), EXAMPLES, ids=[place for place, _ in EXAMPLES])
def test_each_example_can_be_used_for_every_sample(place, text):
    kind, _, field = place.partition(".")
    name = next(name for name in templates(KINDS[kind].spec) if name.replace("_", "") == field.lower())
    spec = NotificationConfigSpec.model_validate({"orgSlug": "acme", kind: {field: text}})

    async def work():
        runner = TemplateRunner(lambda: 0.0)
        try:
            wrong = await runner.check(spec)
            return wrong, [await runner.render(sample.message, kind, {name: text}) for sample in samples()]
        finally:
            await runner.close()

    wrong, made = asyncio.run(work())
    assert [str(each) for each in wrong] == []
    for message, failed in made:
        assert (failed, list(message.texts)) == ("", [name])


def test_every_kind_is_named_with_its_fields():
    for kind, known in KINDS.items():
        names = [to_camel(name) for name in templates(known.spec)]
        missing = [name for name in (kind, *names) if names and f"`{name}`" not in PAGE]
        assert not missing, f"docs/templates.md: name {kind} and its templates ({', '.join(missing)} missing)"


def test_names_and_limits_are_those_of_the_code():
    names = context(samples()[0].message)
    for name in names:
        assert f"`{name}`" in PAGE
    row = next(line for line in PAGE.splitlines() if line.startswith("| `event`"))
    for name in re.findall(r"`(\w+)`", row):
        assert name in names["event"] or name == "event", name
    for number in (f"{worker.FUEL:,} steps", f"{worker.CPU * 1000:.0f} ms", f"{worker.MEMORY >> 20} MB"):
        assert number in PAGE
    assert f"{template.MOST:,} characters" in PAGE
    assert (template.LONGEST, template.ALL_TOGETHER, BAN) == (8 << 10, 128 << 10, 300)
