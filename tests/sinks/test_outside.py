"""The outside world on loopback: vendors by their own names, and nothing beyond."""

import ssl

import aiohttp
import pytest

from pipebell.providers.http import Http
from pipebell.providers.tls import client_context
from pipebell.sinks import HttpSink, Outside, Trust


@pytest.fixture
def trust():
    return Trust()


@pytest.fixture
async def outside(trust):
    async with Outside(trust) as running:
        yield running


@pytest.fixture
async def http(outside, trust):
    client = Http(client_context(str(trust.ca_file)), proxy=outside.url)
    yield client
    await client.close()


async def test_a_vendors_name_leads_to_its_sink(outside, http):
    assert (await http.send("POST", "https://events.eu.pagerduty.com/v2/enqueue", b"{}", {})).status == 400
    assert (await http.send("POST", outside.workflow("Ops"), b"{}", {})).status == 202
    assert b"not_authed" in (await http.send("POST", "https://slack.com/api/chat.postMessage", b"{}", {})).body
    assert (await http.send("POST", outside.sinks["webhook"].url + "/x", b"{}", {})).status == 200
    sinks = (outside.pagerduty, outside.teams, outside.slack, outside.sinks["webhook"])
    assert [len(sink.requests) for sink in sinks] == [1, 1, 1, 1]


async def test_others_on_loopback_are_reached_as_they_are(http, trust):
    async with HttpSink(trust=trust) as other:
        assert (await http.send("POST", f"{other.url}/x", b"{}", {})).status == 200


@pytest.mark.parametrize("url", ["https://example.com/", "https://hooks.slack.com/services/T/B/X", "https://10.0.0.1/"])
async def test_nothing_leaves_the_machine(http, url):
    with pytest.raises(OSError, match="request failed"):
        await http.send("POST", url, b"{}", {})


async def test_it_is_no_other_proxy(outside):
    async with aiohttp.ClientSession() as session, session.get("http://x.example/", proxy=outside.url) as answer:
        assert answer.status == 403


async def test_a_stranger_to_its_authority_is_not_deceived(outside):
    http = Http(client_context(), proxy=outside.url)
    with pytest.raises(OSError, match="request failed") as caught:
        await http.send("POST", "https://slack.com/api/chat.postMessage", b"{}", {})
    assert isinstance(caught.value.__cause__.__cause__ or caught.value.__cause__, ssl.SSLError | aiohttp.ClientError)
    await http.close()
    assert outside.slack.requests == []
