"""`pipebell status`: whether anybody would be told, at a glance, and the first thing to do where not."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from pipebell.cli import elsewhere, incidents, replicas, show, silences
from pipebell.cli.client import CONFIGS, EVENTS, INCIDENTS, Client
from pipebell.cli.options import Access, cluster_options, output_option
from pipebell.cli.standing import Standing, channels, destinations, paused, unready, unserved
from pipebell.cli.terminal import clean, style
from pipebell.core.errors import NotFound, Rejected
from pipebell.core.incidents.resource import IncidentPhase
from pipebell.core.served import ABSENT, lacking
from pipebell.core.shards import SHARDS
from pipebell.core.vocabulary import Severity, SilencePhase
from pipebell.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipebell.cli.replicas import Operator, Replica

RECENT: Final = 86_400.0  # seconds: how far back deliveries are looked at
_SHOWN: Final = 5  # objects that a line of text names; `-o json` has all
_STATES: Final = {"ok": "green", "note": "yellow", "unknown": "yellow", "wrong": "red"}
_ROOT: Final = {
    "valid": ("ok", "valid"),
    "none": ("ok", "there is none: an organisation needs a configuration of its own"),
    "templates": ("wrong", "valid, but some of its templates cannot be used: built-in texts are sent instead"),
    "kept": ("wrong", "its last change is invalid; the version before it counts"),
    "invalid": ("wrong", "invalid, and no valid version is known: what leans on it waits"),
    "unread": ("wrong", "the operator has not read it yet"),
}


@dataclass(slots=True)
class Part:
    """One thing that was looked at. `state`: ok, note, wrong, or unknown; `fix` says what to do unless it is ok."""

    what: str
    state: str
    message: str
    fix: str = ""
    items: Sequence[dict[str, Any]] = ()


@dataclass(slots=True)
class Status:
    """All there is to say. `first` is the first thing to do; "" when nothing is to be done."""

    namespace: str
    ok: bool = True
    first: str = ""
    parts: list[Part] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Parts come in the order in which they should be put right. What is not known is not right either."""
        self.parts.append(part)
        self.ok = not any(part.state in ("wrong", "unknown") for part in self.parts)
        fixes = [part.fix for state in ("wrong", "unknown") for part in self.parts if part.state == state]
        self.first = next(filter(None, fixes), "")


@click.command("status")
@click.option("-A", "--all-namespaces", is_flag=True, help="Configurations and events of every namespace.")
@click.option("--since", type=show.Period(), default=RECENT, metavar="PERIOD", help="Deliveries of the last … [1d].")
@replicas.operator_option
@output_option
@cluster_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    operator_namespace: str,
    access: Access,
    output: str,
    since: float,
    *,
    all_namespaces: bool,
) -> None:
    """Is anybody told? The operator, what it serves, and what stands still in the namespace.

    Exit code 0 means that all is well; 1 that something is wrong, or not known because you may not read it: the last
    line is the first thing to do.
    """
    with Client(access) as client:
        status = make(client, operator_namespace, since, everywhere=all_namespaces)
    click.echo(json.dumps(asdict(status), indent=2)) if output == "json" else _print(status)
    ctx.exit(0 if status.ok else 1)


def make(client: Client, operator_namespace: str, since: float = RECENT, *, everywhere: bool = False) -> Status:
    """Look at everything. Raises ApiErrors that have nothing to do with permission."""
    namespace = "" if everywhere else client.namespace
    status = Status(namespace)
    operator = replicas.look(client, operator_namespace)
    wrong = elsewhere.no_namespace(client, namespace) if namespace else ""
    for part in (*_operator(operator), _served(operator, namespace, wrong), _definitions(client), _root(operator)):
        status.add(part)
    now = time.time()
    configs = _read(lambda: list(client.list(CONFIGS, everywhere=everywhere)))
    status.add(_listed("configurations", configs, lambda items: _configurations(unready(items), len(items))))
    events = _read(lambda: list(client.list(EVENTS, everywhere=everywhere)))
    status.add(_listed("destinations", events, lambda items: _destinations(_failing(configs, items, now, since))))
    status.add(_listed("events", events, lambda items: _events(unserved(items, operator, now))))
    status.add(_listed("paused", events, lambda items: _paused(paused(items))))
    found = _read(lambda: list(client.list(INCIDENTS, unlike={"status.phase": "Resolved"}, everywhere=everywhere)))
    status.add(_listed("incidents", found, _incidents))
    held = _read(lambda: silences.read(client, operator_namespace, everywhere=everywhere))
    status.add(_listed("silences", held, lambda items: _silences(items, now)))
    return status


def _read(read: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]] | str:
    """Objects, or why they may not be read."""
    try:
        return read()
    except (Rejected, NotFound) as error:
        return str(error)


