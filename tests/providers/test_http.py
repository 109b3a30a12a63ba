"""The POST itself: what is asked before its bytes go out, and that none do when the answer is no."""

import asyncio
import socket
import threading
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.core.messages import make

from pipebell.core.destinations.base import Hosts
from pipebell.core.destinations.slack import SLACK, SlackTarget
from pipebell.core.errors import Fenced, NotReady
from pipebell.core.hosts import HostPolicy
from pipebell.core.outcome import Attempt, OutcomeKind
from pipebell.providers.dns import Dns
from pipebell.providers.failures import Unanswered
from pipebell.providers.http import Http, NotAdmitted
from pipebell.providers.webhook import HttpProvider
from pipebell.sinks import HANG, SlackSink


@pytest.fixture
async def sink(trust):
    async with SlackSink(trust=trust) as running:
        yield running


@pytest.fixture
async def http(tls):
    http = Http(tls, 5.0)
    yield http
    await http.close()


@asynccontextmanager
async def listening():
    """A server without TLS that answers nothing; yields its URL and the bytes that reached it."""
    received = bytearray()

    async def serve(reader, writer):
        while data := await reader.read(4096):
            received.extend(data)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", received


async def test_whoever_may_not_send_sends_not_a_byte(tls):
    http = Http(tls, 5.0)
    async with listening() as (url, received):
        with pytest.raises(Fenced):
            await http.send("POST", url, b"{}", {"X-A": "b"}, allowed=lambda: False)
        await http.close()
        await asyncio.sleep(0.05)
    assert received == b""


async def test_it_is_asked_once_there_is_a_connection_and_once_only(http, sink):
    seen = []
    for _ in range(2):
        answer = await http.send(
            "POST", sink.webhook(), b'{"text": "a"}', {}, allowed=lambda: seen.append(len(sink.requests)) or True
        )
        assert answer.status == 200
    assert seen == [0, 1]


async def test_what_changes_while_the_connection_is_being_made_counts(tls, sink):
    """A connection may take seconds, and a lease runs out meanwhile."""
    asked, go_on = asyncio.Event(), asyncio.Event()
    mine = True

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go_on.wait()
        there_reader, there_writer = await asyncio.open_connection(sink.host, sink.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source, drain):
            while data := await source.read(65536):
                drain.write(data)
            drain.close()

        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        http = Http(tls, 5.0, proxy=f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        post = asyncio.create_task(http.send("POST", sink.webhook(), b'{"text": "a"}', {}, allowed=lambda: mine))
        await asyncio.wait_for(asked.wait(), 60)
        mine = False
        go_on.set()
        with pytest.raises(Fenced):
            await post
        await http.close()
    assert sink.requests == []


async def test_the_next_post_works_as_ever(http, sink):
    assert (await http.send("POST", sink.webhook(), b'{"text": "a"}', {})).status == 200
    with pytest.raises(Fenced):
        await http.send("POST", sink.webhook(), b'{"text": "b"}', {}, allowed=lambda: False)
    assert (await http.send("POST", sink.webhook(), b'{"text": "c"}', {})).status == 200
    assert [post.payload["text"] for post in sink.posts] == ["a", "c"]


async def test_slack_asks_on_behalf_of_the_attempt(http, sink, notification):
    slack = HttpProvider(SLACK, http, HostPolicy({"slack": ("127.0.0.1",)}), lambda: 0.0)
    with pytest.raises(Fenced):
        await slack.send(notification, SlackTarget(sink.webhook()), Attempt("e.slack", allowed=lambda: False))
    assert sink.requests == []


async def test_a_url_is_sent_byte_for_byte(http, sink):
    """What a signed URL escapes must stay escaped, however needless the escape is."""
    path = "/p/%7Ea%2Fb?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sig=a%2Bb-c_d~&x=(1)'"
    await http.send("POST", sink.url + path, b"{}", {})
    assert sink.requests[-1].target == path


async def test_waiting_for_ones_turn_to_look_up_a_name_is_no_part_of_the_attempt(tls, sink):
    """The namespace's other names have a silent name server; when that gives up, this one is looked up and reached."""
    end = threading.Event()

    def lookup(host):
        if host.startswith("silent"):
            end.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, ("127.0.0.1", 0))]

    dns = Dns(lookup=lookup)
    http = Http(tls, 2.0, dns=dns)
    silent = [asyncio.create_task(dns.resolve(f"silent-{n}.example", 443, "team")) for n in range(2)]
    await asyncio.sleep(0)
    url = f"https://localhost:{sink.port}/services/T0/B0/x"
    sent = asyncio.create_task(http.send("POST", url, b'{"text": "a"}', {}, namespace="team"))
    await asyncio.sleep(2.5)  # longer than one attempt may take
    assert not sent.done()
    end.set()
    assert (await sent).status == 200
    await asyncio.gather(*silent, return_exceptions=True)
    sink.plan(HANG)
    with pytest.raises(Unanswered):
        await http.send("POST", url, b'{"text": "a"}', {}, namespace="team")
    await http.close()


