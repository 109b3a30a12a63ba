"""`pipebell replay --failed`: which events, and what becomes of them."""

import json
import os
import pty
import select
import subprocess
import sys
import time

import pytest

from pipebell.cli.replay_failed import Choice, candidates
from pipebell.core.status import epoch

NOW = epoch("2026-01-31T12:00:00Z")
CHOICE = Choice(None, 7200.0)


def event(name, phase="Failed", at="11:00", failed=("slack",), delivered=(), *, reason=None, **spec):
    deliveries = [{"destination": place, "phase": "Failed"} for place in failed]
    deliveries += [{"destination": place, "phase": "Delivered"} for place in delivered]
    status = {"phase": phase, "reason": reason, "deliveries": deliveries, "completionTime": f"2026-01-31T{at}:00Z"}
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-01-30T00:00:00Z"},
        "spec": {"orgSlug": "acme", "event": "pipeline_failure", "pipelineId": "p"} | spec,
        "status": {key: value for key, value in status.items() if value},
    }


def replay(of, phase="Delivered", name=None, **fields):
    return event(name or f"{of}-2", phase, replayOf={"name": of} | fields)


def chosen(events, choice=CHOICE):
    return [(found.name, found.destinations) for found in candidates(events, choice, NOW)]


def changed(of):
    """The same, where the destination `old` was taken out of the configuration."""
    for item in of["status"]["deliveries"]:
        if item["destination"] == "old":
            item["reason"] = "ConfigChanged"
    return of


CASES = {
    "where it failed": ([event("a")], [("a", ["slack"])]),
    "only where it failed": ([event("a", "PartiallyDelivered", delivered=["email"])], [("a", ["slack"])]),
    "nobody was tried": ([event("a", failed=())], [("a", None)]),
    "the oldest first": ([event("a", at="11:30"), event("b", at="10:30")], [("b", ["slack"]), ("a", ["slack"])]),
    "by its end, not its creation": ([event("a", at="09:59"), event("b", at="10:00")], [("b", ["slack"])]),
    "what was delivered or held back": (
        [event("a", "Delivered"), event("b", "Suppressed"), event("c", "Skipped"), event("d", "Delivering")],
        [],
    ),
    "a test": ([event("a", test=True)], []),
    "what the operator made": ([event("a", notice={"kind": "Reminder"})], []),
    "what is too large": ([event("a", reason="TooLarge")], []),
    "not where the configuration names it no more": (
        [changed(event("a", failed=["old", "slack"]))],
        [("a", ["slack"])],
    ),
    "it named another one": ([changed(event("a", failed=["old"]))], [("a", None)]),
    "it named another one, and sent again": (
        [changed(event("a", failed=["old"])), replay("a", destinations=["x"])],
        [],
    ),
    "sent again already": ([event("a"), replay("a")], []),
    "being sent again": ([event("a"), replay("a", "Delivering")], []),
    "sent again in vain": ([event("a"), replay("a", "Failed")], [("a-2", ["slack"])]),
    "sent again in part": (
        [event("a", failed=["slack", "email"]), replay("a", destinations=["slack"])],
        [("a", ["email"])],
    ),
    "sent again in parts": (
        [
            event("a", failed=["slack", "email"]),
            replay("a", name="b", destinations=["slack"]),
            replay("a", name="c", destinations=["email"]),
        ],
        [],
    ),
    "nobody was tried, and sent again": ([event("a", failed=()), replay("a", destinations=["slack"])], []),
}


@pytest.mark.parametrize("case", CASES)
def test_which_events_go_again(case):
    events, expected = CASES[case]
    assert chosen(events) == expected


def test_one_pipelines_and_some_destinations():
    events = [event("a", failed=["slack", "sms/1"]), event("b", pipelineId="q"), event("c", failed=["email"])]
    assert [name for name, _ in chosen(events, Choice(None, 7200.0, "q"))] == ["b"]
    assert chosen([changed(event("a", failed=["old"]))], Choice(None, 7200.0, None, ("old",))) == [("a", ["old"])]
    assert chosen(events, Choice(None, 7200.0, None, ("sms/1", "email"))) == [("a", ["sms/1"]), ("c", ["email"])]


SPEC = {"orgSlug": "acme", "event": "pipeline_failure", "pipelineId": "p", "errorMessage": "boom"}


