"""The sinks in a pod: on all addresses, with certificates for their Services' names."""

import asyncio
import signal
from pathlib import Path

from pipebell.sinks import SlackSink, SmtpSink, Trust

FOLDER = Path("/tmp/sinks")


class Smtp(SmtpSink):
    host = "0.0.0.0"


class Slack(SlackSink):
    host = "0.0.0.0"


async def main(trust, record):
    smtp = Smtp(port=2525, users={"platform": "pass-71"}, trust=trust, names=["smtp.sinks.svc"], record=record)
    slack = Slack(port=8443, trust=trust, names=["slack.sinks.svc"], record=record)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with smtp, slack:
        (FOLDER / "ready").touch()
        await ended.wait()


FOLDER.mkdir()
journal = FOLDER / "received.jsonl"
journal.touch()
asyncio.run(main(Trust(FOLDER), journal))