# ---------------------------------------------------------------------------- hosts of organisations' own choice

ANYWHERE = replace(SLACK, hosts=Hosts(anywhere=True))


def public(family, *addresses):
    return Dns(lookup=lambda _: [(family, (address, 0)) for address in addresses])


@pytest.mark.parametrize("url", ["https://127.0.0.1:{}/x", "https://localhost:{}/x", "https://[::1]:{}/x"])
async def test_an_address_that_is_not_admitted_is_not_connected_to(tls, sink, url):
    http = Http(tls, 5.0, admits=HostPolicy().admits_address)
    with pytest.raises(NotAdmitted, match="may not be connected to"):
        await http.send("POST", url.format(sink.port), b"{}", {})
    await http.close()
    assert sink.connections == 0


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0", "127.0.0.1.", "0177.0.0.1", "127.000.000.001"])
async def test_an_address_in_an_unusual_spelling_is_none(tls, sink, host):
    url = f"https://{host}:{sink.port}/x"
    http = Http(tls, 5.0, admits=HostPolicy().admits_address)
    with pytest.raises(NotAdmitted, match="not an address as it has to be written"):
        await http.send("POST", url, b"{}", {})
    await http.close()
    provider = HttpProvider(ANYWHERE, Http(tls, 5.0), HostPolicy(), lambda: 0.0, http)
    with pytest.raises(NotReady):
        await provider.check(SlackTarget(url))
    assert sink.connections == 0


async def test_a_name_that_leads_inside_is_refused_by_its_address(tls, sink):
    """DNS rebinding: the address that was looked at is the one connected to, whatever the name says a moment later."""
    answers = iter([[(socket.AF_INET, ("127.0.0.1", 0))], [(socket.AF_INET, ("192.0.2.1", 0))]])
    http = Http(tls, 5.0, dns=Dns(lookup=lambda _: next(answers)), admits=HostPolicy().admits_address)
    provider = HttpProvider(ANYWHERE, http, HostPolicy(), lambda: 0.0)
    target = SlackTarget(f"https://hooks.tenant.example:{sink.port}/x", where="webhook")
    outcome = await provider.send(make(), target, Attempt("e.slack"))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.HOST_NOT_ALLOWED, "HostNotAllowed")
    assert "hooks.tenant.example leads to an address" in outcome.message
    assert "PIPEBELL_PRIVATE_HOSTS" in outcome.message
    await provider.close()
    assert sink.connections == 0


async def test_a_name_that_leads_inside_is_told_before_anything_is_sent(tls, sink):
    asked = []

    class Asked(Dns):
        async def resolve(self, host, port, namespace=""):
            asked.append((host, namespace))
            return await super().resolve(host, port, namespace)

    inside = Http(
        tls, 5.0, dns=Asked(lookup=lambda _: [(socket.AF_INET, ("10.0.0.1", 0))]), admits=HostPolicy().admits_address
    )
    provider = HttpProvider(ANYWHERE, Http(tls, 5.0), HostPolicy(), lambda: 0.0, inside)
    target = SlackTarget("https://grafana.monitoring.svc/x", where="webhook")
    with pytest.raises(NotReady, match=r"grafana.monitoring.svc leads to an address that may not be connected to"):
        await provider.check(target, "team-a")
    assert asked == [("grafana.monitoring.svc", "team-a")]
    await provider.check(replace(target, trusted=True), "team-a")
    assert asked == [("grafana.monitoring.svc", "team-a")]
    await provider.close()
    assert sink.connections == 0


async def test_an_admitted_private_host_is_reached_and_roots_own_need_no_leave(tls, sink):
    policy = HostPolicy(private_hosts=("127.0.0.0/8",))
    guarded = Http(tls, 5.0, admits=policy.admits_address)
    assert (await guarded.send("POST", sink.webhook(), b'{"text": "a"}', {})).status == 200
    await guarded.close()
    strict = Http(tls, 5.0, admits=HostPolicy().admits_address)
    provider = HttpProvider(ANYWHERE, Http(tls, 5.0), HostPolicy(), lambda: 0.0, strict)
    trusted = SlackTarget(sink.webhook(), trusted=True)
    assert (await provider.send(make(), trusted, Attempt("e.slack"))).kind is OutcomeKind.DELIVERED
    assert (await provider.send(make(), replace(trusted, trusted=False), Attempt("e.slack"))).kind is (
        OutcomeKind.HOST_NOT_ALLOWED
    )
    with pytest.raises(NotReady):
        await provider.check(replace(trusted, trusted=False))
    await provider.close()
    assert len(sink.posts) == 2


async def test_through_a_proxy_the_hosts_own_address_is_asked_about(tls, sink):
    http = Http(
        tls, 5.0, dns=public(socket.AF_INET, "10.0.0.1"), proxy="http://127.0.0.1:9", admits=HostPolicy().admits_address
    )
    with pytest.raises(NotAdmitted):
        await http.send("POST", "https://inside.example/x", b"{}", {})
    await http.close()
