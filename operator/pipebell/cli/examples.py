"""What to type: the examples below each command's `--help`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipebell.cli.commands import program

if TYPE_CHECKING:
    import click

# By the command's words; of each line, what follows them.
EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "send": (
        '--org acme_corp --pipeline daily-sales --message "column amount is missing" --wait',
        "--org acme_corp --pipeline daily-sales --event pipeline_success",
        "--org acme_corp --pipeline daily-sales --message - --label env=prod < error.log",
    ),
    "exec": (
        "--org acme_corp --pipeline daily-sales --timeout 3600 -- ./daily-sales.sh",
        "--org acme_corp --pipeline checks --quality-exit 3 --on-success -- python checks.py",
    ),
    "dbt": ("--org acme_corp -- dbt build", "--org acme_corp --results target/run_results.json"),
    "spool": ("ls", "send", "drop --all"),
    "status": ("-n data", "-A --since 2h"),
    "history": (
        "acme_corp --since 12h",
        "acme_corp --pipeline daily-sales --phase failed -o wide",
        "-A --since 30m",
    ),
    "why": ("acme-corp-pipeline-failure-7f3a9c -n data",),
    "incidents": ("-n data", "acme_corp --all --since 7d"),
    "ack": ('daily-sales --note "disk full"', "inc-5e66b1dd372ab99d4e11 -n data --take-over"),
    "snooze": ('daily-sales --for 2h --note "the supplier is away"',),
    "resolve": ('daily-sales --note "loaded by hand"',),
    "silence": (
        'acme_corp --pipelines "orders-*" --for 2h --reason "migration of the warehouse"',
        'acme_corp --until 2026-01-31T08:00:00Z --max-severity error --reason "supplier is away"',
    ),
    "silences": ("-n data", "acme_corp --all -o wide"),
    "unsilence": ("migration -n data",),
    "test": ("acme_corp -n data", "acme_corp --event data_quality_failure"),
    "replay": (
        "acme-corp-pipeline-failure-7f3a9c --wait",
        "acme-corp-pipeline-failure-7f3a9c --to slack --force",
        "acme_corp --failed --since 2h --dry-run",
    ),
    "migrate": ("configs/ --to out -n data --env-file .env.local",),
    "secret from-env": (
        ".env.local --config configs/notifications/config.json -n pipebell-system | kubectl apply -f -",
        ".env.local --org acme_corp -n data | kubectl apply -f -",
    ),
    "validate": ("acme.yaml", "configs/ --env-file .env.local", "- < acme.yaml"),
    "verify": ("acme_corp -n data", "acme_corp -n data --env-file .env.local"),
    "preview": (
        "acme-corp-pipeline-failure-7f3a9c -n data",
        "--file event.yaml --config acme.yaml --root configs/notifications/config.json",
    ),
    "template show": ("slack", "email htmlTemplate > email.htmlTemplate.j2"),
    "template test": ("acme.yaml", "email.htmlTemplate.j2 --event event.yaml"),
    "run": ("--watch-namespaces team-a,team-b --log-format text",),
    "cluster build": ("",),
    "cluster up": ("", "--name second"),
    "cluster env": ("",),
    "cluster down": ("",),
    "demo": ("", "--keep", "--stop"),
    "completion": ("bash",),
}


def below(name: str) -> str:
    """What stands below the help of the command with these words; "" where there is nothing."""
    lines = EXAMPLES.get(name)
    if not lines:
        return ""
    return "Examples:\n" + "\n".join(f"  {program()} {name} {line}".rstrip() for line in lines)


def attach(name: str, command: click.Command) -> click.Command:
    """A click command that shows its examples, and those of the commands in it."""
    command.epilog = f"\b\n{text}" if (text := below(name)) else None
    for word, inner in getattr(command, "commands", {}).items():
        attach(f"{name} {word}", inner)
    return command
