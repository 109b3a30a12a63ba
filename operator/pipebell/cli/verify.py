"""`pipebell verify`: whether an organisation's notifications could go out, without sending any."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pipebell.cli import completion, effective, known, smtp_check, webhook_check
from pipebell.cli.client import CONFIGS, Client
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.cli.smtp_check import Finding
from pipebell.cli.terminal import clean
from pipebell.core.destinations.email import EmailTarget
from pipebell.core.destinations.http import HttpKind, HttpTarget
from pipebell.core.errors import NotReady
from pipebell.core.models import KINDS
from pipebell.core.policy.triggers import destinations_in_use
from pipebell.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from pipebell.core.destinations.base import Target
    from pipebell.core.layers import Layers


@click.command("verify")
@click.argument("org", required=False, shell_complete=completion.organisations)
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
    allow_root: bool,
    **options: str,
) -> None:
    """Check ORG's way out, or every organisation's in the namespace: SMTP login, webhooks; nothing is sent.

    It reads the configuration and its Secrets with your rights, connects as the operator would, and says what is wrong
    and what to do: name, port, TLS mode, certificate, password, quota. PIPEBELL_CA_FILE and
    PIPEBELL_ALLOWED_HOSTS count as for the operator.
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
        results = [_verify(one, namespace, effective.Finder(client, where, env), checked) for one in orgs]
    if output == "json":
        click.echo(json.dumps(results, indent=2))
    else:
        for result in results:
            _print(result)
    ctx.exit(0 if all(result["ok"] for result in results) else 1)


def _verify(org: str, namespace: str, finder: effective.Finder, client: Client | None) -> dict[str, Any]:
    """`client` is None where root's configuration will do."""
    try:
        if client is not None:
            known.check(client, finder, org, namespace)
        found = finder.find(org, namespace)
    except effective.Unusable as error:
        problem = asdict(Finding("configuration", False, str(error)))
        return {"org": org, "ok": False, "config": None, "checks": {"configuration": [problem]}, "notes": []}
    checks = {name: _check(name, found.layers) for name in destinations_in_use(found.layers)}
    return {
        "org": org,
        "ok": bool(checks) and all(finding.ok for findings in checks.values() for finding in findings),
        "config": found.title,
        "checks": {name: [asdict(finding) for finding in findings] for name, findings in checks.items()},
        "notes": found.notes,
    }


def _check(name: str, layers: Layers) -> list[Finding]:
    try:
        target = layers.target(name)
    except NotReady as error:
        return [Finding("configuration", False, error.message, "the operator waits for it: Ready=False")]
    presumed: set[str] = set().union(
        *(getattr(layer.source, "presumed", ()) for layer in (layers.org, layers.root) if layer is not None)
    )
    if presumed:
        return _without_credentials(target, presumed)
    if isinstance(target, EmailTarget):
        return list(smtp_check.check(target, effective.ca_file()))
    kind = KINDS[layers.kind(name) or ""]
    if not isinstance(kind, HttpKind) or not isinstance(target, HttpTarget):
        return [Finding("destination", True, f"{kind.title} cannot be tried without sending: use `pipebell test`")]
    return list(webhook_check.check(kind, target, Settings.from_env(os.environ).hosts, effective.ca_file()))


def _without_credentials(target: Target, presumed: set[str]) -> list[Finding]:
    """What can be tried where stand-ins were given for these fields: a mail server's name, port and TLS."""
    message = "credentials are in a Secret that you may not read, or in the operator's environment only"
    unread = Finding("secrets", False, message, "ask who may, or give --env-file")
    if isinstance(target, EmailTarget) and not any(field.endswith(".smtpHost") for field in presumed):
        return [*smtp_check.check(target, effective.ca_file(), login=False), unread]
    return [unread]


def _print(result: dict[str, Any]) -> None:
    click.echo(f"{result['org']}: {result['config'] or ''}".rstrip(": "))
    for name, findings in result["checks"].items():
        for finding in findings:
            mark = click.style("ok   ", fg="green") if finding["ok"] else click.style("wrong", fg="red")
            click.echo(f"  {mark} {name}: {finding['what']}: {clean(finding['message'])}")
            if not finding["ok"] and finding["fix"]:
                click.echo(f"        {finding['fix']}")
    if not result["checks"]:
        click.echo("  no enabled trigger sends anything anywhere")
    for note in result["notes"]:
        click.echo(f"  note: {clean(note)}")
