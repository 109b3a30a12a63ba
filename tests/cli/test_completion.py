"""What a shell is proposed, for names that only the cluster knows, also through kubectl."""

import os
import subprocess
import sys
from pathlib import Path


def proposed(run, line, **env):
    """What bash would propose for the last word of a line."""
    words = line.split(" ")
    env |= {"_PIPEBELL_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return [item.removeprefix("plain,") for item in run(env=env).out.split()]


def test_names_of_the_cluster(cli, stage, place, apply):
    spec = {"orgSlug": "acme_corp", "slack": {"enabled": False}}
    apply("NotificationConfig", "acme", spec=spec)
    event = {"orgSlug": "globex", "event": "pipeline_started", "pipelineId": "p"}
    apply("PipelineEvent", "globex-1", spec=event)
    env = {"KUBECONFIG": str(stage.cluster.kubeconfig)}
    for command in ("test", "verify", "history"):
        assert proposed(cli, f"pipebell {command} -n {place} ac", **env) == ["acme_corp"]
    assert proposed(cli, f"pipebell -n {place} history ", **env) == ["acme_corp", "globex"]
    assert proposed(cli, f"pipebell send -n {place} --org g", **env) == ["globex"]
    for command in ("why", "preview", "replay"):
        assert proposed(cli, f"pipebell {command} -n {place} g", **env) == ["globex-1"]
    assert proposed(cli, f"pipebell history -n {place}", **env) == [place]
    (context,) = proposed(cli, "pipebell history --context ", **env)
    assert context in Path(env["KUBECONFIG"]).read_text(encoding="utf-8")


def test_without_a_cluster_nothing_is_proposed_and_nothing_is_said(cli, tmp_path):
    for line in ("pipebell test a", "pipebell history --context a", "pipebell why -n a"):
        env = {"_PIPEBELL_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        done = cli(env=env | {"KUBECONFIG": str(tmp_path / "none")})
        assert (done.out.strip(), done.err) == ("", "")


def by_kubectl(*words, **env):
    program = Path(sys.executable).parent / "kubectl_complete-pipebell"
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | env
    done = subprocess.run([program, *words], env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_through_kubectl(stage, place, apply):
    apply("NotificationConfig", "acme", spec={"orgSlug": "acme_corp", "slack": {"enabled": False}})
    env = {"KUBECONFIG": str(stage.cluster.kubeconfig)}
    assert by_kubectl("test", "-n", place, "ac", **env) == ["acme_corp", ":4"]
    *names, directive = by_kubectl("hist")
    assert [name.split("\t")[0] for name in names] == ["history"]
    assert directive == ":4"
    assert by_kubectl("preview", "--file", "")[-1] == ":0", "files are the shell's own business"
    assert by_kubectl()[-1] == ":4"
