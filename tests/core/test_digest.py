"""What a digest holds: everything counted, the most important lines, never more than so much."""

import json
import random

from hypothesis import given
from hypothesis import strategies as st
from tests.core.messages import Raw, digest_content, make, member

from pipebell.core.digest import ERROR_LIMIT, LARGEST, MOST_PIPELINES, Tally, member_of, parse
from pipebell.core.vocabulary import Severity


def test_counts_and_ends():
    members = [
        member(1, severity=Severity.WARNING, event="data_quality_warning", error="early"),
        member(2, error="first"),
        member(3, pipeline="billing", severity=Severity.CRITICAL, error="worst"),
        member(4, error="last"),
        member(5, event="pipeline_success", severity=Severity.INFO),
    ]
    told = parse(digest_content(members))
    assert (told.total, told.pipelines, told.omitted) == (5, 2, 0)
    assert told.severities == {Severity.CRITICAL: 1, Severity.ERROR: 2, Severity.WARNING: 1, Severity.INFO: 1}
    assert (told.first.error, told.last.error) == ("first", "last")
    assert [(group.pipeline, group.total) for group in told.groups] == [("billing", 1), ("nightly-orders-load", 4)]
    assert [line.name for line in told.groups[1].lines] == ["acme-1", "acme-2", "acme-4", "acme-5"]


def test_without_errors_the_ends_are_of_what_is_no_good_news():
    warning = {"severity": Severity.WARNING, "event": "data_quality_warning"}
    members = [member(1, event="pipeline_success", severity=Severity.INFO), member(2, **warning), member(3, **warning)]
    told = parse(digest_content(members))
    assert (told.first.name, told.last.name) == ("acme-2", "acme-3")
    assert parse(digest_content(members[:1])).first is None


def test_beyond_max_items_the_most_severe_and_earliest_have_lines_and_all_are_counted():
    members = [member(number) for number in range(200)] + [member(500, severity=Severity.CRITICAL, pipeline="x")]
    told = parse(digest_content(members, max_items=3))
    assert [line.name for group in told.groups for line in group.lines] == ["acme-500", "acme-0", "acme-1"]
    assert (told.total, told.omitted) == (201, 198)
    assert sum(group.total for group in told.groups) == 201


@given(st.randoms(use_true_random=False))
def test_the_order_in_which_members_come_is_of_no_account(shuffle: random.Random):
    members = [
        member(number, pipeline=f"p{number % 4}", severity=list(Severity)[number % 4], at=1000.0 + number % 7)
        for number in range(40)
    ]
    expected = digest_content(members, max_items=7)
    shuffle.shuffle(members)
    assert digest_content(members, max_items=7) == expected


def test_its_size_is_bounded_whatever_the_texts_are():
    wide = "\U0001f600" * 4000
    event = make(error_message=wide, pipeline_id="é" * 512, pipeline_logging_id='"' * 512).event
    members = [member_of(event, Severity.ERROR)] * 2000
    content = digest_content(members, max_items=500)
    assert len(json.dumps(content, ensure_ascii=False).encode()) <= LARGEST * 1.1  # its commas have spaces
    told = parse(content)
    assert told.total == 2000
    assert 10 < 2000 - told.omitted < 500
    assert all(len(line.error) <= ERROR_LIMIT for group in told.groups for line in group.lines)


def test_what_a_tally_keeps_is_bounded():
    tally = Tally(10)
    for number in range(MOST_PIPELINES + 50):
        tally.add(member(number, pipeline=f"p{number}"))
    told = parse(tally.content(max_items=10))
    assert (told.total, told.pipelines) == (MOST_PIPELINES + 50, MOST_PIPELINES)
    assert (tally.oldest.name, tally.worst.name) == ("acme-0", "acme-0")


def test_organisations_are_named_where_there_are_several():
    assert parse(digest_content([member(1)])).groups[0].org is None
    told = parse(digest_content([member(1), member(2, org="globex")]))
    assert [group.org for group in told.groups] == ["acme_corp", "globex"]


def test_texts_are_clean_and_errors_clipped_visibly():
    event = make(error_message=Raw("\x1b[31mred\x00\ud800" + "x" * 1000), pipeline_id=Raw("a\r\nb")).event
    made = member_of(event, Severity.ERROR)
    assert made.error.startswith("red")
    assert made.error.endswith(" …")
    assert len(made.error) == ERROR_LIMIT
    made.error.encode()
    assert made.pipeline == "a b"


def test_another_content_is_no_digest():
    for content in (None, {}, {"groups": 3}, {"title": 1, "groups": []}, {"groups": [{"lines": "x"}]}, [], "x"):
        assert parse(content) is None
