"""The image and the chart on a real node: a user's way from `helm install` to `helm uninstall`, in this order."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from tests.chart.helm import CHART, NAMESPACE

OPERATOR = "deploy/pipebell-operator"
ORGS, EACH = 20, 10


def eventually(check, what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what() if callable(what) else what}"
        time.sleep(0.5)
    return answer


def event(name, org, namespace="team", **spec):
    body = {"orgSlug": org, "event": "pipeline_failure", "pipelineId": name, "errorMessage": "it broke", **spec}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "pipebell.io/v1alpha1", "kind": "PipelineEvent", "metadata": metadata, "spec": body}


def config(org, **spec):
    metadata = {"name": org, "namespace": "team"}
    spec = {"orgSlug": org, "defaultProvider": "slack", **spec}
    return {"apiVersion": "pipebell.io/v1alpha1", "kind": "NotificationConfig", "metadata": metadata, "spec": spec}


def phases(kube, prefix=""):
    items = kube.json("get", "pipelineevents", "-n", "team")["items"]
    return {
        item["metadata"]["name"]: item.get("status", {}).get("phase")
        for item in items
        if item["metadata"]["name"].startswith(prefix)
    }


def operator_logs(kube):
    return [json.loads(line) for line in kube("logs", "-n", NAMESPACE, OPERATOR).splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def team(kube, release):
    """A team's namespace with a Secret and a configuration, as an editor of it makes them."""
    kube.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "slack", "namespace": "team"},
            "stringData": {"url": "https://slack.sinks.svc/services/T1/B1/acme"},
        },
        config("acme", slack={"webhookUrlSecretRef": {"name": "slack", "key": "url"}}),
    )
    return kube


def test_it_is_ready_within_a_minute(release):
    assert release.seconds <= 60, f"{release.seconds:.1f} s"


