import asyncio
import traceback

import aiohttp
import pytest

from pipebell import __version__
from pipebell.core.errors import ApiError, Conflict, Forbidden, Gone, NotFound, Rejected, TooLarge, Unavailable
from pipebell.kube.client import MERGE_PATCH, PAGE_BYTES, ApiClient, Silent
from pipebell.kube.connection import Connection
from pipebell.kube.credentials import StaticToken
from pipebell.retry import retry_until_available

TOKEN = "token-that-nobody-may-read"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, Rejected),
        (401, Unavailable),
        (403, Forbidden),
        (404, NotFound),
        (405, Rejected),
        (408, Unavailable),
        (409, Conflict),
        (410, Gone),
        (422, Rejected),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (302, Rejected),
    ],
)
async def test_each_refusal_is_one_of_our_errors(api, client, code, error):
    api.fails(code, "because of this")
    with pytest.raises(ApiError) as caught:
        await client.request("GET", "/api/v1/namespaces/x")
    assert type(caught.value) is error
    assert str(caught.value) == f"GET /api/v1/namespaces/x: {code} because of this"


@pytest.mark.parametrize(
    ("method", "code", "said", "error"),
    [
        ("PATCH", 500, "etcdserver: request is too large", TooLarge),
        ("POST", 413, "Request entity too large: limit is 3145728", TooLarge),
        ("PATCH", 500, "rpc error: code = ResourceExhausted desc = trying to send message larger than max", TooLarge),
        ("GET", 500, "rpc error: code = ResourceExhausted desc = trying to send message larger than max", Unavailable),
        ("PATCH", 500, "etcdserver: request timed out", Unavailable),
    ],
)
async def test_what_will_never_be_stored_is_told_apart_from_an_api_that_is_away(api, client, method, code, said, error):
    api.fails(code, said)
    with pytest.raises(ApiError) as caught:
        await client.request(method, "/x", body={} if method != "GET" else None)
    assert type(caught.value) is error


async def test_a_request_is_what_was_asked_for(api, client):
    api.answers({"ok": [1]})
    answer = await client.request(
        "PATCH", "/apis/x/y", params={"fieldSelector": "a=b,c!=d&é"}, body={"a": "ü"}, content_type=MERGE_PATCH
    )
    assert answer == {"ok": [1]}
    (asked,) = api.asked
    assert (asked.method, asked.path, asked.query) == ("PATCH", "/apis/x/y", {"fieldSelector": "a=b,c!=d&é"})
    assert asked.body == {"a": "ü"}
    assert asked.headers["Content-Type"] == MERGE_PATCH
    assert asked.headers["User-Agent"] == f"pipebell/{__version__}"
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("asked", ["1e999", "inf", "9" * 400, "86400", 10**400, float("inf"), 86400])
async def test_no_server_makes_us_wait_longer_than_a_minute(api, client, asked):
    if isinstance(asked, str):
        api.fails(429, Retry_After=asked)
    else:
        api.answers({"kind": "Status", "details": {"retryAfterSeconds": asked}}, 429)
    with pytest.raises(Unavailable) as caught:
        await client.request("GET", "/")
    assert caught.value.retry_after == 60.0


@pytest.mark.parametrize("asked", ["nan", "-nan", "soon", "", "1_000_000_000_000 s"])
async def test_what_is_no_time_is_none(api, client, asked):
    api.fails(429, Retry_After=asked)
    with pytest.raises(Unavailable) as caught:
        await client.request("GET", "/")
    assert caught.value.retry_after is None


