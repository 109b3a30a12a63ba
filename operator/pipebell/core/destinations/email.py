"""E-mail over SMTP: what is configured, and where exactly a message goes. `providers.email` sends it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar, Final

from pydantic import Field, StringConstraints

from pipebell.core.destinations.base import Capabilities, DestinationSpec, Kind
from pipebell.core.errors import NotReady
from pipebell.core.fields import (
    ENDPOINT,
    FOLLOWS_ENDPOINT,
    HELO,
    NESTED_MAX_FLAG,
    Credential,
    EmailAddress,
    Flag,
    Flagged,
    Host,
    Port,
    Text,
    UserName,
    with_references,
)
from pipebell.core.render.text import listed
from pipebell.core.template import HTML, LINE, TEXT, Template, TemplateText, template_field
from pipebell.core.vocabulary import NotReadyReason, SmtpTls

if TYPE_CHECKING:
    from pipebell.core.destinations.block import Block

_IMPLICIT_TLS_PORT: Final = 465
# In `destinations[]` fewer: the API server's budget for rules counts the longest list there could be.
_Addresses = Annotated[
    Annotated[list[EmailAddress], Field(max_length=100), Flagged(NESTED_MAX_FLAG, 50)] | None, FOLLOWS_ENDPOINT
]

_SUBJECT: Final = "{{ event.severity | upper }}: {{ event.headline }}"
_TEXT: Final = """\
{{ event.emoji }} {{ event.headline }}

{% for note in event.notes %}
{{ note }}

{% endfor %}
Organisation: {{ org }}
Pipeline:     {{ event.pipeline }}
Run:          {{ event.run }}
Severity:     {{ severity | capitalize }}
When:         {{ event.when }}
{% if event.message %}

Message
-------
{{ event.message }}
{% endif %}
{% if event.details_text %}

Details
-------
{{ event.details_text }}
{% endif %}
{% if links %}

Links
-----
{% for link in links %}
{{ link.title }}: {{ link.url }}
{% endfor %}
{% endif %}

--\x20
Sent by Pipebell for the PipelineEvent {{ event.source }}
"""
_HTML: Final = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{{ event.headline }}</title></head>
<body style="margin:0;padding:24px;background-color:#f0f2f5;font-family:-apple-system,'Segoe UI',Arial,sans-serif">
<div style="max-width:640px;margin:0 auto;background-color:#ffffff;color:#1f2328">
<h1 style="margin:0;padding:18px 24px;font-size:20px;color:#ffffff;background-color:{{ event.color }}">
{{ event.emoji }} {{ event.headline }}</h1>
{% for note in event.notes %}
<p style="margin:0;padding:10px 24px;background-color:#fff8e5">{{ note }}</p>
{% endfor %}
<table style="padding:16px 24px;font-size:14px">
<tr><td>Organisation</td><td>{{ org }}</td></tr>
<tr><td>Pipeline</td><td>{{ event.pipeline }}</td></tr>
<tr><td>Run</td><td>{{ event.run }}</td></tr>
<tr><td>Severity</td><td>{{ severity | capitalize }}</td></tr>
<tr><td>When</td><td>{{ event.when }}</td></tr>
</table>
{% for name, text in [["Message", event.message], ["Details", event.details_text]] %}
{% if text %}
<p style="margin:0;padding:0 24px;font-size:13px;color:#59636e">{{ name }}</p>
<pre style="margin:6px 24px 20px 24px;padding:12px;background-color:#f6f8fa;white-space:pre-wrap">{{ text }}</pre>
{% endif %}
{% endfor %}
{% for link in links %}
<p style="margin:0;padding:0 24px 12px 24px"><a href="{{ link.url | url }}">{{ link.title }}</a></p>
{% endfor %}
<p style="margin:0;padding:14px 24px;font-size:12px;color:#59636e">
Sent by Pipebell for the PipelineEvent {{ event.source }}</p>
</div>
</body>
</html>
"""


