"""Creates and patches by the short way: to the same place, as the same identity, and given up on in time."""

import pytest

from pipebell.core.errors import Unavailable
from pipebell.kube.client import MERGE_PATCH, ApiClient
from pipebell.kube.connection import Connection
from pipebell.kube.credentials import StaticToken


async def test_a_server_behind_a_path_gets_the_same_headers_by_both_ways(api):
    async with ApiClient(Connection(f"{api.url}/k8s/clusters/c-1", None, "default", StaticToken("t"))) as client:
        for method in ("PATCH", "PUT"):
            api.answers({"done": method})
            answer = await client.request(
                method, "/apis/a/b", params={"x": "1 2&3"}, body={"a": "ü"}, content_type=MERGE_PATCH, accept="text/a"
            )
            assert answer == {"done": method}
    short, long = api.asked
    assert (short.path, short.query, short.body) == ("/k8s/clusters/c-1/apis/a/b", {"x": "1 2&3"}, {"a": "ü"})
    assert (short.path, short.query, short.body, short.headers) == (long.path, long.query, long.body, long.headers)


async def test_a_token_that_stays_refused_is_not_sent_again(api):
    api.fails(401, "Unauthorized")
    async with ApiClient(Connection(api.url, None, "default", StaticToken("t"))) as client:
        with pytest.raises(Unavailable, match="401 Unauthorized"):
            await client.request("PATCH", "/x", body={})
    assert len(api.asked) == 1


async def test_an_answer_that_does_not_come_is_given_up_on(api):
    api.hangs()
    api.answers({"in": True})
    async with ApiClient(Connection(api.url, None, "default", StaticToken("t"))) as client:
        with pytest.raises(Unavailable, match="no answer in time"):
            await client.request("PATCH", "/x", body={}, timeout=0.1)
        assert await client.request("PATCH", "/x", body={}) == {"in": True}