async def test_retry_after_comes_from_the_header_or_the_status(api, client):
    api.fails(429, Retry_After="7")
    api.answers({"kind": "Status", "message": "slow", "details": {"retryAfterSeconds": 3}}, 503)
    api.fails(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")
    for expected in (7.0, 3.0, None):
        with pytest.raises(Unavailable) as caught:
            await client.request("GET", "/x")
        assert caught.value.retry_after == expected


async def test_a_server_that_hangs_is_unavailable(api, client):
    api.hangs()
    with pytest.raises(Unavailable, match="no answer in time"):
        await client.request("GET", "/x", timeout=0.05)


async def test_a_server_that_is_away_is_unavailable(unused_tcp_port):
    async with ApiClient(Connection(f"http://127.0.0.1:{unused_tcp_port}", None, "d", StaticToken(TOKEN))) as client:
        with pytest.raises(Unavailable, match="ClientConnectorError"):
            await client.request("GET", "/x")


@pytest.mark.parametrize("way", ["request", "watch"])
async def test_a_server_that_has_just_started_forbids_what_it_will_allow(unused_tcp_port, api, client, way):
    """Until it has read the roles; taken for good, an incident would never be created, nor a notice be made."""

    async def ask():
        api.fails(403, "incidents is forbidden")
        if way == "request":
            await client.request("POST", "/x", body={})
        async for _ in client.watch("/x"):
            pass

    with pytest.raises(Forbidden):
        await ask()
    other = Connection(f"http://127.0.0.1:{unused_tcp_port}", None, "d", StaticToken(TOKEN))
    async with ApiClient(other, vitals=client._vitals) as broken:
        with pytest.raises(Unavailable):
            await broken.request("GET", "/x")
    with pytest.raises(Unavailable, match="403 incidents is forbidden"):
        await ask()


async def test_an_answer_that_is_not_json_is_unavailable(api, client):
    async def page(_):
        return aiohttp.web.Response(text="<html>sign in</html>")

    api.script.append(page)
    with pytest.raises(Unavailable, match="not JSON"):
        await client.request("GET", "/x")


async def test_a_redirect_is_not_followed(api, client):
    api.answers({}, 307, Location="http://127.0.0.1:1/elsewhere")
    with pytest.raises(Rejected, match="307"):
        await client.request("GET", "/x")
    assert len(api.asked) == 1


async def test_no_failure_shows_the_token_in_its_traceback(api, client):
    def whole(error):
        return "".join(traceback.format_exception(error)) + repr(error.__dict__) + repr(error.__cause__)

    api.fails(500)
    api.hangs()
    api.watches(cut=True)
    for call in (
        client.request("GET", "/x"),
        client.request("GET", "/x", timeout=0.05),
        anext(client.watch("/x")),
    ):
        with pytest.raises(Unavailable) as caught:
            await call
        assert TOKEN not in whole(caught.value)


async def test_patience_waits_longer_each_time_and_as_the_server_asks(api, client, clock):
    for _ in range(3):
        api.fails(500)
    api.fails(429, Retry_After="9")
    api.answers({"done": True})
    assert await retry_until_available(lambda: client.request("GET", "/x"), sleep=clock.sleep) == {"done": True}
    assert len(api.asked) == 5
    first, second, third, asked_for = clock.slept
    assert 0.1 <= first <= 0.15
    assert 0.2 <= second <= 0.3
    assert 0.4 <= third <= 0.6
    assert asked_for == 9.0


async def test_patience_is_for_the_unavailable_only(api, client, clock):
    api.fails(409)
    with pytest.raises(Conflict):
        await retry_until_available(lambda: client.request("GET", "/x"), sleep=clock.sleep)
    assert clock.slept == []


async def test_patience_has_an_end_when_it_is_given_one(api, client, clock):
    for _ in range(50):
        api.fails(500)
    with pytest.raises(Unavailable):
        await retry_until_available(lambda: client.request("GET", "/x"), limit=0.0, sleep=clock.sleep)
    assert len(api.asked) == 1


async def test_pages_are_walked_by_their_tokens(api, client):
    api.answers({"metadata": {"continue": "more", "resourceVersion": "5"}, "items": [1, 2]})
    api.answers({"metadata": {"resourceVersion": "5"}, "items": [3]})
    pages = [page async for page in client.pages("/list", params={"fieldSelector": "a=b"}, limit=2)]
    assert [page["items"] for page in pages] == [[1, 2], [3]]
    assert [asked.query for asked in api.asked] == [
        {"fieldSelector": "a=b", "limit": "2"},
        {"fieldSelector": "a=b", "limit": "2", "continue": "more"},
    ]


async def test_pages_of_large_objects_have_fewer_of_them(api, client):
    large = {"metadata": {"continue": "never seen"}, "items": ["x" * PAGE_BYTES]}
    api.answers({"metadata": {"continue": "a"}, "items": [1]})
    api.answers(large)
    api.answers({"metadata": {"continue": "b"}, "items": [2]})
    api.answers(large)
    api.answers({"metadata": {"continue": "c"}, "items": ["y" * PAGE_BYTES]})
    api.answers({"metadata": {"continue": "d"}, "items": [4]})
    api.answers({"metadata": {}, "items": [5]})
    items = [item for page in [page async for page in client.pages("/list", limit=40)] for item in page["items"]]
    assert items == [1, 2, "y" * PAGE_BYTES, 4, 5]
    asked = [(request.query["limit"], request.query.get("continue")) for request in api.asked]
    assert asked == [*zip(["40", "40", "5", "10", "1", "1", "2"], [None, "a", "a", "b", "b", "c", "d"], strict=True)]


async def test_a_list_that_expires_midway_goes_on_behind_the_last_object(api, client):
    api.answers({"metadata": {"continue": "old"}, "items": [1, 2]})
    api.answers({"kind": "Status", "code": 410, "message": "expired", "metadata": {"continue": "new"}}, 410)
    api.answers({"metadata": {}, "items": [3]})
    assert [page["items"] async for page in client.pages("/list")] == [[1, 2], [3]]
    assert [asked.query.get("continue") for asked in api.asked] == [None, "old", "new"]


async def test_a_list_that_expires_without_a_way_on_is_unavailable(api, client):
    api.answers({"metadata": {"continue": "old"}, "items": [1]})
    api.fails(410, "expired")
    pages = client.pages("/list")
    assert (await anext(pages))["items"] == [1]
    with pytest.raises(Unavailable, match="begin again"):
        await anext(pages)


async def test_a_page_is_asked_for_again_while_the_api_is_away(api, client):
    api.answers({"metadata": {"continue": "more"}, "items": [1]})
    api.fails(503)
    api.answers({"metadata": {}, "items": [2]})
    assert [page["items"] async for page in client.pages("/list")] == [[1], [2]]


def item(version, **data):
    return {"metadata": {"name": "n", "resourceVersion": str(version)}, "data": data}


async def test_a_watch_gives_what_happens_until_the_server_ends_it(api, client):
    api.watches(("ADDED", item(1)), ("BOOKMARK", item(2)), ("DELETED", item(3)), chunk=7)
    seen = [pair async for pair in client.watch("/list", params={"resourceVersion": "0"}, seconds=9)]
    assert seen == [("ADDED", item(1)), ("BOOKMARK", item(2)), ("DELETED", item(3))]
    assert api.asked[0].query == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "9",
        "resourceVersion": "0",
    }