def test_its_process_is_hardened(kube, release):
    def inside(*command, check=True):
        return kube("exec", "-n", NAMESPACE, OPERATOR, "--", *command, check=check)

    assert inside("id", "-u").strip() == "65532"
    status = dict(line.split(":\t", 1) for line in inside("cat", "/proc/1/status").splitlines() if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert inside("sh", "-c", "touch /opt/pipebell/x /x 2>/dev/null || echo refused").strip() == "refused"
    assert inside("sh", "-c", "touch /tmp/x && echo written").strip() == "written"


def test_an_event_is_delivered_by_a_pod_to_pods(team, received):
    team.apply(event("first", "acme"), event("by-root", "nobody-configured-this"))
    eventually(lambda: phases(team) == {"first": "Delivered", "by-root": "Delivered"}, lambda: phases(team))
    mails, posts = received()
    assert [post.path for post in posts] == ["/services/T1/B1/acme"]
    assert [mail.recipients for mail in mails] == [("oncall@platform.example",)]
    assert mails[0].tls
    assert mails[0].user == "platform"


def test_its_log_says_what_failed(team):
    team.apply(config("wrong", slack={"webhookUrl": "https://slack.sinks.svc/nothing/here"}), event("wrong", "wrong"))
    eventually(lambda: phases(team)["wrong"] == "Failed", lambda: phases(team))
    lines = [line for line in operator_logs(team) if line.get("msg") == "notification_failed"]
    assert lines
    told = {"org": "wrong", "event": "team/wrong", "provider": "slack", "reason": "Http404", "attempt": 1}
    assert told.items() <= lines[0].items()
    assert any(line.get("msg") == "started" for line in operator_logs(team))


def test_its_metrics_match_what_was_delivered(team, received):
    text = team("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/services/pipebell-metrics:http/proxy/metrics")
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    mails, posts = received()
    delivered = 'pipebell_deliveries_total{phase="Delivered",provider="%s",reason=""}'
    assert float(lines[delivered % "email"]) == len([mail for mail in mails if mail.accepted])
    assert float(lines[delivered % "slack"]) == len([post for post in posts if post.accepted])


def test_helm_test_passes(release):
    said = release.helm("test", "pipebell", "--namespace", NAMESPACE, "--timeout", "120s")
    assert "Phase:          Succeeded" in said


@contextmanager
def flood(kube, prefix):
    """Many organisations, each with a webhook of its own and no cooldown; their events are created meanwhile."""
    trigger = [{"event": "pipeline_failure", "cooldownSeconds": 0}]
    url = "https://slack.sinks.svc/services/T1/B1"
    orgs = [f"{prefix}{number}" for number in range(ORGS)]
    kube.apply(*(config(org, slack={"webhookUrl": f"{url}/{org}"}, eventTriggers=trigger) for org in orgs))

    def create():
        for number in range(EACH):
            kube.apply(*(event(f"{org}-{number}", org) for org in orgs))
            time.sleep(0.4)  # so that what happens meanwhile does, on a fast machine too

    with ThreadPoolExecutor(1) as pool:
        created = pool.submit(create)
        eventually(lambda: len(phases(kube, prefix)) >= ORGS, "the first events")
        assert not created.done(), "the rest is still being created"
        yield
        created.result()


def per_org(received, prefix):
    posts = [post for post in received()[1] if post.accepted and post.path.rpartition("/")[2].startswith(prefix)]
    return Counter(post.headers["x-pipebell-delivery"] for post in posts)


def all_delivered(kube, prefix):
    found = phases(kube, prefix)
    return len(found) == ORGS * EACH and set(found.values()) == {"Delivered"}


def pods(kube):
    found = kube.json("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=operator")["items"]
    return [item["metadata"]["name"] for item in found if "deletionTimestamp" not in item["metadata"]]


def holders(kube):
    """Who serves how many shards."""
    leases = kube.json("get", "leases", "-n", NAMESPACE, "-l", "pipebell.io/replicas")["items"]
    shards = [item["spec"].get("holderIdentity", "") for item in leases if "-shard-" in item["metadata"]["name"]]
    living = [item["spec"]["holderIdentity"] for item in leases if "-replica-" in item["metadata"]["name"]]
    return {name: shards.count(name) for name in living}


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_pod_that_is_killed_under_load_loses_nothing(team, received, release, replicas):
    release.run("upgrade", CHART, "--wait", "--timeout", "180s", replicas=replicas)
    share = 24 // replicas
    eventually(lambda: list(holders(team).values()) == [share] * replicas, lambda: holders(team))
    prefix = f"kill{replicas}x"
    with flood(team, prefix):
        team("delete", "pod", pods(team)[0], "-n", NAMESPACE, "--force", "--grace-period=0")
    eventually(lambda: all_delivered(team, prefix), lambda: Counter(phases(team, prefix).values()), 120.0)
    counts = per_org(received, prefix)
    assert len(counts) == ORGS * EACH, "nothing is lost"
    assert max(counts.values()) <= 2, "one death repeats a delivery once at most"
    assert sum(counts.values()) - len(counts) <= 50, "and only those that were in flight"


def test_an_upgrade_of_three_under_load_loses_and_repeats_nothing(team, received, release):
    settings = {"slackHosts": ["slack.sinks.svc"], "logLevel": "debug"}
    with flood(team, "roll"):
        release.run("upgrade", CHART, "--wait", "--timeout", "180s", replicas=3, settings=settings)
    team.apply(event("after", "acme", event="system_error"))
    eventually(lambda: all_delivered(team, "roll"), lambda: Counter(phases(team, "roll").values()), 120.0)
    eventually(lambda: phases(team)["after"] == "Delivered", lambda: phases(team)["after"])
    assert set(per_org(received, "roll").values()) == {1}
    assert len(per_org(received, "roll")) == ORGS * EACH


def test_uninstall_leaves_the_definitions_and_the_users_data_and_nothing_else(team, release):
    release.helm("uninstall", "pipebell", "--namespace", NAMESPACE, "--wait", "--timeout", "120s")
    kinds = "all,sa,role,rolebinding,clusterrole,clusterrolebinding,configmap,secret,networkpolicy,pdb,lease,crd"
    definitions = {
        f"{plural}.pipebell.io" for plural in ("notificationconfigs", "pipelineevents", "incidents", "silences")
    }

    def left():
        names = team("get", kinds, "-A", "-l", "app.kubernetes.io/instance=pipebell", "-o", "name").split()
        return {name.rpartition("/")[2] for name in names}

    eventually(lambda: left() == definitions, left)  # the pod has its grace period
    leases = ("get", "leases", "-n", NAMESPACE, "-o", "name")
    eventually(lambda: not team(*leases).split(), lambda: team(*leases))  # they go with the account that owns them
    assert "first" in phases(team)
