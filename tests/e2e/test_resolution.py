"""Whom an event reaches: the seed's files as they are, inheritance, fallback, sharing, no event before its config."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.harness import config, event, eventually, phase, reason
from tests.e2e.world import ORG_USER, REPOSITORY, ROOT_USER

from pipebell.sinks import Respond

# The seed's blocks, to the letter.
STRUCTURE = """{
  "enabled": true,
  "default_provider": "email",
  "email": {
    "enabled": true,
    "smtp_host": "smtp.gmail.com",
    "smtp_port": 587,
    "smtp_username": "${SMTP_USERNAME}",
    "smtp_password": "${SMTP_PASSWORD}",
    "from_email": "noreply@cloudact.io",
    "to_emails": ["admin@example.com"]
  },
  "slack": {
    "enabled": false,
    "webhook_url": "${SLACK_WEBHOOK_URL}",
    "channel": "#alerts"
  },
  "event_triggers": [
    {
      "event": "pipeline_failure",
      "enabled": true,
      "severity": "error",
      "providers": ["email"],
      "cooldown_seconds": 300
    }
  ]
}"""
SES = """{
  "email": {
    "smtp_host": "email-smtp.us-east-1.amazonaws.com",
    "smtp_port": 587,
    "smtp_username": "${AWS_SES_USERNAME}",
    "smtp_password": "${AWS_SES_PASSWORD}",
    "from_email": "verified-email@yourdomain.com"
  }
}"""
SENDGRID = """{
  "email": {
    "smtp_host": "smtp.sendgrid.net",
    "smtp_port": 587,
    "smtp_username": "apikey",
    "smtp_password": "${SENDGRID_API_KEY}",
    "from_email": "noreply@yourdomain.com"
  }
}"""
SLACK = """{
  "slack": {
    "enabled": true,
    "webhook_url": "https://hooks.slack.com/services/YOUR/WEBHOOK/URL",
    "channel": "#pipeline-alerts",
    "username": "CloudAct Bot",
    "icon_emoji": ":robot_face:",
    "mention_users": ["U123456", "U789012"],
    "mention_channel": false
  }
}"""
COOLDOWN = """{
  "event_triggers": [
    {
      "event": "pipeline_failure",
      "cooldown_seconds": 300
    }
  ]
}"""
RETRY = """{
  "retry_config": {
    "max_attempts": 3,
    "initial_delay_seconds": 5,
    "max_delay_seconds": 300,
    "exponential_backoff": true
  }
}"""
PARTIAL_ORG = """{
     "enabled": true,
     "org_slug": "acme_corp",
     "email": {
       "to_emails": ["admin@acme.com"]
     }
   }"""
CREDENTIALS = {
    "AWS_SES_USERNAME": "AKIA-ses",
    "AWS_SES_PASSWORD": "ses-password-77",
    "SENDGRID_API_KEY": "SG.sendgrid-key-88",
}


@pytest.fixture(scope="module", autouse=True)
def operator(world):
    world.users["AKIA-ses"] = CREDENTIALS["AWS_SES_PASSWORD"]
    world.users["apikey"] = CREDENTIALS["SENDGRID_API_KEY"]
    with world.running(**CREDENTIALS) as running:
        yield running


def loaded(world, operator, root):
    """Have this root configuration, and wait until the operator has it."""
    version = world.set_root(root)
    eventually(lambda: operator.told("root_config_loaded", version=version), 60, "root loaded")


def acme(namespace):
    """The seed's organisation file as a NotificationConfig: the same fields in camelCase."""
    seed = json.loads(PARTIAL_ORG)
    return config(namespace, "acme", seed["org_slug"], enabled=seed["enabled"], email={"toEmails": ["admin@acme.com"]})


def test_without_any_configuration_an_event_is_skipped(world):
    namespace = world.namespace()
    made = world.api.create(event(namespace, "lost", "nobody_knows_them"))
    found = world.api.reaches(made, "NoConfig")
    assert phase(found) == "Skipped"
    assert "deliveries" not in found["status"]