async def test_lines_of_a_watch_have_no_longest_length(api, client):
    big = item(1, text="x" * 3_000_000)
    api.watches(("ADDED", big), ("MODIFIED", item(2)))
    assert [pair async for pair in client.watch("/list")] == [("ADDED", big), ("MODIFIED", item(2))]


async def test_a_watch_whose_history_is_gone_says_so(api, client):
    api.watches(("ADDED", item(1)), ("ERROR", {"kind": "Status", "code": 410, "message": "too old"}))
    watch = client.watch("/list")
    assert await anext(watch) == ("ADDED", item(1))
    with pytest.raises(Gone, match="too old"):
        await anext(watch)


async def test_a_watch_that_breaks_is_unavailable(api, client):
    api.watches(("ADDED", item(1)), cut=True)
    with pytest.raises(Unavailable):
        [pair async for pair in client.watch("/list")]


async def test_a_watch_that_falls_silent_is_unavailable(api, client, monkeypatch):
    monkeypatch.setattr("pipebell.kube.client.WATCH_SILENCE", 0.05)
    api.hangs()
    with pytest.raises(Unavailable, match="no answer in time"):
        await anext(client.watch("/list", seconds=0))


async def test_an_open_watch_that_falls_silent_says_so(api, client, monkeypatch):
    monkeypatch.setattr("pipebell.kube.client.WATCH_SILENCE", 0.05)
    api.grants_and_says_nothing()
    with pytest.raises(Silent, match="not even a bookmark"):
        await anext(client.watch("/list", seconds=0))


async def test_a_refused_watch_is_one_of_our_errors(api, client):
    api.fails(403, "not you")
    with pytest.raises(Forbidden, match="not you"):
        await anext(client.watch("/list"))


async def test_many_requests_share_the_connections(api):
    for _ in range(50):
        api.answers({})
    connection = Connection(api.url, None, "d", StaticToken(None))
    async with ApiClient(connection, connections=3) as client:
        await asyncio.gather(*(client.request("GET", "/x") for _ in range(50)))
        assert len(api.asked) == 50
        assert "Authorization" not in api.asked[0].headers


async def test_a_closed_client_opens_nothing_any_more(api, client):
    api.answers({})
    await client.request("GET", "/x")
    await client.close()
    with pytest.raises(Unavailable, match="closed"):
        await client.request("GET", "/x")


async def test_bodies_are_compact(api, client):
    api.answers({})
    await client.request("POST", "/x", body={"a": [1, 2]})
    assert api.asked[0].body == {"a": [1, 2]}
    assert api.asked[0].headers["Content-Length"] == str(len('{"a":[1,2]}'))
