"""The annotation pipebell.io/verify with the real API server: three replicas, and one answer."""

from __future__ import annotations

import socket

from tests.e2e.harness import config, eventually, secret

from pipebell.core.shards import SHARDS

VERIFY = "pipebell.io/verify"


def ask(world, document, token):
    path = f"{world.api.path(document)}/{document['metadata']['name']}"
    world.api.request("PATCH", path, {"metadata": {"annotations": {VERIFY: token}}}, "application/merge-patch+json")


def answer(world, document, token, seconds=120.0):
    """The answer to this token, once it is there."""

    def check():
        found = (world.api.get(document).get("status") or {}).get("verification") or {}
        return found if found.get("token") == token else None

    return eventually(check, seconds, f"an answer for {document['metadata']['name']}")


def found(verification):
    return {item["name"]: (item["ok"], item["reason"]) for item in verification["destinations"]}


def test_three_replicas_give_one_answer(world):
    world.set_root(world.root_spec())
    replicas = [world.operator() for _ in range(3)]
    try:
        for replica, begun in [(replica, replica.spawn()) for replica in replicas]:
            replica.wait_ready(begun, 120)
        eventually(lambda: _shared(replicas), 120.0, "shards shared by all")
        _scenario(world, replicas)
    finally:
        for replica in replicas:
            if replica.alive:
                replica.stop()


def _shared(replicas):
    held = [replica.metric("pipebell_shards_held") for replica in replicas]
    return sum(held) == SHARDS and min(held) >= SHARDS // len(replicas)


def _scenario(world, replicas):
    place, posted = world.namespace(), len(world.slack.journal.all)
    mailbox = f"to@{place}.example"
    password = "wrong-password-Tz55"
    world.api.create(secret(place, "wrong", SMTP_PASSWORD=password))
    both = {"eventTriggers": [{"event": "pipeline_failure", "providers": ["email", "slack"]}]}
    slack = {"slack": {"webhookUrl": world.slack.webhook("Tverify")}}
    good = config(place, "good", "good", email=world.own_smtp(mailbox), **slack, **both)
    wrong = config(
        place, "wrong", "wrong", secretRef={"name": "wrong"},
        email=world.own_smtp(mailbox, smtpPassword="${SMTP_PASSWORD}"),
    )  # fmt: skip
    roots = config(place, "roots", "roots", email={"toEmails": [mailbox]})
    with socket.create_server(("127.0.0.1", 0)) as silent:  # greets nobody
        slow = config(place, "slow", "slow", email=world.own_smtp(mailbox, port=silent.getsockname()[1]))
        documents = (slow, good, wrong, roots)
        made = {document["metadata"]["name"]: world.api.create(document) for document in documents}
        for document in documents:
            ask(world, document, "t1")
        world.api.merge(slow, enabled=True)  # edited while it is being tried, or before: the answer says which
        answers = {document["metadata"]["name"]: answer(world, document, "t1") for document in documents}

    assert found(answers["good"]) == {"email": (True, "Verified"), "slack": (True, "Verified")}
    assert found(answers["wrong"]) == {"email": (False, "SmtpAuthFailed")}
    assert found(answers["roots"]) == {"email": (True, "Verified")}
    assert "127.0.0.1" not in repr(answers["roots"]), "the platform's server has no name"
    assert found(answers["slow"])["email"] == (False, "Timeout")
    assert answers["slow"]["observedGeneration"] in (1, 2)
    assert answers["good"]["observedGeneration"] == made["good"]["metadata"]["generation"]
    assert password not in repr(answers)

    def lines():
        return [line for replica in replicas for line in replica.lines() if line.get("msg") == "config_verified"]

    eventually(lambda: len(lines()) >= len(documents), 60.0)
    assert sorted(line["name"] for line in lines()) == sorted(made), "each by one replica alone"
    assert sum(replica.metric("pipebell_config_verifications_total") for replica in replicas) == len(documents)
    assert world.mails_to(mailbox) == []
    assert [post for post in world.slack.journal.all[posted:] if post.method != "GET"] == []
    assert password not in "".join(replica.text for replica in replicas)
