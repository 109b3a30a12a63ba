"""`pipebell verify`: whether an organisation's notifications could go out, without sending any."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from pipebell import tls
from pipebell.cli import completion, effective, known, webhook_check
from pipebell.cli.client import CONFIGS, Client
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.cli.terminal import clean
from pipebell.cli.verify_remote import PATIENCE, Remote
from pipebell.core.destinations.base import DEFAULT_KIND
from pipebell.core.destinations.email import EmailTarget
from pipebell.core.destinations.http import HttpKind, HttpTarget
from pipebell.core.errors import NotReady
from pipebell.core.finding import Finding
from pipebell.core.models import KINDS
from pipebell.core.policy.triggers import destinations_to_check
from pipebell.providers.checks import smtp
from pipebell.providers.checks.line import Line
from pipebell.settings import Settings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection
    from pathlib import Path

    from pipebell.core.destinations.base import Kind, Target
    from pipebell.core.layers import Layers


@click.command("verify")
@click.argument("org", required=False, shell_complete=completion.organisations)
@click.option(
    "--timeout",
    type=float,
    default=PATIENCE,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for the operator where it has to try; 0 does not ask it.",
)
@known.allow_root_option
@effective.place_options
@output_option
@cluster_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    org: str | None,
    env_file: Path | None,
    output: str,
    access: Access,
    *,
    timeout: float,
    allow_root: bool,
    **options: str,
) -> None:
    """Check ORG's way out, or every organisation's in the namespace: SMTP login, webhooks; nothing is sent.

    It reads the configuration and its Secrets with your rights, connects as the operator would, and says what is wrong
    and what to do: name, port, TLS mode, certificate, password, quota. PIPEBELL_CA_FILE and
    PIPEBELL_ALLOWED_HOSTS count as for the operator. Where you may not read the Secrets, the operator tries instead, by
    the annotation pipebell.io/verify (the right to patch NotificationConfigs, as in the role edit); where it cannot be
    asked, a mail server's name, port and TLS are tried from here.
    """
    where = effective.place(options["operator_namespace"], options["root_configmap"], options["shared_namespaces"])
    env = effective.read_env(env_file)
    with Client(access) as client:
        namespace = client.namespace
        orgs = [org] if org else sorted({item["spec"]["orgSlug"] for item in client.list(CONFIGS)})
        if not orgs:
            raise effective.Unusable(
                f"namespace {namespace} has no NotificationConfig: name an organisation, or -n NAME"
            )
        checked = None if allow_root else client
        remote = Remote(client, where.namespace, timeout, lambda line: click.echo(line, err=True))
        results = [_verify(one, namespace, effective.Finder(client, where, env), checked, remote) for one in orgs]
    if output == "json":
        click.echo(json.dumps(results, indent=2))
    else:
        for result in results:
            _print(result)
    ctx.exit(0 if all(result["ok"] for result in results) else 1)


def _verify(
    org: str, namespace: str, finder: effective.Finder, client: Client | None, remote: Remote
) -> dict[str, Any]:
    """`client` is None where root's configuration will do."""
    try:
        if client is not None:
            known.check(client, finder, org, namespace)
        found = finder.find(org, namespace)
    except effective.Unusable as error:
        problem = asdict(Finding("configuration", False, str(error)))
        return {"org": org, "ok": False, "config": None, "checks": {"configuration": [problem]}, "notes": []}
    routes = {name: _route(name, found.layers) for name in destinations_to_check(found.layers)}
    operators, notes = dict[str, Finding](), found.notes
    presumed = frozenset[str]().union(*(route.presumed for route in routes.values()))
    if presumed or finder.root_hidden:
        operators, remark = remote.ask(found.reference)
        notes = _without_stand_ins(notes, presumed) if operators else notes
        notes = [*notes, remark] if remark else notes
    checks = {
        name: [operators[name]] if name in operators and (route.presumed or finder.root_hidden) else _check(route)
        for name, route in routes.items()
    }
    if operators and finder.root_hidden:  # by root's triggers and switches there may be others than it seems from here
        checks = {name: [finding] for name, finding in operators.items()}
    return {
        "org": org,
        "ok": bool(checks) and all(finding.ok for findings in checks.values() for finding in findings),
        "config": found.title,
        "checks": {name: [asdict(finding) for finding in findings] for name, findings in checks.items()},
        "notes": notes,
    }


@dataclass(frozen=True, slots=True)
class _Route:
    """One destination. `presumed` are its fields of which a stand-in was given, for want of the right to read them."""

    kind: Kind
    target: Target | Finding
    presumed: frozenset[str]


def _route(name: str, layers: Layers) -> _Route:
    before = _presumed(layers)
    target: Target | Finding
    try:
        target = layers.target(name)
    except NotReady as error:
        fix = "the operator waits for it: Ready=False"
        target = Finding("configuration", False, error.message, fix, error.reason.value)
    return _Route(KINDS[layers.kind(name) or DEFAULT_KIND], target, _presumed(layers) - before)


def _presumed(layers: Layers) -> frozenset[str]:
    known = (getattr(layer.source, "presumed", ()) for layer in (layers.org, layers.root) if layer is not None)
    return frozenset().union(*known)


def _without_stand_ins(notes: list[str], presumed: Collection[str]) -> list[str]:
    """What need not be said when the operator has tried with what is really there."""
    return [note for note in notes if not note.startswith(tuple(f"{field}: " for field in presumed))]


def _check(route: _Route) -> list[Finding]:
    kind, target = route.kind, route.target
    if isinstance(target, Finding):
        return [target]
    if route.presumed:
        return _without_credentials(target, route.presumed)
    if isinstance(target, EmailTarget):
        return list(smtp.check(target, Line(), _context()))
    if not isinstance(kind, HttpKind) or not isinstance(target, HttpTarget):
        return [Finding("destination", True, f"{kind.title} cannot be tried without sending: use `pipebell test`")]
    return list(webhook_check.check(kind, target, Settings.from_env(os.environ).hosts, _context()))


def _context() -> ssl.SSLContext:
    """Whom the operator trusts."""
    context = tls.client_context()
    if file := effective.ca_file():
        context.load_verify_locations(file)
    return context


def _without_credentials(target: Target, presumed: Collection[str]) -> list[Finding]:
    """What can be tried where stand-ins were given for these fields: a mail server's name, port and TLS."""
    message = "credentials are in a Secret that you may not read, or in the operator's environment only"
    unread = Finding("secrets", False, message, "ask who may, or give --env-file", "NotReadable")
    if isinstance(target, EmailTarget) and not any(field.endswith(".smtpHost") for field in presumed):
        return [*smtp.check(target, Line(), _context(), login=False), unread]
    return [unread]


def _print(result: dict[str, Any]) -> None:
    click.echo(f"{result['org']}: {result['config'] or ''}".rstrip(": "))
    for name, findings in result["checks"].items():
        for finding in findings:
            mark = click.style("ok   ", fg="green") if finding["ok"] else click.style("wrong", fg="red")
            what = "" if finding["what"] == name else f"{finding['what']}: "
            click.echo(f"  {mark} {name}: {what}{clean(finding['message'])}")
            if not finding["ok"] and finding["fix"]:
                click.echo(f"        {finding['fix']}")
    if not result["checks"]:
        click.echo("  no enabled trigger sends anything anywhere")
    for note in result["notes"]:
        click.echo(f"  note: {clean(note)}")
