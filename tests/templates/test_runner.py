"""What a message says by templates, what stands in for those that fail, and what is said of them when applied."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.core.messages import CASES, make

from pipebell.core.fields import templates
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.render.samples import samples
from pipebell.templates import runner as module
from pipebell.templates.runner import BAN, STRIKES

BOMB = "{{ '{:>999999999}'.format(1) }}"
LOOP = "{% for i in range(9999) %}{% for j in range(99) %}{% endfor %}{% endfor %}"
ON_DEMAND = "{% if event.pipeline == 'boom' %}" + BOMB + "{% endif %}fine"


def config(**blocks):
    return NotificationConfigSpec.model_validate({"orgSlug": "acme", **blocks})


async def said(runner, **blocks):
    return [str(complaint) for complaint in await runner.check(config(**blocks))]


async def test_a_message_gets_the_texts_of_its_destinations_templates(runner):
    sources = {
        "subject_template": "{{ event.pipeline }} is {{ severity }}",
        "html_template": "<p>{{ event.message }}</p>",
    }
    message, failed = await runner.render(make(error_message="<b> & more"), "email", sources)
    assert failed == ""
    assert message.texts == {
        "subject_template": "nightly-orders-load is error",
        "html_template": "<p>&lt;b&gt; &amp; more</p>",
    }


async def test_what_breaks_on_one_events_data_is_replaced_and_said(runner):
    sources = {"text_template": "{{ event.details.rows / event.details.total }}", "subject_template": "ok {{ org }}"}
    message, failed = await runner.render(make(details={"rows": 1, "total": 0}), "email", sources)
    assert message.texts == {"subject_template": "ok acme_corp"}
    assert failed == "textTemplate, line 1: invalid operation: unable to calculate 1 / 0"
    message, failed = await runner.render(make(details={"rows": 1, "total": 2}), "email", sources)
    assert (message.texts["text_template"], failed) == ("0.5", "")


async def test_of_several_templates_the_one_that_has_to_be_stopped_is_found(runner):
    sources = {"subject_template": "ok", "text_template": BOMB}
    message, failed = await runner.render(make(), "email", sources)
    assert message.texts == {"subject_template": "ok"}
    assert failed == "textTemplate needs more than 32 MB"


async def test_what_had_to_be_stopped_rests_and_nobody_else_does(runner, moment):
    boom, other = make(pipeline_id="boom"), make()
    _, failed = await runner.render(boom, "slack", {"text_template": ON_DEMAND})
    assert "needs more" in failed
    _, failed = await runner.render(other, "slack", {"text_template": ON_DEMAND})
    assert failed == "textTemplate rests after it had to be stopped"
    assert (await runner.render(other, "slack", {"text_template": "x"}))[1] == ""
    moment[0] += BAN + 1
    assert (await runner.render(other, "slack", {"text_template": ON_DEMAND}))[1] == ""


async def test_a_namespace_that_goes_on_doing_that_rests_as_a_whole(runner, moment):
    for number in range(STRIKES):
        await runner.render(make(), "slack", {"text_template": f"{number}{BOMB}"})
    _, failed = await runner.render(make(), "slack", {"text_template": "harmless"})
    assert "rests" in failed
    moment[0] += BAN + 1
    assert (await runner.render(make(), "slack", {"text_template": "harmless"}))[1] == ""


async def test_many_at_once_get_each_their_own_answer(runner):
    names = [f"pipeline-{number}" for number in range(30)]
    sources = {"text_template": "{{ event.pipeline }}"}
    told = await asyncio.gather(*(runner.render(make(pipeline_id=name), "jsm", sources) for name in names))
    assert [message.texts["text_template"] for message, _ in told] == names


async def test_a_namespace_with_much_to_run_delays_nobody_else(runner):
    sources = {"text_template": "{% for i in range(900) %}{{ event.message | replace('a', 'aaaa') }}{% endfor %}"}
    many = [asyncio.create_task(runner.render(make(), "jsm", sources)) for _ in range(60)]
    other = make()
    other = replace(other, event=replace(other.event, namespace="quiet"))
    await asyncio.sleep(0)
    message, _ = await runner.render(other, "jsm", {"text_template": "{{ org }}"})
    assert message.texts["text_template"] == "acme_corp"
    assert sum(task.done() for task in many) <= 2
    await asyncio.gather(*many)


async def test_a_process_that_is_gone_is_started_anew(runner):
    sources = {"text_template": "x"}
    await runner.render(make(), "slack", sources)
    first = runner._process
    first.kill()
    await first.wait()
    assert (await runner.render(make(), "slack", sources))[1] == ""
    assert runner._process.pid != first.pid


async def test_where_no_process_can_be_started_the_built_in_text_goes_out(runner, monkeypatch):
    monkeypatch.setattr(module.sys, "executable", "/nowhere/python")
    message, failed = await runner.render(make(), "slack", {"text_template": "x"})
    assert (message.texts, failed) == ({}, "textTemplate templates cannot be run here")
    monkeypatch.undo()
    assert (await runner.render(make(), "slack", {"text_template": "x"}))[1] == ""


async def test_one_who_gives_up_waiting_leaves_no_answer_to_others(runner):
    await runner.render(make(), "slack", {"text_template": "x"})
    task = asyncio.create_task(runner.render(make(), "slack", {"text_template": "given up"}))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await runner.render(make(), "slack", {"text_template": "y"}))[0].texts == {"text_template": "y"}


async def test_roots_variables_do_not_go_into_the_process(runner, monkeypatch):
    monkeypatch.setenv("SMTP_PASSWORD", "hidden-word")
    await runner.render(make(), "slack", {"text_template": "x"})
    seen = Path(f"/proc/{runner._process.pid}/environ").read_bytes()  # noqa: ASYNC240  (no file of a disk)
    assert b"hidden-word" not in seen
    assert os.environ["SMTP_PASSWORD"] == "hidden-word"


async def test_nothing_is_started_while_nobody_has_a_template(runner):
    assert await runner.check(config(email={"toEmails": ["a@example.com"]})) == []
    assert runner._process is None


# ---------------------------------------------------------------------- when applied


@pytest.mark.parametrize(
    ("kind", "field", "source", "complaint"),
    [
        ("email", "textTemplate", "a\n{{ event.pipelin }}", ", line 2: there is no event.pipelin; did you mean"),
        ("email", "textTemplate", "{{ evnt.name }}", ", line 1: there is no evnt; did you mean event?"),
        ("email", "subjectTemplate", "{{ event.name", ", line 1: syntax error: unexpected end of input"),
        ("email", "htmlTemplate", "<b>\n{{ event.message | safe }}", ", line 2: unknown filter: filter safe is"),
        ("email", "htmlTemplate", "{{ event.message | nope }}", ", line 1: unknown filter"),
        ("email", "textTemplate", "x\ny ${SMTP_PASSWORD}", ", line 2: takes no ${SMTP_PASSWORD}"),
        ("email", "textTemplate", "{% if event.test %}x{% endif %}", ": makes an empty text (of pipeline_failure)"),
        ("slack", "blocksTemplate", '[{"type": "x"]', ": makes invalid JSON"),
        ("slack", "blocksTemplate", '{"blocks": []}', ": makes no list of blocks"),
        ("slack", "blocksTemplate", "[]", ": makes no list of blocks"),
        ("slack", "blocksTemplate", '[{"type": "rich_text", "e": [{"type": "broadcast"}]}]', ": mentions somebody"),
        ("teams", "cardTemplate", '{"type": "message"}', ": makes no card"),
        ("teams", "cardTemplate", '{"type": "AdaptiveCard", "body": ["{{ event.x }}"]}', ", line 1: there is"),
        ("webhook", "bodyTemplate", '{"a": {{ event.message }}, }', ": makes invalid JSON"),
        ("pagerduty", "detailsTemplate", "[1]", ": makes no JSON object"),
        ("discord", "textTemplate", BOMB, ": needs more than 32 MB"),
        ("mattermost", "textTemplate", LOOP, ", line 1: engine ran out of fuel"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said_with_field_line_and_reason(runner, kind, field, source, complaint):
    (found,) = await said(runner, **{kind: {field: source}})
    assert found.startswith(f"{kind}.{field}{complaint}")


async def test_a_template_that_breaks_on_some_samples_names_one(runner):
    (found,) = await said(runner, slack={"textTemplate": "{{ event.attempt + 1 }}"})
    assert found.startswith("slack.textTemplate, line 1: ")  # an event that says nothing else has none
    assert await said(runner, slack={"textTemplate": "{{ (event.attempt or 0) + 1 }}"}) == []


async def test_what_authors_put_into_events_themselves_is_taken_for_granted(runner):
    own = "{{ event.details.stats.rows }} {{ event.labels.team }} {{ incident.name }} {{ digest.x }} {{ org.upper() }}"
    assert await said(runner, slack={"textTemplate": own}) == []


async def test_named_destinations_are_checked_and_each_by_its_place(runner):
    named = [{"name": "on-call", "slack": {"textTemplate": "{{ x }}y"}}]
    found = await said(runner, destinations=named, email={"textTemplate": "{{ y }}z"})
    assert [text.partition(",")[0] for text in found] == [
        "email.textTemplate",
        "destinations[on-call].slack.textTemplate",
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_built_in_texts_that_are_shown_to_start_from_can_be_used(runner, kind):
    starters = {name: template.starter for name, template in templates(KINDS[kind].spec).items()}
    assert starters, f"{kind} has no field for a template"
    for sample in samples():
        message, failed = await runner.render(sample.message, kind, starters)
        assert failed == ""
        assert message.texts.keys() == starters.keys()
    for name in CASES:
        assert (await runner.render(make(**CASES[name]), kind, starters))[1] == ""


async def test_samples_are_of_every_type_and_every_notice_that_templates_are_asked_for(runner):
    from pipebell.core.render.context import takes_templates  # noqa: PLC0415  (of this test alone)
    from pipebell.core.vocabulary import EventType, NoticeKind  # noqa: PLC0415

    told = [sample.message for sample in samples()]
    assert {message.event.spec.event for message in told} == set(EventType)
    notices = {message.event.spec.notice.kind for message in told if message.event.spec.notice}
    assert notices == {kind for kind in NoticeKind if kind not in ("Digest", "Storm", "CatchUp")}
    assert all(map(takes_templates, told))
    assert len({sample.name for sample in samples()}) == len(samples())
    json.dumps([sample.name for sample in samples()])


async def test_a_configuration_of_many_that_have_to_be_stopped_is_given_up_early(runner):
    named = [{"name": f"d{number}", "slack": {"textTemplate": BOMB}} for number in range(6)]
    found = await said(runner, destinations=named)
    assert ["needs more" in text for text in found] == [True] * 3 + [False] * 3
    assert all("was not tried" in text for text in found[3:])
