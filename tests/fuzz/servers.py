"""Servers that say anything at all, on real loopback sockets: every attempt ends soon, with an outcome, no secret."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import replace

from hypothesis import strategies as st
from tests.core.messages import make
from tests.fuzz.area import Area
from tests.fuzz.judges import ATTEMPT, CASES
from tests.fuzz.replies import judge_outcome
from tests.fuzz.texts import hostile, short

from pipebell.core.destinations.email import EmailTarget
from pipebell.core.destinations.http import HttpKind
from pipebell.core.hosts import HostPolicy
from pipebell.providers.email import EmailProvider
from pipebell.providers.http import Http
from pipebell.providers.smtp import Limits, Smtp
from pipebell.providers.tls import client_context
from pipebell.providers.webhook import HttpProvider

_PASSWORD, _TOKEN = "pass-word-of-the-robot", "ConfidentialToken"
_HOSTS = HostPolicy(private_hosts=("127.0.0.1",))
_SMTP_LINES = st.one_of(
    st.sampled_from(
        [
            *(b"220 hello", b"250 fine", b"250-PIPELINING\r\n250-AUTH PLAIN LOGIN CRAM-MD5\r\n250 STARTTLS", b"334 "),
            *(b"334 \xff\xfe", b"235 2.7.0 in", b"354 go on", b"421 4.3.2 bye", b"452 4.5.3 Too many recipients"),
            *(b"535 5.7.8 no " + _PASSWORD.encode(), b"554-\r\n554-\r\n554 ", b"", b"-12", b"999 9", b"25", b"abc"),
            *(
                b"250" + b"x" * 9_000,
                b"250-endless\r\n" * 200,
                b"4\xb2\xb3 x",
                b"HTTP/1.1 200 OK",
                b"550 " + b"sender " * 60,
            ),
        ]
    ),
    st.tuples(st.integers(0, 999), short).map(lambda given: f"{given[0]:03} {given[1]}".encode(errors="replace")),
    st.binary(max_size=30),
)
_smtp = st.tuples(st.lists(st.one_of(st.none(), st.none(), _SMTP_LINES), min_size=1, max_size=14), st.booleans())
_HEADER = st.sampled_from(
    [
        *("Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999", "Transfer-Encoding: chunked"),
        *(
            "Retry-After: 9e99",
            "Location: http://169.254.169.254/",
            "Content-Type: text/html",
            "Content-Encoding: gzip",
        ),
        *(
            "Connection: close",
            "Set-Cookie: a=b",
            "x: \x01",
            "no colon",
            "Content-Encoding: br",
            f"Location: /{_TOKEN}",
        ),
    ]
)
_http = st.tuples(
    st.sampled_from([case for case in CASES if isinstance(case.kind, HttpKind)]),
    st.one_of(st.integers(100, 999).map(str), st.sampled_from(["200", "200", "429", "503", "302", "x", ""])),
    st.lists(st.one_of(_HEADER, _HEADER, short), max_size=4),
    st.one_of(
        hostile(20_000), st.sampled_from(["ok", '{"ok": true}', "5\r\nabcde\r\n0\r\n\r\n", "ffffffffff\r\n", _TOKEN])
    ),
)


class _Talk:
    """A server that says what the present input says."""

    def __init__(self):
        self.lines = iter(())
        self.answer = b""

    async def smtp(self, reader, writer):
        usual = b"220 hello"
        try:
            while True:
                said = next(self.lines, None)
                writer.write((usual if said is None else said) + b"\r\n")
                line = await reader.readline()
                if not line:
                    break
                usual = b"354 go" if line.startswith(b"DATA") else b"250 2.0.0 fine"
        except (OSError, ValueError):
            pass
        finally:
            writer.close()

    async def http(self, reader, writer):
        with suppress(OSError, ValueError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.answer)
            await writer.drain()
        writer.close()


async def _end_all():
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@contextmanager
def _loop():
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # whose connection breaks is no news here
    try:
        yield loop
    finally:
        loop.run_until_complete(_end_all())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@contextmanager
def _mail_server():
    talk, tls = _Talk(), client_context()
    with _loop() as loop:
        server = loop.run_until_complete(asyncio.start_server(talk.smtp, "127.0.0.1", 0))
        port = server.sockets[0].getsockname()[1]
        target = EmailTarget("127.0.0.1", port, False, False, "x@example.com", None, ("a@example.com", "b@example.com"))
        limits = Limits(command=0.2, opening=0.5, envelope=0.5, per_recipient=0, final_dot=0.3, transactions=1.0)

        async def send(login):
            provider = EmailProvider(Smtp(_HOSTS, tls, limits), lambda: ATTEMPT.now)
            try:
                async with asyncio.timeout(20):
                    to = replace(target, username="robot", password=_PASSWORD, use_tls=True) if login else target
                    return await provider.send(make(), to, ATTEMPT)
            finally:
                await provider.close()

        def check(given):
            lines, login = given
            talk.lines = iter(lines)
            outcome = loop.run_until_complete(send(login))
            if login:  # else it is a word like any other: nobody has told it to the server
                judge_outcome(outcome, _PASSWORD)
            else:
                judge_outcome(outcome)
            assert not set(outcome.refused) & set(outcome.retry_recipients)

        yield check
        server.close()


@contextmanager
def _web_server():
    talk, tls = _Talk(), client_context()
    with _loop() as loop:
        server = loop.run_until_complete(asyncio.start_server(talk.http, "127.0.0.1", 0))
        port = server.sockets[0].getsockname()[1]

        async def send(kind, target):
            client = Http(tls, 1.0)
            provider = HttpProvider(kind, client, _HOSTS, lambda: ATTEMPT.now)
            try:
                async with asyncio.timeout(20):
                    return await provider.send(make(), target, ATTEMPT)
            finally:
                await provider.close()

        def check(given):
            case, status, headers, body = given
            head = "".join(f"{line}\r\n" for line in headers)
            talk.answer = f"HTTP/1.1 {status} x\r\n{head}\r\n{body}".encode(errors="replace")
            target = replace(case.target, url=f"http://127.0.0.1:{port}/{_TOKEN}", trusted=True)
            judge_outcome(loop.run_until_complete(send(case.kind, target)), _TOKEN)

        yield check
        server.close()


AREAS = [
    Area("SMTP servers", 1_500, _smtp, _mail_server, batch=100),
    Area("HTTP servers", 2_000, _http, _web_server, batch=200),
]