def test_the_seeds_structure_block_works_as_root_as_it_is(world, operator):
    namespace, run = world.namespace(), secrets.token_hex(4)
    loaded(world, operator, STRUCTURE)
    made = world.api.create(event(namespace, "e1", "someone", pipelineId=run, errorMessage="disk full"))
    found = world.api.reaches(made, "Delivered")
    assert found["status"]["configRef"]["kind"] == "RootConfig"
    (mail,) = [mail for mail in world.mails_to("admin@example.com") if run in str(mail.message["Subject"])]
    assert (mail.user, mail.tls) == (ROOT_USER, True)
    assert mail.message["From"].addresses[0].addr_spec == "noreply@cloudact.io"
    assert "disk full" in mail.message.get_body(("plain",)).get_content()
    # its only trigger is pipeline_failure: no other type notifies
    other = world.api.create(event(namespace, "e2", "someone", "system_error"))
    assert phase(world.api.reaches(other, "NoTrigger")) == "Skipped"


def test_the_seeds_full_root_file_serves_each_type_as_it_says_and_the_partial_org_inherits(world, operator):
    namespace = world.namespace()
    loaded(world, operator, (REPOSITORY / "configs/notifications/config.json").read_text(encoding="utf-8"))
    world.api.create(acme(namespace))
    expected = {
        "pipeline_failure": ("Delivered", None, "error"),
        "pipeline_success": ("Skipped", "TriggerDisabled", "info"),
        "pipeline_started": ("Skipped", "TriggerDisabled", "info"),
        "data_quality_failure": ("Delivered", None, "warning"),
        "data_quality_warning": ("Skipped", "TriggerDisabled", "warning"),
        "rate_limit_exceeded": ("Delivered", None, "warning"),
        "system_error": ("Delivered", None, "critical"),
    }
    world.api.create_all(event(namespace, kind.replace("_", "-"), "acme_corp", kind) for kind in expected)
    found = world.api.finished(namespace, len(expected))
    seen = {
        kind: (phase(item), reason(item), item["status"].get("severity"))
        for kind, item in ((kind, found[kind.replace("_", "-")]) for kind in expected)
    }
    assert seen == expected
    mails = world.mails_to("admin@acme.com")
    assert len(mails) == 4
    for mail in mails:
        assert mail.recipients == ("admin@acme.com",), "the organisation's list replaces root's"
        assert mail.user == ROOT_USER, "root's transport is inherited"
        assert str(mail.message["From"]) == "CloudAct Platform <noreply@cloudact.io>"
        assert str(mail.message["Subject"]).startswith("[CloudAct] ")
    assert found["pipeline-failure"]["status"]["configRef"]["kind"] == "NotificationConfig"
    # somebody else's event goes to root's own recipient, filled from the operator's environment
    other = world.api.create(event(namespace, "other", "globex"))
    world.api.reaches(other, "Delivered")
    assert world.mails_to("admin@cloudact.io")


@pytest.mark.parametrize(
    ("block", "user", "sender"),
    [
        (SES, "AKIA-ses", "verified-email@yourdomain.com"),
        (SENDGRID, "apikey", "noreply@yourdomain.com"),
    ],
    ids=["ses", "sendgrid"],
)
def test_the_seeds_transport_blocks_carry_an_organisation(world, operator, block, user, sender):
    namespace = world.namespace()
    loaded(world, operator, block)
    to = f"{secrets.token_hex(4)}@acme.com"
    world.api.create(config(namespace, "acme", "acme_corp", email={"toEmails": [to]}))
    made = world.api.create(event(namespace, "e1", "acme_corp"))
    world.api.reaches(made, "Delivered")
    (mail,) = world.mails_to(to)
    assert (mail.user, mail.message["From"].addresses[0].addr_spec) == (user, sender)


def test_the_seeds_slack_cooldown_and_retry_blocks_work_together(world, operator):
    namespace = world.namespace()
    world.slack.script("/services/YOUR/WEBHOOK/URL").always = lambda _: Respond()
    blocks = json.loads(SLACK) | json.loads(COOLDOWN) | json.loads(RETRY) | {"default_provider": "slack"}
    loaded(world, operator, blocks)
    made = world.api.create(event(namespace, "e1", "initech", severity="critical"))
    world.api.reaches(made, "Delivered")
    (post,) = [post for post in world.slack.posts if post.path == "/services/YOUR/WEBHOOK/URL"]
    assert post.payload["channel"] == "#pipeline-alerts"
    assert post.payload["username"] == "CloudAct Bot"
    assert post.payload["icon_emoji"] == ":robot_face:"
    assert "<@U123456>" in json.dumps(post.payload)
    assert "<!channel>" not in json.dumps(post.payload)
    again = world.api.create(event(namespace, "e2", "initech"))
    assert world.api.reaches(again, "Cooldown")["status"]["suppressedBy"] == "e1"


