"""What people get to read: a notification as an e-mail's content and as a Slack payload. Pure and deterministic.

`text` makes hostile text harmless, `facts` says what there is to tell, `email` and `slack` say it.
"""

from pipebell.core.render.email import EmailContent, email_content
from pipebell.core.render.slack import slack_payload

__all__ = ["EmailContent", "email_content", "slack_payload"]
