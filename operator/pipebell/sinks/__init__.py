"""Local receivers of what Pipebell sends: a mail server, a Slack and others that keep everything and answer as told.

For the demo, the tests and users' own trials: in a running loop (`async with SmtpSink() as sink`), in a thread
(`running(sink)`), or as a process of their own (`python -m pipebell.sinks`).
"""

from pipebell.sinks.alerts import AlertmanagerSink, JsmSink, TwilioSink
from pipebell.sinks.answers import DROP, HANG, KEEP_AND_DROP, Behaviour, Respond, Say
from pipebell.sinks.chats import DiscordSink, GoogleChatSink, MattermostSink, TelegramSink
from pipebell.sinks.http import HttpSink, redirect
from pipebell.sinks.outside import Outside
from pipebell.sinks.pagerduty import PagerDutySink
from pipebell.sinks.records import Mail, Post, by_path, read
from pipebell.sinks.slack import SlackSink, too_many
from pipebell.sinks.slack_api import SlackApiSink
from pipebell.sinks.smtp import SmtpSink
from pipebell.sinks.smtp_limits import Limits, Rate
from pipebell.sinks.teams import TeamsSink
from pipebell.sinks.threads import running
from pipebell.sinks.tls import Trust

__all__ = [
    "DROP",
    "HANG",
    "KEEP_AND_DROP",
    "AlertmanagerSink",
    "Behaviour",
    "DiscordSink",
    "GoogleChatSink",
    "HttpSink",
    "JsmSink",
    "Limits",
    "Mail",
    "MattermostSink",
    "Outside",
    "PagerDutySink",
    "Post",
    "Rate",
    "Respond",
    "Say",
    "SlackApiSink",
    "SlackSink",
    "SmtpSink",
    "TeamsSink",
    "TelegramSink",
    "Trust",
    "TwilioSink",
    "by_path",
    "read",
    "redirect",
    "running",
    "too_many",
]
