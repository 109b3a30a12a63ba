"""What templates may look at: everything that a message says, in both spellings, and nothing else."""

import json
from dataclasses import replace

import pytest
from tests.core.messages import CASES, make

from pipebell.core.event import Notice, PipelineEventSpec
from pipebell.core.render.context import context, takes_templates, unknown_names
from pipebell.core.render.samples import samples
from pipebell.core.status import IncidentRecord
from pipebell.core.vocabulary import IncidentAction, NoticeKind


@pytest.mark.parametrize("case", CASES)
def test_it_is_json_and_its_texts_are_clean(case):
    text = json.dumps(context(make(**CASES[case])), ensure_ascii=False)
    for sign in ("\\u0000", "\u202e", "\u200b", "\\u001b"):
        assert sign not in text


def test_the_specs_own_names_are_known_in_both_spellings():
    event = context(make())["event"]
    for name, info in PipelineEventSpec.model_fields.items():
        if name not in ("org_slug", "ttl_seconds_after_finished", "traceparent", "replay_of", "source", "notice"):
            assert name in event, name
            assert (info.alias or name) in event, info.alias
    assert event["pipelineId"] == event["pipeline_id"] == event["pipeline"] == "nightly-orders-load"
    assert event["details"]["tables"] == ["orders", "order_items"]


def test_every_sample_has_the_same_names():
    names = {frozenset(context(sample.message)["event"]) for sample in samples()}
    assert len(names) == 1


def test_an_incident_is_what_the_event_did_to_it_or_what_a_notice_tells_of_it():
    assert context(make())["incident"] is None
    record = IncidentRecord(name="i", action=IncidentAction.WORSENED, failures=3)
    known = context(replace(make(), incident=record, note="3 times"))["incident"]
    assert (known["name"], known["action"], known["failures"], known["note"]) == ("i", "Worsened", 3, "3 times")
    reminded = make(notice={"kind": "Reminder", "incident": "i", "step": 2, "content": {"failures": 9}})
    told = context(reminded)["incident"]
    assert (told["action"], told["step"], told["failures"]) == ("Reminder", 2, 9)
    assert told.keys() == known.keys()


@pytest.mark.parametrize("kind", NoticeKind)
def test_digests_have_the_built_in_text(kind):
    message = make(notice=Notice(kind=kind).model_dump(by_alias=True, exclude_none=True))
    assert takes_templates(message) is (kind not in ("Digest", "Storm", "CatchUp"))


def test_names_that_nothing_has_are_told_with_what_is_like_them():
    example = context(make())
    assert unknown_names(["event.name", "event.details.any.thing", "range", "loop.index", "org.upper"], example) == []
    (found,) = unknown_names(["event.pipelne"], example)
    assert found == ("pipelne", "there is no event.pipelne; did you mean event.pipeline?")
    assert unknown_names(["zzzz"], example)[0][1].startswith("there is no zzzz; there are: digest, event, incident")


def test_no_setting_is_part_of_it():
    assert set(context(make())) == {"event", "org", "severity", "incident", "digest", "suppressed", "links"}
