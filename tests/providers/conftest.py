"""Real sinks, and a notification to send."""

import pytest

from pipebell.core.destinations.email import EmailTarget
from pipebell.core.event import Event, PipelineEventSpec
from pipebell.core.hosts import HostPolicy
from pipebell.core.message import Message
from pipebell.core.outcome import Attempt
from pipebell.core.status import EventStatus
from pipebell.core.vocabulary import Severity
from pipebell.providers.email import EmailProvider
from pipebell.providers.smtp import Limits, Smtp
from pipebell.providers.tls import client_context
from pipebell.sinks import SmtpSink, Trust

NOW = 1_795_407_342.0
USER, PASSWORD = "robot-user@example.com", "pass-word-of-the-robot"


@pytest.fixture(scope="session")
def trust():
    return Trust()


@pytest.fixture(scope="session")
def tls(trust):
    return client_context(str(trust.ca_file))


@pytest.fixture(scope="session")
def loopback():
    return HostPolicy(private_hosts=("127.0.0.1/32", "::1/128"))


@pytest.fixture(scope="session")
def notification():
    spec = PipelineEventSpec(
        org_slug="acme_corp",
        event="pipeline_failure",
        pipeline_id="nightly-orders-load",
        pipeline_logging_id="run-7",
        error_message="Job 'load_orders' failed: Größe überschritten\n.\n..\nFrom here on",
        details={"step": "load_orders"},
        occurred_at="2026-11-23T04:15:42Z",
    )
    event = Event("data", "acme-7f3a9", "0b54f1c2", "1", 1, NOW, spec, EventStatus())
    return Message(event, Severity.ERROR)


@pytest.fixture
def attempt():
    return Attempt("0b54f1c2.email")


@pytest.fixture
def at():
    """A target on this sink's port."""

    def target(port, **changes):
        given = {
            "host": "127.0.0.1",
            "use_tls": True,
            "trusted": False,
            "from_email": "noreply@cloudact.io",
            "from_name": "CloudAct Platform",
            "to": ("a@example.com", "b@example.com"),
            "cc": ("c@example.com",),
            "username": USER,
            "password": PASSWORD,
        }
        return EmailTarget(port=port, **given | changes)

    return target


@pytest.fixture
async def sink(trust):
    async with SmtpSink(users={USER: PASSWORD}, trust=trust) as running:
        yield running


@pytest.fixture
async def email_with(tls, loopback):
    """Makes providers, and closes them."""
    made = []

    def make(hosts=loopback, tls=tls, **limits):
        made.append(EmailProvider(Smtp(hosts, tls, Limits(**limits)), lambda: NOW))
        return made[-1]

    yield make
    for provider in made:
        await provider.close()


@pytest.fixture
def email(email_with):
    return email_with()
