import asyncio
import time

import httpx
import pytest

from pipebell.sinks import DROP, HANG, KEEP_AND_DROP, Respond, SlackSink, Trust, by_path, read, redirect, too_many


@pytest.fixture(scope="module")
def trust(tmp_path_factory):
    return Trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture
async def sink(trust):
    async with SlackSink(trust=trust) as serving:
        yield serving


@pytest.fixture
async def http(trust):
    async with httpx.AsyncClient(verify=trust.client(), timeout=5.0, trust_env=False) as client:
        yield client


HELLO = {"text": "hello"}


async def test_it_says_ok_and_keeps_what_arrived(sink, http):
    before = time.time()
    answer = await http.post(sink.webhook("A"), json={"text": "Grüße 🎉"}, headers={"X-Pipebell-Delivery": "7"})
    assert (answer.status_code, answer.text) == (200, "ok")
    (post,) = sink.posts
    assert post.payload == {"text": "Grüße 🎉"}
    assert post.headers["x-pipebell-delivery"] == "7"
    assert post.path == "/services/T00000000/B00000000/A"
    assert before <= post.time <= time.time()


async def test_planned_answers_come_once_each_and_in_order(sink, http):
    sink.plan(500, too_many(3), 404, 403, 410, None, Respond(400, "invalid_blocks"), redirect("https://example.com/"))
    answers = [await http.post(sink.webhook(), json=HELLO) for _ in range(9)]
    assert [(answer.status_code, answer.text) for answer in answers] == [
        (500, "rollup_error"),
        (429, "rate_limited"),
        (404, "no_service"),
        (403, "action_prohibited"),
        (410, "channel_is_archived"),
        (200, "ok"),
        (400, "invalid_blocks"),
        (302, ""),
        (200, "ok"),
    ]
    assert answers[1].headers["Retry-After"] == "3"
    assert answers[7].headers["Location"] == "https://example.com/"
    assert [post.status for post in sink.requests] == [answer.status_code for answer in answers]
    assert len(sink.posts) == 2


async def test_each_webhook_has_its_own_answers(sink, http):
    sink.plan(404, path=sink.webhook("gone"))
    sink.plan(500)
    statuses = {name: (await http.post(sink.webhook(name), json=HELLO)).status_code for name in ("gone", "a", "b")}
    assert statuses == {"gone": 404, "a": 500, "b": 200}
    assert {path.rpartition("/")[2]: len(posts) for path, posts in by_path(sink.requests).items()} == {
        "gone": 1,
        "a": 1,
        "b": 1,
    }


async def test_a_function_may_decide(sink, http):
    sink.script().always = lambda post: Respond(500, "") if post.payload["text"] == "bad" else None
    assert (await http.post(sink.webhook(), json=HELLO)).status_code == 200
    assert (await http.post(sink.webhook(), json={"text": "bad"})).status_code == 500


@pytest.mark.parametrize(("cut", "taken"), [(DROP, 0), (KEEP_AND_DROP, 1)])
async def test_a_connection_cut_instead_of_an_answer(sink, http, cut, taken):
    sink.plan(cut)
    with pytest.raises(httpx.TransportError):
        await http.post(sink.webhook(), json=HELLO)
    assert len(sink.requests) == 1
    assert len(sink.posts) == taken
    assert (await http.post(sink.webhook(), json=HELLO)).status_code == 200


async def test_one_that_hangs_until_the_client_has_had_enough(sink, http):
    sink.plan(HANG)
    with pytest.raises(httpx.ReadTimeout):
        await http.post(sink.webhook(), json=HELLO, timeout=0.1)
    assert sink.posts == []


async def test_a_late_answer_holds_up_nobody_else(sink, http):
    sink.plan(Respond(wait=2.0))
    slow = asyncio.create_task(http.post(sink.webhook(), json=HELLO))
    await sink.journal.arrived(1, refused=True)
    await asyncio.wait_for(http.post(sink.webhook(), json=HELLO), 1.5)
    assert not slow.done()
    assert (await slow).status_code == 200


SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "x"}}


@pytest.mark.parametrize(
    ("payload", "complaint"),
    [
        ([], "invalid_payload"),
        ({}, "no_text"),
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"attachments": [{}] * 101}, "too_many_attachments"),
        ({"blocks": [SECTION] * 51}, "invalid_blocks"),
        ({"attachments": [{"blocks": [SECTION] * 51}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2001}]}]}, "invalid_blocks"),
        ({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}]}, "invalid_blocks"),
        ({"blocks": [{"type": "context", "elements": [{"type": "mrkdwn", "text": ""}]}]}, "invalid_blocks"),
        ({"blocks": [{"type": "nonsense"}]}, "invalid_blocks"),
    ],
)
async def test_it_refuses_what_slack_refuses(sink, http, payload, complaint):
    answer = await http.post(sink.webhook(), json=payload)
    assert (answer.status_code, answer.text) == (400, complaint)


@pytest.mark.parametrize(
    "payload",
    [
        {"text": "x" * 40_000},
        {"blocks": [{"type": "divider"}, SECTION]},
        {"attachments": [{"blocks": [SECTION] * 50}] * 2},
        {"blocks": [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2000}] * 10}]},
        {"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 150}}]},
    ],
)
async def test_it_takes_what_slack_takes(sink, http, payload):
    assert (await http.post(sink.webhook(), json=payload)).text == "ok"


async def test_other_requests_are_no_messages(sink, http):
    assert (await http.post(sink.webhook(), content=b"{")).text == "invalid_payload"
    assert (await http.get(sink.webhook())).status_code == 400
    assert (await http.post(sink.url + "/elsewhere", json=HELLO)).text == "no_team"
    assert sink.posts == []


async def test_who_does_not_trust_its_authority_does_not_get_in(sink, http):
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient(trust_env=False) as stranger:
            await stranger.post(sink.webhook(), json=HELLO)
    assert (await http.post(sink.webhook(), json=HELLO)).text == "ok"


async def test_a_certificate_for_another_name(trust, http):
    async with SlackSink(trust=trust, names=["hooks.slack.com"]) as sink:
        with pytest.raises(httpx.ConnectError, match="mismatch"):
            await http.post(sink.webhook(), json=HELLO)


async def test_stopped_it_refuses_and_started_again_it_goes_on(sink, http):
    sink.plan(500)
    await sink.stop()
    await sink.stop()
    with pytest.raises(httpx.ConnectError):
        await http.post(sink.webhook(), json=HELLO)
    await sink.start()
    assert (await http.post(sink.webhook(), json=HELLO)).status_code == 500
    assert (await http.post(sink.webhook(), json=HELLO)).status_code == 200


async def test_connections_are_counted(sink, http):
    await asyncio.gather(*(http.post(sink.webhook(), json=HELLO) for _ in range(3)))
    for _ in range(3):
        await http.post(sink.webhook(), json=HELLO)
    assert sink.connections == sink.most_open <= 3


async def test_the_file_holds_the_same(trust, http, tmp_path):
    async with SlackSink(trust=trust, record=tmp_path / "posts") as sink:
        sink.plan(500)
        for text in ("a", "b"):
            await http.post(sink.webhook(), json={"text": text})
    with (tmp_path / "posts").open("a") as file:
        file.write('{"kind": "post", half a li')
    assert read(tmp_path / "posts") == ([], sink.requests)
