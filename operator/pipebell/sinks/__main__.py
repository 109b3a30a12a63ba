"""The sinks as a process of their own: `python -m pipebell.sinks --smtp-port 2525 --slack-port 8443 …`.

It ends by SIGTERM or Ctrl-C. Without --smtp-port or --slack-port a free port is taken; the ready file says which.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import nullcontext
from pathlib import Path

import click

from pipebell.sinks.answers import Respond, Say
from pipebell.sinks.outside import OWN, Outside
from pipebell.sinks.slack import SlackSink
from pipebell.sinks.smtp import Security, SmtpSink
from pipebell.sinks.smtp_limits import Limits, Rate
from pipebell.sinks.tls import Trust

_SECURITY = ("starttls", "implicit", "none")


class _Codes(click.ParamType[list[int]]):
    name = "CODE,…"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        try:
            return [int(part) for part in str(value).split(",") if part]
        except ValueError:
            self.fail(f"{value} is not a list of codes such as 451,451", param, ctx)


class _Rate(click.ParamType[Rate]):
    name = "COUNT/SECONDS"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Rate:
        count, slash, seconds = str(value).partition("/")
        try:
            rate = Rate(int(count), float(seconds) if slash else 1.0)
        except ValueError:
            self.fail(f"{value} is not a rate such as 5 (a second) or 20/60", param, ctx)
        if rate.count < 1 or rate.seconds <= 0:
            self.fail("a rate needs at least one message, and a time", param, ctx)
        return rate


@click.command()
@click.option("--smtp-port", default=0, help="Of the mail server [default: any free one]")
@click.option("--slack-port", default=0, help="Of the Slack-like HTTPS server [default: any free one]")
@click.option(
    "--security", type=click.Choice(_SECURITY), default="starttls", show_default=True, help="Of the mail server"
)
@click.option("--user", "users", multiple=True, metavar="NAME:PASSWORD", help="Who may send mail [default: anybody]")
@click.option("--smtp-answers", type=_Codes(), default="", help="The mail server's first answers to DATA")
@click.option("--smtp-rate", type=_Rate(), help="Messages that the mail server takes; 454 for more")
@click.option("--smtp-connections", type=click.IntRange(1), help="Its connections at a time; 432 for more")
@click.option("--smtp-recipients", type=click.IntRange(1), help="Its recipients in a transaction; 452 for more")
@click.option("--smtp-greylist", type=float, metavar="SECONDS", help="Until it takes a recipient; 450 before")
@click.option("--slack-answers", type=_Codes(), default="", help="The Slack-like server's first answers")
@click.option("--proxy-port", type=int, help="Also serve PagerDuty, Teams and all other kinds, behind this proxy")
@click.option("--webhook-port", default=0, help="Of the webhook among these [default: any free one]")
@click.option("--mattermost-port", default=0, help="Of Mattermost among these [default: any free one]")
@click.option("--alertmanager-port", default=0, help="Of Alertmanager among these [default: any free one]")
@click.option("--slow", default=0.0, metavar="SECONDS", help="Wait so long before each answer to a message")
@click.option("--record", type=click.Path(path_type=Path, dir_okay=False), help="Append a JSON line per message here")
@click.option("--tls-directory", type=click.Path(path_type=Path, file_okay=False), help="Put sinks-ca.crt here")
@click.option("--ready-file", type=click.Path(path_type=Path, dir_okay=False), help="Written when both listen")
def main(  # noqa: PLR0913  (click hands over each option by name)
    smtp_port: int,
    slack_port: int,
    security: Security,
    users: tuple[str, ...],
    smtp_answers: list[int],
    smtp_rate: Rate | None,
    smtp_connections: int | None,
    smtp_recipients: int | None,
    smtp_greylist: float | None,
    slack_answers: list[int],
    proxy_port: int | None,
    webhook_port: int,
    mattermost_port: int,
    alertmanager_port: int,
    slow: float,
    record: Path | None,
    tls_directory: Path | None,
    ready_file: Path | None,
) -> None:
    """Serve as a mail server and as a Slack on loopback until ended."""
    if tls_directory:
        tls_directory.mkdir(parents=True, exist_ok=True)
    trust = Trust(tls_directory)
    accounts = dict(_account(user) for user in users)
    limits = Limits(smtp_rate, smtp_connections, recipients=smtp_recipients, greylist=smtp_greylist)
    smtp = SmtpSink(
        port=smtp_port, security=security, users=accounts or None, trust=trust, record=record, limits=limits
    )
    slack = SlackSink(port=slack_port, trust=trust, record=record)
    if slow:
        smtp.script().always = lambda _: Say(wait=slow)
        slack.script().always = lambda _: Respond(wait=slow)
    smtp.plan(*smtp_answers)
    slack.plan(*slack_answers)
    outside = None
    if proxy_port is not None:
        own = {"webhook": webhook_port, "mattermost": mattermost_port, "alertmanager": alertmanager_port}
        outside = Outside(trust, port=proxy_port, ports=own, record=record)
    asyncio.run(_serve(smtp, slack, outside, ready_file))


def _account(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not (name and colon):
        raise click.BadParameter(f"{text!r} is not NAME:PASSWORD", param_hint="--user")
    return name, password


async def _serve(smtp: SmtpSink, slack: SlackSink, outside: Outside | None, ready_file: Path | None) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with smtp, slack, outside or nullcontext():
        facts = {"smtp": f"{smtp.host}:{smtp.port}", "slack": slack.url, "ca_file": str(slack.ca_file)}
        if outside is not None:
            facts |= {"proxy": outside.url, **{kind: outside.sinks[kind].url for kind in OWN}}
        if ready_file:
            draft = ready_file.with_name(f"{ready_file.name}.draft")
            draft.write_text(json.dumps(facts), encoding="utf-8")
            draft.replace(ready_file)
        click.echo(json.dumps(facts))
        await ended.wait()


if __name__ == "__main__":
    main()
