from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipebell.core.render.email import email_content
from pipebell.core.vocabulary import Severity

PREFIX = "[CloudAct]"
HOSTILE = [
    "<",
    ">",
    "&",
    '"',
    "'",
    "</script>",
    "</pre>",
    "<b>",
    "{{ 7*7 }}",
    "{% x %}",
    "\r",
    "\n",
    "\x00",
    "\x1b[31m",
    "\ud800",
    "\u2028",
    "\u202e",
    "😀",
    "خطأ",
]
hostile_text = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=20), max_size=60).map("".join)
VOID = {"meta", "br", "img"}


class Tags(HTMLParser):
    """Start tags in order; fails on what is not closed in order."""

    def __init__(self):
        super().__init__()
        self.seen, self.open, self.text, self.comments = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, tuple(name for name, _ in attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def handle_comment(self, data):
        self.comments.append(data)


def parsed(html):
    parser = Tags()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@settings(deadline=None, max_examples=150)
@given(pipeline=hostile_text, run=hostile_text, message=hostile_text, detail=hostile_text, title=hostile_text)
def test_hostile_text_adds_no_tag_and_no_header(notify, raw, pipeline, run, message, detail, title):
    def content(pipeline, run, message, detail, title):
        made = notify(
            pipeline_id=raw("p" + pipeline),
            pipeline_logging_id=raw("r" + run),
            error_message=raw("m" + message),
            details={detail: [detail]},
        )
        link = made.event.spec.links[0].model_copy(update={"title": title, "url": "https://x/" + detail})
        object.__setattr__(made.event.spec, "links", [link])
        return email_content(made, PREFIX)

    hostile, tame = content(pipeline, run, message, detail, title), content("", "", "", "", "")
    assert parsed(hostile.html).seen == parsed(tame.html).seen
    assert parsed(hostile.html).comments == parsed(tame.html).comments
    assert hostile.subject.isprintable() or "\n" not in hostile.subject
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in hostile.subject)
    assert len(hostile.subject) <= 250
    assert "\x00" not in hostile.html + hostile.text
    (hostile.subject + hostile.text + hostile.html).encode()


def test_nothing_is_loaded_from_anywhere(notify):
    html = email_content(notify(links=None), PREFIX).html
    assert "http" not in html
    assert not {"img", "script", "link", "iframe"} & {tag for tag, _ in parsed(html).seen}


def test_the_longest_message_is_there_to_its_end(notify):
    content = email_content(notify(error_message="x" * 32_763 + "<end>"), PREFIX)
    assert "&lt;end&gt;" in content.html
    assert "<end>" in content.text


def test_details_are_shown_up_to_16_kib(notify):
    content = email_content(notify(details={"k": "x" * 16_000}), PREFIX)
    assert "cut off" not in content.text
    content = email_content(notify(details={"k": "é" * 200_000}), PREFIX)
    assert "cut off" in content.text
    assert "cut off" in content.html
    assert 16_000 < content.text.count("é") * 2 <= 16_384


class Awkward:
    def __str__(self):
        raise RuntimeError


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"k": value}
    return value


CIRCULAR: dict = {}
CIRCULAR["self"] = CIRCULAR


@pytest.mark.parametrize(
    "details",
    [
        {"k": float("nan"), "i": float("-inf")},
        {"k": 10**5000},
        {"k": {1, 2}},
        {"k": b"\xff"},
        {"k": Awkward()},
        {"k": {("a", "b"): 1, 2: 3}},
        {"k": "\ud800\x00\u202e"},
        nested(5_000),
        {"first": "shown", "then": CIRCULAR},
    ],
    ids=lambda details: str(type(next(iter(details.values()))).__name__),
)
def test_odd_details_never_fail(notify, details):
    made = notify()
    object.__setattr__(made.event.spec, "details", details)
    content = email_content(made, PREFIX)
    assert "Details" in content.text
    content.text.encode()
    parsed(content.html)


def test_subject_says_what_and_who_within_its_length(notify):
    content = email_content(notify(Severity.CRITICAL), PREFIX)
    assert content.subject == "[CloudAct] CRITICAL: Pipeline failed: nightly-orders-load (acme_corp)"
    long = email_content(notify(test=True, replay_of={"name": "x"}, pipeline_id="p" * 512, org_slug="o" * 63), PREFIX)
    assert long.subject.startswith("[CloudAct] [TEST] [REPLAY] ERROR: Pipeline failed: ppp")
    assert long.subject.endswith(f"… ({'o' * 63})")


def test_without_pipeline_and_prefix(notify):
    assert email_content(notify(pipeline_id=None)).subject == "ERROR: Pipeline failed (acme_corp)"


@pytest.mark.parametrize(("suppressed", "note"), [(1, "1 similar event was held"), (49, "49 similar events were held")])
def test_what_was_held_back_is_told(notify, suppressed, note):
    content = email_content(notify(suppressed=suppressed), PREFIX)
    assert note in content.text
    assert note in content.html


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z"])
def test_odd_times_never_fail(notify, moment):
    assert "When" in email_content(notify(occurred_at=moment), PREFIX).text
