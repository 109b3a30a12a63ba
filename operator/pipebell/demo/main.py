"""The whole demo: set the stage, play, show, judge; then leave nothing behind, or everything when asked to."""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipebell.core.errors import PipebellError
from pipebell.demo import kept
from pipebell.demo.claims import judge
from pipebell.demo.files import objects
from pipebell.demo.scenario import Scenario
from pipebell.demo.stage import NAMESPACE, RECEIVED, Stage, StageError

if TYPE_CHECKING:
    from pipebell.demo.claims import Claim
    from pipebell.demo.evidence import Evidence
    from pipebell.demo.show import Show

FOLDER: Final = Path("build/demo")


def play(*, keep: bool, show: Show, folder: Path = FOLDER) -> bool:
    """Play the demo; True when every claim holds. What was sent is saved in `folder`. Raises StageError."""
    if keep and kept.kept():
        raise StageError("a demo is running already: `pipebell demo --stop` ends it")
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with Stage(name=kept.NAME if keep else None) as stage:
        try:
            _set(stage, show)
            claims = _play_on(stage, show, folder)
            if keep:
                with show.step("hand over to processes of their own"):
                    kept.keep(stage)
                _how_to_go_on(show, stage, folder)
        except (PipebellError, OSError) as error:
            show.error(f"The demo failed: {error}")
            show.say(f"What there is of it is in {folder}/.")
            return False
        finally:
            _save(stage, folder)
    wrong = [claim for claim in claims if not claim.holds]
    summary = f"{len(wrong)} of {len(claims)} claims do NOT hold." if wrong else f"All {len(claims)} claims hold."
    show.say(f"\n{summary} It took {time.monotonic() - began:.0f} s; what was sent is in {folder}/.")
    return not wrong


def _play_on(stage: Stage, show: Show, folder: Path) -> list[Claim]:
    evidence = Scenario(stage, show.step).play()
    claims = judge(evidence)
    present(show, evidence, claims, folder)
    if not all(claim.holds for claim in claims):
        show.error(f"The operator's log (all of it: {folder / 'operator.log'}) ends:\n{stage.operator.last_lines()}")
    return claims


def _set(stage: Stage, show: Show) -> None:
    stage.prepare()
    with show.step("a real kube-apiserver on this machine") as note:
        stage.start_cluster()
        note(f"{stage.cluster.request('GET', '/version')['gitVersion']} at {stage.cluster.url}")
    with show.step("kubectl apply -k manifests: resources, account, rights"):
        stage.install()
    with show.step("a mail server (STARTTLS, login), a Slack (HTTPS), and vendors behind a proxy") as note:
        stage.start_sinks()
        note(f"{stage.smtp.host}:{stage.smtp.port} and {stage.slack.url}")
    with show.step("the operator, as a process with its own account and token") as note:
        stage.start_operator()
        note(f"pid {stage.operator.process.pid if stage.operator.process else '?'}")


def present(show: Show, evidence: Evidence, claims: list[Claim], folder: Path) -> None:
    """Show what happened and save what was sent."""
    (folder / "kubectl-get.txt").write_text(evidence.table, encoding="utf-8")
    show.resources(evidence)
    show.rejection(evidence)
    # Where something did not arrive, the claims tell it better than a traceback.
    if all(claim.holds for claim in claims):
        show.email(evidence, folder)
        show.slack(evidence, folder)
    show.reasons(evidence)
    show.verdict(claims)


def _save(stage: Stage, folder: Path) -> None:
    """Keep what tells what happened: the operator's log, and all resources as they were in the end."""
    try:
        shutil.copyfile(stage.folder / "operator.log", folder / "operator.log")
        resources = stage.cluster.kubectl("get", "nc,pe", "-A", "-o", "yaml", "--request-timeout=5s").stdout
        (folder / "resources.yaml").write_text(resources, encoding="utf-8")
    except (OSError, PipebellError):
        return  # it did not get that far


def _how_to_go_on(show: Show, stage: Stage, folder: Path) -> None:
    example = folder / "event.yaml"
    example.write_text(objects("try.yaml"), encoding="utf-8")
    show.title("It goes on running. In a terminal:")
    show.say(f"export KUBECONFIG={shlex.quote(str(stage.cluster.kubeconfig))}")
    for command, why in (
        ("kubectl get nc,pe -A", "what there is"),
        ("kubectl describe pe import-failed -n vandelay", "why one destination failed"),
        ("kubectl get pe -A -w", "follow what happens"),
        (f"kubectl create -f {example}", "one more event; edit the file as you like"),
        ("kubectl edit nc stark -n stark", "change a configuration"),
        (f"kubectl edit configmap pipebell-root -n {NAMESPACE}", "change root"),
        (f"tail -f {stage.folder / 'operator.log'}", "the operator's log"),
        (f"tail -f {stage.folder / RECEIVED}", "what the mail server and Slack receive"),
        (f"curl -s http://127.0.0.1:{stage.operator.port}/metrics", "metrics"),
        ("pipebell demo --stop", "end all of it (of a checkout: .venv/bin/pipebell demo --stop)"),
    ):
        show.say(f"{command}    # {why}")
