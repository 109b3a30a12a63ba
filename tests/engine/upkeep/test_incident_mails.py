"""An incident's e-mails, as a real mail server gets them, are one conversation for whoever sorts a mailbox by threads.

threadweave is somebody else's: Jamie Zawinski's algorithm, which mail clients use, on Message-ID, References and
In-Reply-To.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from tests.engine.events.test_incidents import fail, succeed
from tests.engine.fakes import FakeProvider
from threadweave import Message, extract_reference_ids, thread_messages

from pipebell.core.hosts import HostPolicy
from pipebell.providers.email import EmailProvider
from pipebell.providers.smtp import Smtp
from pipebell.providers.tls import client_context
from pipebell.sinks import SmtpSink, running

USER, PASSWORD = "robot-user@example.com", "pass-word-of-the-robot"
HOUR = 3600


class Mailing(FakeProvider):
    """Sends by the real provider, in the mail server's own loop, while the engine's time stands still."""

    def __init__(self, clock, mailbox, loop):
        super().__init__(clock)
        smtp = Smtp(HostPolicy(private_hosts=("127.0.0.1/32",)), client_context(str(mailbox.ca_file)))
        self._real, self._loop = EmailProvider(smtp, clock.now), loop

    async def send(self, notification, target, attempt):
        return self._do(self._real.send(notification, target, attempt))

    def close(self):
        self._do(self._real.close())

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60.0)


@pytest.fixture
def mailbox():
    return SmtpSink(users={USER: PASSWORD})


@pytest.fixture
async def house(house, mailbox):
    with running(mailbox) as loop:
        house.email = Mailing(house.clock, mailbox, loop)
        await house.restart()
        yield house
        await house.close()
        house.email.close()


def configure(house, mailbox):
    email = {
        "smtpHost": mailbox.host,
        "smtpPort": mailbox.port,
        "smtpUsername": USER,
        "smtpPassword": PASSWORD,
        "fromEmail": USER,
        "toEmails": ["on-call@example.com"],
    }
    trigger = {"event": "pipeline_failure", "providers": ["email"], "cooldownSeconds": 0}
    incidents = {
        "enabled": True,
        "remindAfterSeconds": 4 * HOUR,
        "escalation": [{"afterSeconds": 900, "providers": ["email"]}],
    }
    house.config(email=email, eventTriggers=[trigger], incidents=incidents)


async def an_incident(house):
    """Opened, escalated, reminded of twice, acknowledged, recovered: five e-mails, none for the fourth."""
    await fail(house, errorMessage="disk full")
    await fail(house, errorMessage="disk still full")
    await house.clock.advance(12 * HOUR + 1)
    name = max(house.incidents.store.values(), key=lambda incident: incident.created).name
    house.incidents.say("team", name, acknowledgement={"by": "ana"})
    await house.clock.advance(24 * HOUR)
    await succeed(house)
    await house.clock.advance(HOUR)


def conversations(mails):
    """The Message-IDs of each thread, as the algorithm finds them in this order of the mailbox."""
    given = [
        Message(
            message_id=mail["Message-ID"],
            in_reply_to=mail["In-Reply-To"],
            references=extract_reference_ids(mail["References"] or ""),
            subject=mail["Subject"],
        )
        for mail in mails
    ]
    roots = thread_messages(given)
    threads = [[root, *root.iter_descendants()] for root in roots]
    return {frozenset(each.message.message_id for each in thread if not each.is_empty) for thread in threads}


async def test_each_incident_is_one_conversation(house, mailbox):
    configure(house, mailbox)
    await an_incident(house)
    first = len(mailbox.mails)
    await an_incident(house)
    mails = [mail.message for mail in mailbox.mails]
    assert [first, len(mails)] == [5, 10]
    said = [mail.get_body(("plain",)).get_content() for mail in mails]
    words = ("disk full", "nobody has acknowledged", "Still failing", "Still failing", "Recovered after")
    assert [word in text for word, text in zip(words * 2, said, strict=True)] == [True] * 10
    wanted = {frozenset(mail["Message-ID"] for mail in part) for part in (mails[:first], mails[first:])}
    for seed in range(20):  # mailboxes are sorted in every way
        random.Random(seed).shuffle(mails)
        assert conversations(mails) == wanted


async def test_without_its_references_each_mail_would_be_a_conversation_of_its_own(house, mailbox):
    configure(house, mailbox)
    await an_incident(house)
    mails = [mail.message for mail in mailbox.mails]
    for mail in mails:
        del mail["References"], mail["In-Reply-To"]
    assert len(conversations(mails)) == 5