@pytest.fixture
def failed(cluster, namespace):
    """Puts events there that failed at Slack a moment ago; the names."""

    def put(*names, **spec):
        for name in names:
            document = {"apiVersion": "pipebell.io/v1alpha1", "kind": "PipelineEvent", "metadata": {"name": name}}
            cluster.kubectl("create", "-n", namespace, "-f", "-", input=json.dumps(document | {"spec": SPEC | spec}))
            places = [{"destination": "slack", "phase": "Failed"}, {"destination": "email", "phase": "Delivered"}]
            patch = json.dumps({"status": {"phase": "PartiallyDelivered", "deliveries": places}})
            command = ("patch", "-n", namespace, f"pe/{name}", "--subresource=status", "--type=merge", "-p", patch)
            cluster.kubectl(*command)

    return put


@pytest.fixture
def replays(cluster, namespace):
    def read():
        items = json.loads(cluster.kubectl("get", "pe", "-n", namespace, "-o", "json").stdout)["items"]
        return sorted(item["spec"]["replayOf"]["name"] for item in items if "replayOf" in item["spec"])

    return read


def test_everything_that_failed_goes_again_once(alone, failed, replays, cluster, namespace):
    failed("e1", "e2", "e3")
    failed("theirs", orgSlug="globex")
    dry = alone("replay", "--failed", "--since", "2h", "acme", "--dry-run")
    assert sorted(dry.out.splitlines()) == [f"e{number} would go again to slack" for number in (1, 2, 3)]
    assert replays() == []
    done = alone("replay", "--failed", "--since", "2h", "acme", "--yes", "--limit", "2")
    assert done.code == 0, done.err
    assert "2 sent again." in done.out
    assert "1 more failed: the same command again takes them (--limit 2)." in done.err
    done = alone("replay", "--failed", "--since", "2h", "acme", "--yes", "-o", "json")
    assert len(done.json) == 1
    assert replays() == ["e1", "e2", "e3"]
    again = json.loads(cluster.kubectl("get", "-n", namespace, f"pe/{done.json[0]['event']}", "-o", "json").stdout)
    assert again["spec"]["replayOf"]["destinations"] == ["slack"]
    assert (again["spec"]["errorMessage"], "occurredAt" in again["spec"]) == ("boom", True)
    none = alone("replay", "--failed", "--since", "2h", "acme", "--yes")
    assert (none.code, none.out) == (0, "")
    assert f"Nothing of acme in namespace {namespace} failed in that time without being sent again since." in none.err


def test_somebody_who_cannot_be_asked_has_to_agree_beforehand(alone, failed, replays):
    failed("e1")
    done = alone("replay", "--failed", "--since", "2h")
    assert done.code == 2
    assert "--yes agrees, --dry-run lists them" in done.err
    assert replays() == []


@pytest.mark.parametrize(("answer", "sent"), [("y", ["e1"]), ("n", [])])
def test_at_a_terminal_one_is_asked(cluster, namespace, failed, replays, answer, sent):
    failed("e1")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "pipebell.cli.main", "replay", "-n", namespace, "--failed", "--since", "2h"]
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "TERM": "dumb"}
    process = subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        said, answered, deadline = "", False, time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    said += os.read(ours, 4096).decode()
                except OSError:
                    break
            if "[y/N]" in said and not answered:
                os.write(ours, f"{answer}\n".encode())
                answered = True
        assert process.wait(60) == 0, said
    finally:
        process.kill()
        os.close(ours)
    assert "e1 p to slack" in said
    assert f"Send 1 event of anybody in namespace {namespace} again? [y/N]" in said.replace("\r\n", " ")
    assert replays() == sent


def test_who_may_not_create_events_is_told_so_and_how_far_it_came(alone, failed, replays, account):
    failed("e1", "e2")
    done = alone("replay", "--failed", "--since", "2h", "--yes", env=account("viewer", "pipelineevents", "list"))
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "nothing was sent again; e1: not permitted" in done.err
    assert done.err.endswith("The same command goes on with the rest\n")
    assert replays() == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--failed"],
        ["e1", "--since", "2h"],
        ["e1", "--yes"],
        ["--failed", "--since", "2h", "--force"],
        ["--failed", "--since", "2h", "--wait"],
        ["--failed", "--since", "yesterday"],
        ["--failed", "--since", "2h", "--limit", "0"],
    ],
    ids=" ".join,
)
def test_what_does_not_go_together_is_wrong_usage(alone, arguments):
    assert alone("replay", *arguments).code == 2