def _listed(what: str, found: list[dict[str, Any]] | str, judge: Callable[[list[dict[str, Any]]], Part]) -> Part:
    if isinstance(found, str):
        return Part(what, "unknown", f"unknown: {found}", found)
    return judge(found)


# ---------------------------------------------------------------------- the operator


def _operator(operator: Operator) -> list[Part]:
    where = f"namespace {operator.namespace}"
    if operator.replicas is None:
        fix = "ask the platform team for the right to list Leases there (the chart's rbac.info)"
        return [Part("operator", "unknown", f"unknown: {operator.unknown}", fix)]
    if not operator.replicas:
        fix = (
            f"if it is installed elsewhere, name its namespace by --operator-namespace; "
            f"else install it: helm install pipebell charts/pipebell -n {operator.namespace}"
        )
        return [Part("operator", "wrong", f"there is none in {where}", fix)]
    items = [asdict(replica) for replica in operator.replicas]
    if not operator.living:
        fix = (
            f"see why it does not run: kubectl -n {operator.namespace} get pods; kubectl -n {operator.namespace} logs …"
        )
        return [Part("operator", "wrong", f"stopped in {where}: no replica renews its Lease", fix, items)]
    releases = ", ".join(sorted({replica.version or "an old release" for replica in operator.living}))
    parts = [Part("operator", "ok", f"{releases} in {where}", items=items)]
    if any(replica.version != __version__ for replica in operator.living):
        parts.append(Part("release", "note", f"this command is of release {__version__}", "use the operator's release"))
    for installation in dict.fromkeys(replica.installation for replica in operator.living):
        group = [replica for replica in operator.replicas if replica.installation == installation]
        parts.append(_shards(operator, group))
    return parts


def _shards(operator: Operator, group: Sequence[Replica]) -> Part:
    """Whether all organisations of an installation have a replica."""
    living = [replica for replica in group if replica.renewed]
    held = sum(replica.shards for replica in living)
    message = f"{len(living)} of {group[0].installation}, which hold {held} of {SHARDS} shards"
    dead = len(group) - len(living)
    if dead:
        message += f"; {dead} more no longer {'renews its Lease' if dead == 1 else 'renew their Leases'}"
    if held < SHARDS:
        fix = f"wait a minute; then see the operator's log: {_logs(operator)}"
        return Part("replicas", "wrong", f"{message}: some organisations are nobody's", fix)
    return Part("replicas", "note" if dead else "ok", message)


def _logs(operator: Operator) -> str:
    return f"kubectl -n {operator.namespace} logs -l app.kubernetes.io/name=pipebell"


def _served(operator: Operator, namespace: str, wrong: str) -> Part:
    """`wrong` says that there is no such namespace."""
    if wrong:
        return Part("namespaces", "wrong", wrong, f"name another namespace by -n: {wrong}")
    if operator.replicas is None:
        return Part("namespaces", "unknown", "unknown, as the operator is", "")
    if not operator.living:
        return Part("namespaces", "wrong", "none is served")
    if trouble := operator.trouble(namespace) if namespace else "":
        fix = f"add {namespace} to watchNamespaces in the operator's chart, or use a namespace that is served"
        return Part("namespaces", "wrong", trouble, fix)
    return Part("namespaces", "ok", f"{operator.scope}: served")


def _definitions(client: Client) -> Part:
    try:
        missing = lacking(client.schemas())
    except Rejected as error:
        return Part("definitions", "unknown", f"unknown: {error}", "ask for the right to read /openapi/v3")
    if not missing:
        return Part("definitions", "ok", f"have every field of release {__version__}")
    fix = "apply this release's definitions: kubectl apply --server-side -f crds"
    absent = [kind for kind, paths in missing.items() if paths == [ABSENT]]
    if absent:
        return Part("definitions", "wrong", f"the cluster does not know {' and '.join(absent)}", fix)
    items = [{"kind": kind, "lacks": paths} for kind, paths in missing.items()]
    words = "; ".join(f"{kind} lacks {_some(paths)}" for kind, paths in missing.items())
    return Part("definitions", "wrong", f"are of another release: {words}", fix, items)


def _root(operator: Operator) -> Part:
    words = {replica.root for replica in operator.living}
    if operator.replicas is None or not operator.living or words == {""}:
        fix = "upgrade the operator, which does not say it" if operator.living else ""
        return Part("root", "unknown", "unknown: no replica says how it stands", fix)
    worst = next((word for word in reversed(_ROOT) if word in words), "")
    state, message = _ROOT.get(worst, ("unknown", f"unknown: {worst}"))
    fix = f"see what is wrong with it: kubectl -n {operator.namespace} get events" if state == "wrong" else ""
    return Part("root", state, message, fix)


# ---------------------------------------------------------------------- the namespace