@with_references
class EmailSpec(DestinationSpec):
    """E-mail over SMTP."""

    smtp_host: Annotated[Host | None, ENDPOINT] = Field(
        None,
        description=(
            "SMTP server: a host name, an IP address, or exactly ${VAR}. Setting it (or any other smtp "
            "field) means a transport of your own, which inherits none of root's, recipients included."
        ),
    )
    smtp_port: Annotated[Port | None, ENDPOINT] = Field(
        None, description="SMTP port; 465 means TLS from the start. Default 587."
    )
    smtp_username: Annotated[UserName | None, ENDPOINT] = Field(
        None, description="User name for SMTP AUTH, or exactly ${VAR}."
    )
    smtp_password: Annotated[Credential | None, ENDPOINT] = Field(
        None, description="Password for SMTP AUTH; write ${VAR} and keep the value in the Secret that secretRef names."
    )
    smtp_use_tls: Annotated[Flag | None, ENDPOINT] = Field(
        None,
        description=(
            "Whether TLS is required: STARTTLS, or from the start on port 465. Default true. Not beside smtpTls."
        ),
    )
    smtp_tls: Annotated[SmtpTls | None, ENDPOINT] = Field(
        None,
        description=(
            "How TLS begins. Auto: from the start on port 465, else by STARTTLS; StartTls: by STARTTLS on any port; "
            "Implicit: from the start on any port (default port 465). Default: what smtpUseTls says."
        ),
    )
    smtp_helo: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=HELO)] | None, ENDPOINT
    ] = Field(
        None,
        description="Name that EHLO gives: a host name or an address literal. Default: the connection's own address.",
    )
    from_email: EmailAddress | None = Field(
        None, description="From address, or exactly ${VAR}. On root's transport it becomes Reply-To."
    )
    from_name: Text | None = Field(None, description="Name shown beside the From address.")
    to_emails: _Addresses = Field(
        None, description="Recipients; each an address or exactly ${VAR}. Replaces root's list as a whole."
    )
    cc_emails: _Addresses = Field(
        None, description="Recipients in copy; each an address or exactly ${VAR}. Replaces root's list as a whole."
    )
    subject_prefix: Text | None = Field(None, description="Put before every subject, such as [CloudAct].")
    subject_template: Annotated[TemplateText | None, Template(LINE, _SUBJECT, limit=250)] = template_field(
        "the subject"
    )
    text_template: Annotated[TemplateText | None, Template(TEXT, _TEXT)] = template_field(
        "the text; without htmlTemplate, the HTML says the same"
    )
    html_template: Annotated[TemplateText | None, Template(HTML, _HTML)] = template_field("the HTML")


@dataclass(frozen=True, slots=True)
class EmailTarget:
    """An SMTP transport and an envelope.

    `trusted` says that the host comes from root's configuration, which may name any address. `reply_to` is the
    organisation's own From on root's transport. TLS is required when `use_tls`: by STARTTLS, or from the start when
    `implicit_tls`. `helo` is the name for EHLO; None for the connection's own address. `hidden` are root's addresses in
    an organisation's target: whoever reads the event's status must not learn them.
    """

    kind: ClassVar[str] = "email"
    host: str
    port: int
    use_tls: bool
    trusted: bool
    from_email: str
    from_name: str | None
    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    reply_to: str | None = None
    subject_prefix: str | None = None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    implicit_tls: bool = False
    helo: str | None = None
    where: str = field(default="email", compare=False)
    recipients: str = field(default="", compare=False)
    hidden: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def endpoint(self) -> tuple[object, ...]:
        """What a "too many" answer pauses, and what connections may be shared for: the transport and its account."""
        account = (self.username, self.password)
        return (self.host, self.port, self.use_tls, self.implicit_tls, self.helo, self.trusted, account)


