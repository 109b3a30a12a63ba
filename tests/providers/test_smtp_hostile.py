"""Servers that say anything at all: every attempt ends with an outcome, soon, on one clean line, without a secret."""

import asyncio
import random

import pytest

from pipebell.core.outcome import Outcome

LINES = (
    b"220 hello",
    b"250 fine",
    b"250-PIPELINING\r\n250-AUTH PLAIN LOGIN CRAM-MD5\r\n250 STARTTLS",
    b"250-AUTH=\r\n250 AUTH",
    b"334 ",
    b"334 \xff\xfe",
    b"334 bm90IGEgY2hhbGxlbmdl",
    b"235 2.7.0 in",
    b"354 go on",
    b"421 4.3.2 bye",
    b"432 4.3.2 Concurrent connections limit exceeded",
    b"450 4.7.1 Error: too much mail",
    b"452 4.5.3 Too many recipients",
    b"454 Throttling failure",
    b"535 5.7.8 no pass-word-of-the-robot",
    b"550 5.1.1 \x1b[2J\xf0\x9f\x94\xa5",
    b"552 5.5.3 Too many recipients",
    b"554-\r\n554-\r\n554 ",
    b"",
    b"-12 minus",
    b"999 9.9.9 nines",
    b"25",
    b"abc",
    b"250" + b"x" * 9000,
    b"250-endless\r\n" * 200,
    b"4\xb2\xb3 superscript",
    b"HTTP/1.1 200 OK",
)


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_a_server_says(email_with, notification, attempt, at, seed):
    draw = random.Random(seed)

    async def talk(reader, writer):
        try:
            writer.write(b"220 hello\r\n" if draw.random() < 0.9 else draw.choice(LINES) + b"\r\n")
            usual = draw.random()
            while line := await reader.readline():
                if draw.random() < 0.02:
                    break
                plain = b"354 go" if line.startswith(b"DATA") else b"250 2.0.0 fine"
                writer.write((plain if draw.random() < usual else draw.choice(LINES)) + b"\r\n")
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    provider = email_with(command=0.2, opening=0.5, envelope=0.5, per_recipient=0, final_dot=0.3)
    for changes in ({"use_tls": False, "username": None, "password": None}, {}):
        target = at(port, **changes)
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*(provider.send(notification, target, attempt) for _ in range(3)))
        for outcome in outcomes:
            assert isinstance(outcome, Outcome)
            assert outcome.message.isprintable()
            assert target.password is None or target.password not in repr(outcome)
            assert set(outcome.refused) | set(outcome.retry_recipients) <= {f"{who}@example.com" for who in "abc"}
            assert not set(outcome.refused) & set(outcome.retry_recipients)
    server.close()