def _configurations(found: Sequence[Standing], count: int) -> Part:
    if not found:
        return Part("configurations", "ok", f"{count}, all ready")
    first = found[0]
    fix = f"fix NotificationConfig {first.namespace}/{first.name}: {first.message}"
    message = f"{len(found)} of {count} not ready: {_some([f'{s.name} ({s.reason})' for s in found])}"
    return Part("configurations", "wrong", message, fix, [asdict(standing) for standing in found])


def _failing(
    configs: list[dict[str, Any]] | str, events: list[dict[str, Any]], now: float, since: float
) -> list[Standing]:
    """Destinations that fail: by events' deliveries, which name an event to look at, and by the configurations."""
    found = destinations(events, now, since)
    known = {(item.namespace, item.org, item.destination.partition("/")[0]) for item in found}
    more = channels([] if isinstance(configs, str) else configs, events)
    return [*found, *(item for item in more if (item.namespace, item.org, item.destination) not in known)]


def _destinations(found: Sequence[Standing]) -> Part:
    if not found:
        return Part("destinations", "ok", "none fails")
    first = found[0]
    where = f"-n {first.namespace}"
    fix = first.fix or f"see why: pipebell why {first.name} {where}; then: pipebell verify {first.org} {where}"
    message = f"{len(found)} failing: {_some([f'{s.destination} of {s.org} ({s.reason})' for s in found])}"
    return Part("destinations", "wrong", message, fix, [asdict(standing) for standing in found])


def _events(found: Sequence[Standing]) -> Part:
    if not found:
        return Part("events", "ok", "none waits for an operator")
    first = found[0]
    message = f"{len(found)} served by nobody: {_some([f'{s.namespace}/{s.name}' for s in found])}: {first.message}"
    return Part("events", "wrong", message, first.fix, [asdict(standing) for standing in found])


def _paused(found: Sequence[Standing]) -> Part:
    if not found:
        return Part("paused", "ok", "no endpoint")
    words = [f"{s.destination} of {s.org} ({s.count} waiting{f', next at {s.time}' if s.time else ''})" for s in found]
    fix = "nothing, it goes on by itself; send less if it stays"
    return Part("paused", "note", f"{_some(words)}: the other side is busy", fix, [asdict(s) for s in found])


def _incidents(found: Sequence[dict[str, Any]]) -> Part:
    """Open ones are no more than a note: what is wrong with pipelines is nothing wrong with whoever tells of it."""
    notified = [item for item in found if incidents.phase_of(item) != IncidentPhase.PENDING]
    if not notified:
        return Part("incidents", "ok", "none is open")
    severities = Counter(str((item.get("status") or {}).get("severity") or "?") for item in notified)
    words = [f"{number} {severity}" for severity, number in sorted(severities.items(), key=_by_severity)]
    nobody = sum(incidents.phase_of(item) == IncidentPhase.OPEN for item in notified)
    message = f"{len(notified)} open ({', '.join(words)}), {nobody or 'none'} of them not acknowledged"
    items = [{"namespace": item["metadata"]["namespace"], "name": item["metadata"]["name"]} for item in notified]
    return Part(
        "incidents", "note", message, "see them: pipebell incidents; say that you work on one: pipebell ack", items
    )


def _silences(found: Sequence[dict[str, Any]], now: float) -> Part:
    """What is silenced is no fault; but whoever wonders why nobody was told has to see it."""
    active = [item for item in found if silences.phase_of(item, now) is SilencePhase.ACTIVE]
    if not active:
        return Part("silences", "ok", "none holds anything back")
    held = sum((item.get("status") or {}).get("matched") or 0 for item in active)
    words = [f"{item['metadata']['name']} ({silences.describe(item)})" for item in active]
    message = f"{len(active)} active, which held {held} back: {_some(words)}"
    items = [{"namespace": item["metadata"]["namespace"], "name": item["metadata"]["name"]} for item in active]
    return Part("silences", "note", message, "see them: pipebell silences; end one: pipebell unsilence", items)


def _by_severity(entry: tuple[str, int]) -> int:
    """The worst first; what is none comes last."""
    return -Severity(entry[0]).rank if entry[0] in set(Severity) else 1


def _some(words: Sequence[str]) -> str:
    more = len(words) - _SHOWN
    return ", ".join(words[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _print(status: Status) -> None:
    for part in status.parts:
        mark = style(f"{part.state:8}", _STATES[part.state])
        click.echo(f"{mark} {part.what + ':':15} {clean(part.message)}")
    where = f"namespace {status.namespace}" if status.namespace else "every namespace"
    if status.first:
        click.echo(f"\nFirst thing to do: {clean(status.first)}")
    elif not status.ok:
        click.echo(f"\nNot everything is known of {where}.")