def target(block: Block) -> EmailTarget:
    """The transport and the envelope. Raises NotReady, naming the field or variable."""
    host = block.required("smtp_host")
    port, use_tls, implicit = _tls(block)
    username, password = _login(block, use_tls=use_tls)
    sender, reply_to = _sender(block)
    to = block.texts("to_emails")
    if not to:
        raise block.incomplete("to_emails", "names nobody")
    cc = tuple(address for address in block.texts("cc_emails") if address not in to)
    return EmailTarget(
        host=host.strip("[]"),
        port=port,
        use_tls=use_tls,
        trusted=block.trusted,
        from_email=sender,
        from_name=block.get("from_name"),
        to=to,
        cc=cc,
        reply_to=reply_to if reply_to != sender else None,
        subject_prefix=block.get("subject_prefix"),
        username=username,
        password=password,
        implicit_tls=implicit,
        helo=block.get("smtp_helo"),
        where=block.path,
        recipients=_recipients_shown(block, to, cc),
        hidden=_of_root(block, to, cc),
    )


def _of_root(block: Block, to: tuple[str, ...], cc: tuple[str, ...]) -> tuple[str, ...]:
    lists = (("to_emails", to), ("cc_emails", cc))
    return tuple(address for name, addresses in lists if block.from_root(name) for address in addresses)


def _recipients_shown(block: Block, to: tuple[str, ...], cc: tuple[str, ...]) -> str:
    """The recipients, for people: the organisation's own addresses, as many as fit; root's by their number only."""
    own: list[str] = []
    hidden = 0
    for field_name, addresses in (("to_emails", to), ("cc_emails", cc)):
        if block.from_root(field_name):
            hidden += len(addresses)
        else:
            own += addresses
    return listed(own, f"{hidden} of the platform's" if hidden else "")


def _tls(block: Block) -> tuple[int, bool, bool]:
    """The port, whether TLS is required there, and whether it begins at once. Raises NotReady."""
    port, mode, required = block.get("smtp_port"), block.get("smtp_tls"), block.get("smtp_use_tls")
    if mode is not None and required is not None:
        message = f"{block.path}.smtpTls and {block.path}.smtpUseTls are both set: keep smtpTls"
        raise NotReady(NotReadyReason.INCOMPLETE, message)
    if mode is SmtpTls.IMPLICIT:
        return port or _IMPLICIT_TLS_PORT, True, True
    port = port or 587
    implicit = port == _IMPLICIT_TLS_PORT and mode is not SmtpTls.STARTTLS
    return port, required is not False or implicit, implicit


def _login(block: Block, *, use_tls: bool) -> tuple[str | None, str | None]:
    username, password = block.text("smtp_username"), block.text("smtp_password")
    if (username is None) != (password is None):
        missing = "smtp_password" if password is None else "smtp_username"
        raise block.incomplete(missing, "is not set, but its counterpart is")
    if username is not None and not use_tls:
        raise NotReady(
            NotReadyReason.INVALID,
            f"{block.path}.smtpUseTls is false, and credentials are never sent without TLS: set it to true",
        )
    return username, password


def _sender(block: Block) -> tuple[str, str | None]:
    """From, and Reply-To: on root's transport the From stays root's, and the organisation's is where answers go."""
    trait = block.traits["from_email"]
    if not block.trusted or block.owner is None:
        return block.required("from_email"), None
    sender = block.owner.text(trait)
    if sender is None:
        raise NotReady(
            NotReadyReason.INCOMPLETE,
            f"{block.owner.path}.fromEmail is not set in the root configuration, whose transport is used",
        )
    return sender, block.org.text(trait) if block.org is not None else None


EMAIL: Final = Kind(
    name="email",
    title="E-mail",
    spec=EmailSpec,
    target=target,
    seed=True,
    capabilities=Capabilities(threads=True),
    example={
        "smtpHost": "smtp.example.com",
        "smtpPort": 587,
        "smtpUsername": "robot@example.com",
        "smtpPassword": "presumed",
        "fromEmail": "pipelines@example.com",
        "toEmails": ["someone@example.com"],
        "ccEmails": ["someone-else@example.com"],
    },
)
