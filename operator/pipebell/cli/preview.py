"""`pipebell preview`: which configuration, which trigger, what the cooldown says, and exactly what would be sent."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli import (
    completion,
    cuts,
    effective,
    elsewhere,
    observe,
    observe_incidents,
    own_texts,
    preview_files,
    replicas,
)
from pipebell.cli.client import Client
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.cli.terminal import clean
from pipebell.core.destinations.email import EmailTarget
from pipebell.core.destinations.http import HttpKind, HttpTarget
from pipebell.core.errors import ApiError, NotReady
from pipebell.core.message import Message
from pipebell.core.models import KINDS
from pipebell.core.outcome import Attempt, delivery_id
from pipebell.core.policy.decide import decide
from pipebell.core.policy.decision import Batch, Deliver, Skip, Suppress
from pipebell.core.policy.digest import moved
from pipebell.core.policy.override import changes
from pipebell.core.policy.situation import CooldownFacts, Resolved
from pipebell.core.policy.triggers import with_fallbacks
from pipebell.core.render.email import email_content
from pipebell.core.render.text import struck
from pipebell.core.status import rfc3339
from pipebell.kube.parse import parse_event
from pipebell.providers.email import build_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipebell.core.destinations.base import Kind, Target
    from pipebell.core.event import Event
    from pipebell.core.layers import Fallback
    from pipebell.core.outcome import Thread
    from pipebell.core.policy.decision import Decision
    from pipebell.core.policy.match import Match
    from pipebell.core.policy.situation import Original

_ANOTHER: Final = "another"
_UNKNOWN: Final = (
    "what names the installation (dedup_key, alias, source) differs, for it cannot be known from here; "
    "PIPEBELL_INSTALLATION_ID, or the right to get the operator's namespace, tells it"
)
_SHORT: Final = 3  # characters: whatever is that short is no secret, and stands in every text


@dataclass(slots=True)
class Preview:
    """What would become of an event. `destinations` holds what each provider would be sent, or why it would not be."""

    event: str
    config: str
    decision: str
    trigger: str | None = None
    override: str | None = None
    severity: str | None = None
    cooldown: str | None = None
    digest: str | None = None
    destinations: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@click.command("preview")
@click.argument("event", required=False, shell_complete=completion.events)
@click.option(
    "-f",
    "--file",
    "event_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A PipelineEvent that does not exist yet.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Use this configuration (manifest or JSON) and no cluster's.",
)
@click.option(
    "--root",
    "root_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Use this root configuration, and no cluster's.",
)
@click.option("--open", "open_html", is_flag=True, help="Save the e-mail's HTML and open it.")
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Save the e-mail's HTML there."
)
@observe.max_age_option
@effective.place_options
@output_option
@cluster_options
def command(event: str | None, event_file: Path | None, access: Access, output: str, **options: Any) -> None:  # noqa: ANN401
    """Show what would become of EVENT (a PipelineEvent's name) or of the one in --file. Nothing is sent.

    The configuration is the cluster's, or that of --config and --root. ${VAR}s come from Secrets that you may read, or
    from --env-file; others are marked stand-ins. With -o json, messages are exactly as they would be sent.
    """
    if (event is None) == (event_file is None):
        raise click.UsageError("name an event, or give one by --file")
    where = effective.place(options["operator_namespace"], options["root_configmap"], options["shared_namespaces"])
    env = effective.read_env(options["env_file"])
    offline = options["config_file"] is not None or options["root_file"] is not None
    with Client(access) as client:
        now = time.time()
        if event is not None:
            item = elsewhere.event(client, event)
        else:
            assert event_file is not None  # noqa: S101  (checked above)
            item = preview_files.event(event_file, access.namespace, "default" if offline else client.namespace, now)
        subject = parse_event(item)
        finder = effective.Finder(None if offline else client, where, env)
        if offline:
            found = preview_files.configuration(finder, options["config_file"], options["root_file"], subject)
        else:
            found = finder.find(subject.spec.org_slug, subject.namespace)
            found.notes += replicas.notes(client, where.namespace, subject.namespace)
        resolved = Resolved(found.layers, found.reference, None)
        others = [] if offline else observe.others_like(client, subject, resolved)
        original = None if offline else observe.original_of(client, subject)
        around = observe.Around()
        if not offline:
            silences, unseen = observe.silences_of(client, subject, where.namespace)
            found.notes += unseen
            around = observe.Around(silences, observe_incidents.incidents_like(client, subject, resolved))
        installation = _installation(None if offline else client, where.namespace)
        preview, html = make(subject, found, others, now, options["max_age"], original, installation, around)
    if html is not None and (options["save"] or options["open_html"]):
        _save(html, options["save"], show=options["open_html"])
    click.echo(json.dumps(asdict(preview), indent=2)) if output == "json" else _print(preview)


def make(
    event: Event,
    found: effective.Effective,
    others: Iterable[Event],
    now: float,
    max_age: float = observe.MAX_AGE,
    original: Original | None = None,
    installation: str = "",
    around: observe.Around | None = None,
) -> tuple[Preview, str | None]:
    """The preview, and the e-mail's HTML when there would be an e-mail."""
    preview = Preview(f"{event.namespace}/{event.name}", found.title, "", notes=found.notes)
    resolved = Resolved(found.layers, found.reference, None)
    around = around or observe.Around()
    situation = observe.situation(event, resolved, others, now, max_age, original, around)
    if event.status.finished:  # what it would be now, were it not finished
        situation = situation._replace(
            cooldown=CooldownFacts(suppressed=event.status.suppressed_count or 0),
            now=event.created,
            incident=observe_incidents.unknown(situation.incident),
        )
    decision = decide(situation)
    if event.spec.notice is None:
        preview.override = changes(found.layers, event.spec) or None
    preview.decision = _decided(event, decision)
    if isinstance(decision, Skip) or decision.match is None:
        return preview, None
    match = decision.match
    later = {item.destination: str(item) for item in decision.batch}
    now_or_later = [name for name in (*match.destinations, *later) if isinstance(decision, Deliver) or name in later]
    preview.trigger = f"{event.spec.event.value} → {', '.join(now_or_later or match.destinations)}"
    preview.severity, preview.cooldown = match.severity.value, _cooldown(event, decision, match)
    preview.digest = match.digest.words if match.digest is not None and match.batched else None
    suppressed = decision.suppressed if isinstance(decision, Deliver) else 0
    message = Message(event, match.severity, suppressed, match.note, event.status.incident)
    html = None
    fallbacks = decision.fallbacks if isinstance(decision, Deliver) else {}
    preview.notes += moved(situation, match.severity, decision.batch)
    for name, said in later.items():
        preview.destinations[name] = {"later": said}
    immediate = () if isinstance(decision, Batch) else match.destinations
    for name in with_fallbacks(found.layers, immediate) if fallbacks else immediate:
        preview.destinations[name] = _failover(name, fallbacks)
        try:
            target = found.layers.target(name)
        except NotReady as error:
            preview.destinations[name]["waits"] = f"{error.reason.value}: {error.message}"
            continue
        kind = KINDS[found.layers.kind(name) or ""]
        worded, failed = own_texts.worded(message, kind, found.layers.templates(name))
        if failed:
            preview.notes.append(f"{name}: {failed}; the built-in text is shown")
        sent = partial(_sent, worded, target, kind, name, now, thread=match.threads.get(name))
        preview.destinations[name] |= {"provider": kind.name, **sent(installation)}
        if not installation and sent(_ANOTHER) != sent(""):
            preview.notes.append(f"{name}: {_UNKNOWN}")
        if isinstance(target, EmailTarget):
            html = email_content(worded, target.subject_prefix).html
    return preview, html


def _failover(name: str, fallbacks: Mapping[str, Fallback]) -> dict[str, Any]:
    """Who stands in for a destination, and for whom it stands in itself."""
    found: dict[str, Any] = {}
    if name in fallbacks:
        found["failover"] = {"to": list(fallbacks[name].deliveries), "afterSeconds": fallbacks[name].after}
        return found
    replaced = [other for other, fallback in fallbacks.items() if name in fallback.deliveries]
    return {"failoverFor": replaced} if replaced else {}


def _decided(event: Event, decision: Decision) -> str:
    """The decision in the status's words."""
    if event.status.finished and not isinstance(decision, Skip):
        phase = event.status.phase.value if event.status.phase else ""
        return f"it is finished already ({phase}); this is what it would be now"
    match decision:
        case Skip():
            return f"Skipped/{decision.reason.value}: {decision.message}"
        case Suppress():
            said = f": {decision.message}" if decision.hold is not None else ""
            return f"Suppressed/{decision.reason.value}{said}"
        case Batch():
            return f"Suppressed/{decision.reason.value}: {decision.message}"
        case Deliver():
            return "would be sent" if decision.targets else decision.message
        case _:
            reason = f"Pending/{decision.reason.value}: " if decision.reason else ""
            return f"{reason}{decision.message}"


def _cooldown(event: Event, decision: Decision, match: Match) -> str:
    rule = f"{match.cooldown} s" if match.cooldown else "none"
    if isinstance(decision, Batch):
        return "none holds back what a digest tells"
    if event.exempt:
        return "tests, replays and notices neither obey nor start one"
    if isinstance(decision, Suppress) and decision.hold is not None:
        return f"{rule}; what is held back takes part in none"
    if isinstance(decision, Suppress) and decision.until is not None:
        return f"runs until {rfc3339(decision.until)} because of {decision.by}"
    if isinstance(decision, Deliver) and not event.status.finished:
        suppressed = decision.suppressed
        summary = f"; the message speaks for {suppressed} suppressed before it" if suppressed else ""
        return f"{rule}, none runs now{summary}"
    return rule


def _installation(client: Client | None, namespace: str) -> str:
    """What the operator calls its installation; "" where that cannot be known from here."""
    given = os.environ.get("PIPEBELL_INSTALLATION_ID", "").strip()
    if given or client is None:
        return given
    try:
        return client.uid(namespace)
    except ApiError:
        return ""


def _sent(
    message: Message,
    target: Target,
    kind: Kind,
    name: str,
    now: float,
    installation: str = "",
    thread: Thread | None = None,
) -> dict[str, Any]:
    """Exactly what would be sent; no credential is part of it."""
    attempt = Attempt(
        delivery_id(message.event.uid, name),
        now=now,
        expires=message.event.created + observe.MAX_AGE,
        installation=installation,
    )
    if thread is not None:
        whole = replace(attempt, action=thread.action, handle=thread.handle, alert=thread.alert)
        attempt = kind.feasible(target, whole) or attempt
    if isinstance(target, EmailTarget):
        mail = build_message(message, target, attempt, now=now)
        content = email_content(message, target.subject_prefix)
        return {
            "server": f"{target.host}:{target.port}",
            "from": target.from_email,
            "recipients": list(dict.fromkeys((*target.to, *target.cc))),
            "message": mail.as_bytes().decode("utf-8", "surrogateescape"),
            "text": content.text,
            "subject": content.subject,
            "cut": cuts.found(message, lambda shown: astuple(email_content(shown, target.subject_prefix))),
        }
    if isinstance(kind, HttpKind):
        request = kind.request(message, target, attempt)
        secrets = _secrets(target) if isinstance(target, HttpTarget) else []
        headers = {**request.headers, "X-Pipebell-Delivery": attempt.delivery_id}
        body = struck(request.body.decode(), *secrets)
        return {
            **kind.measures(request),
            "headers": {name: struck(value, *secrets) for name, value in headers.items()},
            "body": body,
            "cut": cuts.found(message, lambda shown: cuts.decoded(kind.request(shown, target, attempt).body)),
            **_as_read(kind, body),
        }
    return {}


def _as_read(kind: HttpKind, body: str) -> dict[str, str]:
    """What people see of it, as text; nothing where an organisation's own template makes something else of it."""
    if kind.shows is None:
        return {}
    try:
        return {"shown": "\n".join(kind.shows(json.loads(body)))}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _secrets(target: HttpTarget) -> list[str]:
    """Those that a request holds beside its URL, which is not shown; the URL's words may stand in any text."""
    of_url = HttpTarget(target.url).secrets
    return [secret for secret in target.secrets if secret not in of_url and len(secret) > _SHORT]


def _save(html: str, path: Path | None, *, show: bool) -> None:
    """Where the user said, else in a fresh folder: an event's name is its author's, and names no file of the user's."""
    path = path or Path(tempfile.mkdtemp(prefix="pipebell-preview-")) / "mail.html"
    try:
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from None
    click.echo(f"saved {path}", err=True)
    if show:
        click.launch(str(path))


def _print(preview: Preview) -> None:
    for name, value in (
        ("event", preview.event),
        ("configuration", preview.config),
        ("trigger", preview.trigger),
        ("override", preview.override),
        ("severity", preview.severity),
        ("cooldown", preview.cooldown),
        ("digest", preview.digest),
        ("decision", preview.decision),
    ):
        if value:
            click.echo(f"{name + ':':15}{clean(value)}")
    for note in preview.notes:
        click.echo(f"{'note:':15}{clean(note)}")
    for destination, sent in preview.destinations.items():
        click.echo(f"\n{click.style(f'── {destination} ', bold=True)}{'─' * 60}")
        for line in _asides(sent):
            click.echo(clean(line))
        if "later" in sent:
            continue
        _print_sent(sent)
        for line in cuts.table(sent.get("cut", ())):
            click.echo(line)


def _print_sent(sent: dict[str, Any]) -> None:
    """What one destination would get; a card as it is read, on a terminal."""
    if "waits" in sent:
        click.echo(f"waits as Pending/ConfigNotReady: {clean(sent['waits'])}")
    elif "segments" in sent:
        plural = "" if sent["segments"] == 1 else "s"
        click.echo(clean(f"{sent['text']}\n{sent['characters']} characters; {sent['segments']} segment{plural}"))
    elif "message" in sent:
        click.echo(clean(f"by {sent['server']} from {sent['from']} to {', '.join(sent['recipients'])}"))
        click.echo(clean(f"Subject: {sent['subject']}\n\n{sent['text']}"))
    elif "shown" in sent and sys.stdout.isatty():
        click.echo(f"{clean(sent['shown'])}\n(-o json shows the request's body)")
    else:
        click.echo(clean(_readable(sent["body"])))


def _asides(sent: dict[str, Any]) -> Iterator[str]:
    """What there is to say before what is sent."""
    if "failover" in sent:
        to, after = sent["failover"]["to"], sent["failover"]["afterSeconds"]
        yield f"fails over to {', '.join(to)} when it fails, or after {after:.0f} s"
    if "failoverFor" in sent:
        yield f"stands in for {', '.join(sent['failoverFor'])}:"
    if "later" in sent:
        yield sent["later"]


def _readable(body: str) -> str:
    """JSON with its lines indented; anything else as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