def test_an_organisation_with_a_host_of_its_own_inherits_no_credential(world, operator):
    namespace = world.namespace()
    loaded(world, operator, world.root_spec())
    before = len(world.smtp.logins)
    cases = {
        # the host alone, on another name of the same server: no login may be tried with root's account
        "host-only": {"smtpHost": "localhost", "smtpPort": world.smtp.port, "fromEmail": "a@host-only.io"},
        "own-account": world.own_smtp("b@own-account.io"),
    }
    for org, email in cases.items():
        email["toEmails"] = [f"x@{org}.io"]
        retry = {"maxAttempts": 1}
        world.api.create(config(namespace, org, org, email=email, retryConfig=retry))
        world.api.create(event(namespace, org, org))
    found = world.api.finished(namespace, 2)
    assert phase(found["own-account"]) == "Delivered"
    assert phase(found["host-only"]) == "Failed", "the sink wants a login, and there was none to give"
    assert {user for user, _ in world.smtp.logins[before:]} == {ORG_USER}
    assert [mail.user for mail in world.mails_to("x@own-account.io")] == [ORG_USER]
    # a port, a user or a password of one's own is a transport of one's own as well: it is not mixed with root's
    for org, part in {"port": {"smtpPort": 2525}, "user": {"smtpUsername": "u"}, "tls": {"smtpUseTls": True}}.items():
        made = world.api.create(config(namespace, org, org, email={"toEmails": ["x@y.io"], **part}))
        assert "smtpHost" in world.api.condition(made, "Incomplete")["message"]
        waiting = world.api.create(event(namespace, f"{org}-waits", org))
        world.api.reaches(waiting, "ConfigNotReady")
    assert {user for user, _ in world.smtp.logins[before:]} == {ORG_USER}


def test_a_disabled_organisation_is_skipped_although_root_exists(world, operator):
    namespace = world.namespace()
    loaded(world, operator, world.root_spec())
    world.api.create(config(namespace, "off", "quiet_org", enabled=False))
    before = len(world.smtp.attempts)
    made = world.api.create_all(event(namespace, f"e{n}", "quiet_org", severity="critical") for n in range(3))
    for item in made:
        assert phase(world.api.reaches(item, "ConfigDisabled")) == "Skipped"
    assert len(world.smtp.attempts) == before
    # enabled again: the next one goes out, by root's transport to root's recipient
    world.api.merge(config(namespace, "off", "quiet_org"), enabled=True)
    world.api.condition(config(namespace, "off", "quiet_org"), "Ready")
    later = world.api.create(event(namespace, "later", "quiet_org"))
    world.api.reaches(later, "Delivered")


def test_a_malformed_root_leaves_the_last_good_one_working_and_says_so(world, operator):
    namespace = world.namespace()
    loaded(world, operator, world.root_spec())
    for number, broken in enumerate(('{"email": {', {"email": {"smtp_port": "many"}}, {"emial": {}})):
        at = operator.log.stat().st_size
        world.set_root(broken)
        line = eventually(lambda at=at: operator.told("root_config_invalid", since=at))
        assert "last valid version stays in use" in line["kept"]
        assert operator.metric("pipebell_root_config_valid") == 0
        made = world.api.create(event(namespace, f"e{number}", f"org-{number}"))
        world.api.reaches(made, "Delivered")

    def said():
        notices = [n for n in world.api.notices("pipebell-system") if n["reason"] == "InvalidRootConfiguration"]
        return notices if len({n["message"] for n in notices}) >= 3 else None

    notices = eventually(said, 60, "an Event for each broken version")
    assert {n["involvedObject"]["name"] for n in notices} == {"pipebell-root"}
    assert any("emial" in n["message"] for n in notices)
    shown = world.cluster.kubectl("describe", "configmap", "pipebell-root", "-n", "pipebell-system").stdout
    assert "InvalidRootConfiguration" in shown, "kubectl finds Events by their object's uid"
    loaded(world, operator, world.root_spec())
    assert operator.metric("pipebell_root_config_valid") == 1


def test_an_event_never_overtakes_its_config(world, operator):
    """500 times a config and its event right after each other, four namespaces, sixteen at a time."""
    loaded(world, operator, world.root_spec(email=world.root_spec()["email"] | {"to_emails": ["never@root.io"]}))
    namespaces = [world.namespace() for _ in range(4)]
    before = len(world.slack.posts)

    def pair(number):
        namespace, org = namespaces[number % 4], f"race-{number}"
        world.api.create(
            config(
                namespace,
                org,
                org,
                **world.slack_only("Race", slack={"webhookUrl": world.slack.webhook("Race"), "channel": f"#{org}"}),
            )
        )
        world.api.create(event(namespace, org, org))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(pair, range(500)))
    for namespace in namespaces:
        found = world.api.finished(namespace, 125, 60)
        assert {(phase(item), item["status"]["configRef"]["kind"]) for item in found.values()} == {
            ("Delivered", "NotificationConfig")
        }
    assert not world.mails_to("never@root.io")
    assert {post.payload["channel"] for post in world.slack.posts[before:]} == {f"#race-{n}" for n in range(500)}


def test_a_foreign_config_gets_nobodys_events_unless_its_namespace_is_shared(world, operator):
    loaded(world, operator, world.root_spec())
    squatter, victim = world.namespace(), world.namespace()
    everywhere = {"eventNamespaces": {"from": "All"}}
    greedy = world.api.create(config(squatter, "greedy", "coveted", **everywhere, **world.slack_only("Squatter")))
    world.api.condition(greedy, "Ready")
    conditions = {c["type"]: c for c in world.api.get(greedy)["status"]["conditions"]}
    assert (conditions["Shared"]["status"], conditions["Shared"]["reason"]) == ("False", "NotPermitted")
    made = world.api.create(event(victim, "e1", "coveted"))
    assert world.api.reaches(made, "Delivered")["status"]["configRef"]["kind"] == "RootConfig"
    assert not world.posts_to("Squatter")
    # the operator's own namespace is a shared one: a config there serves others, but only those that it admits
    shared = config("pipebell-system", "shared", "coveted", **everywhere, **world.slack_only("Shared"))
    picky = {"eventNamespaces": {"from": "Selector", "selector": {"matchLabels": {"tier": "gold"}}}}
    picked = config("pipebell-system", "picky", "picked", **picky, **world.slack_only("Picky"))
    gold, plain = world.namespace(tier="gold"), world.namespace()
    try:
        world.api.create_all([shared, picked])
        world.api.condition(shared, "Ready")
        served = [world.api.create(event(victim, "e2", "coveted", "system_error")), event(gold, "e1", "picked")]
        served.append(event(plain, "e1", "picked"))
        world.api.create_all(served[1:])
        kinds = [world.api.reaches(item, "Delivered")["status"]["configRef"]["kind"] for item in served]
        assert kinds == ["NotificationConfig", "NotificationConfig", "RootConfig"]
        assert (len(world.posts_to("Shared")), len(world.posts_to("Picky"))) == (1, 1)
    finally:
        world.api.delete(shared)
        world.api.delete(picked)


def test_somebody_elses_event_for_an_organisation_mutes_nothing_of_theirs(world, operator):
    """Neither by root's cooldown, which is per namespace, nor by that of the organisation's own config."""
    loaded(world, operator, world.root_spec(event_triggers=[{"event": "pipeline_failure", "cooldown_seconds": 600}]))
    theirs, stranger = world.namespace(), world.namespace()
    world.api.create(config(theirs, "own", "muted", **world.slack_only("Muted")))
    for org, kind in (("muted", "NotificationConfig"), ("rooted", "RootConfig")):
        first = world.api.create(event(stranger, f"{org}-1", org))
        assert world.api.reaches(first, "Delivered")["status"]["configRef"]["kind"] == "RootConfig"
        second = world.api.create(event(theirs, f"{org}-2", org))
        assert world.api.reaches(second, "Delivered")["status"]["configRef"]["kind"] == kind
        third = world.api.create(event(stranger, f"{org}-3", org))
        assert world.api.reaches(third, "Cooldown")["status"]["suppressedBy"] == f"{org}-1"
