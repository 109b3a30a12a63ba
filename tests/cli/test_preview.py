"""What `preview` shows is what the provider then receives, byte for byte apart from time and ids."""

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tests.core.messages import make

from pipebell.cli import effective
from pipebell.cli.preview import _as_read, _print_sent, _sent
from pipebell.cli.preview import make as previewed
from pipebell.core.alerts import alert_key
from pipebell.core.destinations.http import HttpKind
from pipebell.core.fields import traits
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.outcome import Attempt
from pipebell.core.placeholders import OrgSecrets
from pipebell.core.policy.situation import Original
from pipebell.core.render.facts import facts
from pipebell.core.render.text import TOO_LONG
from pipebell.core.status import ConfigReference

CONFIGS = Path(__file__).parents[2] / "configs"

EVENT = {
    "apiVersion": "pipebell.io/v1alpha1",
    "kind": "PipelineEvent",
    "metadata": {"name": "previewed"},
    "spec": {
        "orgSlug": "acme",
        "event": "pipeline_failure",
        "pipelineId": "täglich <b>&",
        "pipelineLoggingId": "run-1",
        "errorMessage": "Zeile 1\nline 2 <!channel> 💥",
        "details": {"rows": 0, "nested": {"a": [1, 2]}},
        "links": [{"title": "Run", "url": "https://ci.example.com/1?a=b&c=d"}],
        "occurredAt": "2026-01-31T08:00:00Z",
    },
}


@pytest.fixture
def event_file(tmp_path):
    path = tmp_path / "event.yaml"
    path.write_text(yaml.safe_dump(EVENT, allow_unicode=True))
    return path


def without_ids(raw, uid):
    text = raw.replace("\r\n", "\n").replace(uid, "UID")
    text = re.sub(r"^Date: .*$", "Date: X", text, flags=re.MULTILINE)
    boundary = re.search(r'boundary="([^"]+)"', text)
    return text.replace(boundary[1], "BOUNDARY") if boundary else text


def test_preview_of_a_file_equals_what_arrives(on_stage, make_config, stage, place, event_file):
    make_config("acme", webhook="Tpreview", email=["data@acme.example"])
    done = on_stage("preview", "-f", event_file, "-o", "json")
    assert done.code == 0, done.err
    shown = done.json
    assert shown["decision"] == "would be sent"
    assert shown["config"].startswith(f"NotificationConfig {place}/acme")
    assert stage.smtp.mails == []
    assert stage.slack.posts == []

    created = json.loads(stage.cluster.kubectl("create", "-n", place, "-o", "json", "-f", event_file).stdout)
    (mail,), (post,) = stage.smtp.journal.wait(1), stage.slack.journal.wait(1)
    uid, ours = created["metadata"]["uid"], "00000000-0000-0000-0000-000000000000"
    email = shown["destinations"]["email"]
    assert without_ids(email["message"], ours) == without_ids(mail.raw.decode("utf-8", "surrogateescape"), uid)
    assert (email["from"], tuple(email["recipients"])) == (mail.sender, mail.recipients)
    slack = shown["destinations"]["slack"]
    assert slack["body"].encode() == post.body
    received = {name.lower(): value for name, value in post.headers.items()}
    for name, value in slack["headers"].items():
        assert received[name.lower()] == value.replace(ours, uid)

    again = on_stage("preview", "previewed", "-o", "json").json
    assert again["decision"].startswith("it is finished already (Delivered)")
    assert again["destinations"]["slack"]["body"].encode() == post.body
    assert without_ids(again["destinations"]["email"]["message"], uid) == without_ids(email["message"], ours)

    second = on_stage("preview", "-f", event_file, "-o", "json").json
    assert second["decision"] == "Suppressed/Cooldown"
    assert "because of previewed" in second["cooldown"]


def test_suppressed_events_are_counted_as_the_operator_counts_them(on_stage, make_config, stage, event_file):
    triggers = [{"event": "pipeline_failure", "providers": ["slack"], "cooldownSeconds": 15}]
    make_config("acme", webhook="Tcount", eventTriggers=triggers)
    on_stage("send", "--org", "acme", "--wait")
    told = time.monotonic()
    for _ in range(2):
        on_stage("send", "--org", "acme", "--wait")
    time.sleep(max(0.0, told + 16 - time.monotonic()))  # the cooldown is the operator's own, in real time
    shown = on_stage("preview", "-f", event_file, "-o", "json").json
    done = on_stage("send", "--org", "acme", "--wait", "-o", "json").json
    assert done["status"]["suppressedCount"] == 2
    assert "speaks for 2 suppressed" in shown["cooldown"]


def test_decisions_other_than_sending(on_stage, make_config, tmp_path, event_file):
    def decision(event, **spec):
        path = tmp_path / "e.yaml"
        path.write_text(json.dumps(EVENT | {"spec": {"orgSlug": "acme", "event": event, **spec}}))
        return on_stage("preview", "-f", path, "-o", "json").json

    make_config("acme", webhook="Tdecide")
    assert decision("system_error")["decision"].startswith("Skipped/NoTrigger")
    assert (
        decision("pipeline_failure", test=True)["cooldown"] == "tests, replays and notices neither obey nor start one"
    )
    make_config("acme", webhook="Tdecide", enabled=False)
    done = on_stage("preview", "-f", event_file)
    assert (done.code, "ConfigDisabled" in done.err) == (1, True)


def test_offline_with_files_only(cli, tmp_path, event_file):
    event_file.write_text(event_file.read_text().replace("orgSlug: acme", "orgSlug: acme_corp"))
    env = tmp_path / ".env.local"
    env.write_text("SMTP_USERNAME=me\nSMTP_PASSWORD=secret-word\nDEFAULT_ADMIN_EMAIL=admin@example.com\n")
    files = [
        "--config",
        CONFIGS / "acme_corp" / "notifications.json",
        "--root",
        CONFIGS / "notifications" / "config.json",
    ]
    done = cli("preview", "-f", event_file, *files, "--env-file", env, "--save", tmp_path / "mail.html")
    assert done.code == 0, done.err
    assert "to admin@acme.com" in done.out
    assert "Subject: [CloudAct]" in done.out
    assert "secret-word" not in done.out + done.err
    assert "<html" in (tmp_path / "mail.html").read_text().lower()
    alone = cli("preview", "-f", event_file, *files[2:], "--env-file", env)
    assert "to admin@example.com" in alone.out


@pytest.mark.parametrize(
    ("options", "event_in", "config_in", "admitted"),
    [
        ([], "team-a", None, True),
        ([], "other", None, False),
        (["-n", "team-b"], "other", None, True),
        ([], "other", "team-a", True),
        ([], "team-a", "other", False),
    ],
)
def test_offline_roots_allow_goes_by_the_namespaces_in_the_files(cli, tmp_path, options, event_in, config_in, admitted):
    hook = "https://hooks.slack.com/services/T/B/roots"
    on_call = {"name": "on-call", "allow": {"namespaces": ["team-*"]}, "slack": {"webhook_url": hook}}
    spec = {"orgSlug": "acme", "eventTriggers": [{"event": "pipeline_failure", "providers": ["on-call"]}]}
    config = {
        "apiVersion": EVENT["apiVersion"],
        "kind": "NotificationConfig",
        "metadata": {"name": "acme"},
        "spec": spec,
    }
    if config_in is not None:
        config["metadata"]["namespace"] = config_in
    files = {
        "root.json": {"destinations": [on_call], "restrict": {"org_may_set": []}},
        "config.json": config,
        "event.json": EVENT | {"metadata": {"name": "e", "namespace": event_in}},
    }
    for name, document in files.items():
        (tmp_path / name).write_text(json.dumps(document))
    found = ["-f", tmp_path / "event.json", "--config", tmp_path / "config.json", "--root", tmp_path / "root.json"]
    done = cli("preview", *found, *options)
    assert done.code == 0, done.err
    assert ("UnknownDestination" not in done.out) == admitted


def test_a_configuration_of_somebody_else_is_refused(cli, event_file):
    done = cli("preview", "-f", event_file, "--config", CONFIGS / "acme_corp" / "notifications.json")
    assert (done.code, "acme_corp's, the event is of acme" in done.err) == (1, True)


def test_no_webhook_and_no_password_is_shown(on_stage, make_config, stage, event_file):
    make_config("acme", webhook="Thidden", email=["data@acme.example"])
    for arguments in ([], ["-o", "json"]):
        done = on_stage("preview", "-f", event_file, *arguments)
        assert "Thidden" not in done.out + done.err
        assert not any(password in done.out for password in stage.users.values())


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if isinstance(kind, HttpKind)])
def test_no_credential_of_any_kind_is_part_of_it(name):
    kind = KINDS[name]
    spec = NotificationConfigSpec.model_validate({"orgSlug": "acme", name: kind.example})
    target = Layers(Layer(spec, OrgSecrets(None, {})), None).target(name)
    shown = json.dumps(_sent(make(), target, kind, name, 0.0))
    secrets = [
        kind.example[trait.camel]
        for trait in traits(kind.spec).values()
        if trait.fillable is not None and trait.fillable.secret and isinstance(kind.example.get(trait.camel), str)
    ]
    assert secrets
    assert not [secret for secret in secrets if secret in shown]
    assert "nightly-orders-load" in shown


def test_sms_by_number_with_its_segments(cli, tmp_path, event_file):
    numbers = ["+4915112345678", "+447700900123"]
    account = {"accountSid": "AC" + "0a" * 16, "authToken": "hidden", "fromNumber": "+15005550006"}
    spec = {"orgSlug": "acme", "defaultProvider": "sms", "sms": account | {"toNumbers": numbers}}
    document = {"apiVersion": "pipebell.io/v1alpha1", "kind": "NotificationConfig", "metadata": {"name": "acme"}}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(document | {"spec": spec}))
    done = cli("preview", "-f", event_file, "--config", config)
    assert done.code == 0, done.err
    assert [f"── sms/{number} " in done.out for number in (1, 2, 3)] == [True, True, False]
    assert "; 1 segment\n" in done.out
    assert "Error: Pipeline failed: täglich <b>& (acme)" in done.out
    as_json = cli("preview", "-f", event_file, "--config", config, "-o", "json")
    sent = as_json.json["destinations"]["sms/2"]
    assert (sent["provider"], sent["segments"]) == ("sms", 1)
    for text in (done.out, as_json.out):
        assert not any(number.lstrip("+") in text for number in [*numbers, "+15005550006"])
        assert "hidden" not in text


@pytest.mark.parametrize("kind", ["pagerduty", "slack"])
def test_it_says_where_only_the_operator_knows_what_it_is_called(kind):
    spec = {"orgSlug": "acme_corp", kind: KINDS[kind].example, "defaultProvider": kind}
    layers = Layers(Layer(NotificationConfigSpec.model_validate(spec), OrgSecrets(None, {})), None)
    message, reference = make(), ConfigReference(kind="NotificationConfig", namespace="data", name="acme")

    def shown(installation=""):
        found = effective.Effective(layers, "a file", reference)
        return previewed(message.event, found, [], message.event.created, installation=installation)[0]

    named = [kind] if kind == "pagerduty" else []
    assert [note.partition(":")[0] for note in shown().notes] == named
    assert shown("4f1c").notes == []
    if named:
        attempt = Attempt("uid-1.pagerduty", installation="4f1c")
        sent = json.loads(shown("4f1c").destinations[kind]["body"])
        assert sent["dedup_key"] == alert_key(message, attempt)


def test_the_override_that_an_event_meets_is_shown_and_what_it_changes():
    block = {"webhookUrl": "https://hooks.slack.com/services/T/B/X", "mentionUsers": ["U1"]}
    rule = {"pipelines": ["nightly-*"], "severity": "critical", "providers": ["slack"]}
    spec = {"orgSlug": "acme_corp", "slack": block, "pipelineOverrides": [rule]}
    layers = Layers(Layer(NotificationConfigSpec.model_validate(spec), OrgSecrets(None, {})), None)
    reference = ConfigReference(kind="NotificationConfig", namespace="data", name="acme")
    message = make()
    found = effective.Effective(layers, "a file", reference)
    shown, _ = previewed(message.event, found, [], message.event.created)
    assert shown.override == "pipelineOverrides[0]: severity error → critical; providers email → slack"
    assert shown.severity == "critical"
    assert json.loads(shown.destinations["slack"]["body"])["text"].startswith("<@U1> ")
    other = make(pipeline_id="weekly").event
    assert previewed(other, found, [], other.created)[0].override is None


def _previewed(spec, **changes):
    layers = Layers(Layer(NotificationConfigSpec.model_validate(spec), OrgSecrets(None, {})), None)
    event = make(**changes).event
    found = effective.Effective(
        layers, "a file", ConfigReference(kind="NotificationConfig", namespace="d", name="acme")
    )
    original = Original(True, True, True, {"slack": ("slack", "C1/1.1/#data")})
    return previewed(event, found, [], event.created, original=original if event.spec.replay_of else None)[0]


def test_it_shows_who_stands_in_for_whom():
    on_call = {**KINDS["pagerduty"].example, "failover": ["sms"], "failoverAfterSeconds": 120}
    spec = {"orgSlug": "acme_corp", "pagerduty": on_call, "sms": KINDS["sms"].example, "defaultProvider": "pagerduty"}
    shown = _previewed(spec)
    assert list(shown.destinations) == ["pagerduty", "sms/1", "sms/2"]
    assert shown.destinations["pagerduty"]["failover"] == {"to": ["sms/1", "sms/2"], "afterSeconds": 120.0}
    assert shown.destinations["sms/2"]["failoverFor"] == ["pagerduty"]
    assert shown.destinations["sms/2"]["segments"] >= 1
    assert (shown.trigger, shown.decision) == ("pipeline_failure → pagerduty", "would be sent")


def test_of_a_destination_that_is_not_ready_it_says_who_stands_in():
    spec = {
        "orgSlug": "acme_corp",
        "pagerduty": {"routingKey": "${MISSING}", "failover": ["slack"]},
        "slack": KINDS["slack"].example,
        "defaultProvider": "pagerduty",
    }
    shown = _previewed(spec)
    assert "pagerduty waits: MissingSecret" in shown.decision
    assert "pagerduty fails over to slack when it fails, or after 300 s" in shown.decision
    assert "MissingSecret" in shown.destinations["pagerduty"]["waits"]
    assert "body" in shown.destinations["slack"]


def test_a_replay_is_shown_in_the_thread_that_it_continues():
    chat = {"botToken": "xoxb-1", "channel": "#data"}
    spec = {"orgSlug": "acme_corp", "slack": chat, "defaultProvider": "slack"}
    assert "thread_ts" not in _previewed(spec).destinations["slack"]["body"]
    again = _previewed(spec, replay_of={"name": "first"}).destinations["slack"]["body"]
    assert json.loads(again)["thread_ts"] == "1.1"


def test_a_terminal_shows_a_card_as_it_is_read_and_a_pipe_the_request(monkeypatch, capsys):
    spec = {"orgSlug": "acme_corp", "teams": KINDS["teams"].example, "defaultProvider": "teams"}
    sent = _previewed(spec).destinations["teams"]
    _print_sent(sent)
    assert json.loads(capsys.readouterr().out) == json.loads(sent["body"])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    _print_sent(sent)
    said = capsys.readouterr().out
    assert said.startswith("│ 🔴 Pipeline failed: nightly-orders-load (acme_corp)\n│ Organisation: acme_corp\n")
    assert said.endswith("[ Logs of this run ]\n(-o json shows the request's body)\n")


@pytest.mark.parametrize("body", ["[]", "{}", '{"text": 1}', '{"text": "x", "attachments": [{"blocks": [1]}]}', "no"])
def test_what_somebody_elses_template_makes_is_shown_as_it_is(body):
    for kind in KINDS.values():
        if isinstance(kind, HttpKind):
            assert set(_as_read(kind, body)) <= {"shown"}


def _target(name):
    spec = NotificationConfigSpec.model_validate({"orgSlug": "acme", name: KINDS[name].example})
    return Layers(Layer(spec, OrgSecrets(None, {})), None).target(f"{name}/1" if name == "sms" else name)


def _of(name, **changes):
    return _sent(make(**changes), _target(name), KINDS[name], name, 0.0)


LONG = {
    "plain": "".join(f"line {number}: no such column\n" for number in range(2000))[:32_768],
    "one sign": "x" * 32_768,
    "no letters": "=" * 32_768,
    "four bytes": "\U0001f4a5" * 32_768,
    "markup": "".join(f'{n} <b>&amp; *x* _y_ `z` @here {{a}} [c](d) \\ "q" 日本\n' for n in range(900))[:32_768],
    "marks": "a\n… (cut off: 12 characters) …\n… (cut off: 1,234 more characters)\n" * 450,
}
MANY = {f"key-{number}": f'value\n"{number}"' for number in range(600)}  # 16 KiB as JSON
LINKS = [
    {"title": f"Run {number}", "url": f"https://ci.example.com/{number}?a=1&b={'p' * 400}"} for number in range(10)
]
WHOLE = {"email": {"details"}, "pagerduty": set(), "webhook": set()}  # they have room for all else of it


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("text", LONG)
def test_what_is_cut_is_said_for_each_kind_by_its_fields(name, text):
    sent = _of(name, error_message=LONG[text], details=MANY, links=LINKS)
    cut = {each["field"]: each for each in sent["cut"]}
    assert all(0 <= each["shown"] < each["length"] for each in sent["cut"])
    if name in WHOLE:
        if text != "four bytes":  # 128 KiB of them
            assert set(cut) == WHOLE[name]
        return
    assert cut["message"]["length"] == len(LONG[text].strip("\n"))
    assert cut["message"]["shown"] > (100 if name == "sms" else 400)
    if name != "sms":  # whose "..." counts nothing
        missing = cut["message"]["length"] - cut["message"]["shown"]
        assert f"(cut off: {missing:,} " in sent["body"]
    if "what-is-told" in _of(name, details={"key": "what-is-told"})["body"]:
        assert cut["details"]["length"] > 16_384 > cut["details"]["shown"] > 400
        ended = facts(make(details=MANY)).details  # with a mark of its own, that they are too long for all kinds
        counted = {len(ended), len(ended) - len(TOO_LONG)}
        assert any(f"(cut off: {each - cut['details']['shown']:,} " in sent["body"] for each in counted)
    assert set(cut) <= {"message", "details", "links"}


@pytest.mark.parametrize("name", ["slack", "discord"])
def test_of_links_those_are_counted_that_are_there(name):
    sent = _of(name, links=LINKS)
    (links,) = sent["cut"]
    assert (links["field"], links["length"]) == ("links", 10)
    assert f"(cut off: {10 - links['shown']} more links)" in sent["body"]
    assert links["shown"] == sum(f"example.com/{number}?" in sent["body"] for number in range(10))


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_cut_of_a_small_event(name):
    assert _of(name)["cut"] == []
    odd = {"a": [1, None, True, 'x\n"y"'], "": {}, "<b>": "&lt;"}
    changes = {"details": odd, "owner": "<@U1>", "labels": {"a": "b c, d"}, "pipeline_id": "täglich <b>& *x* {a}"}
    assert _of(name, error_message="Zeile 1\nline 2 <!channel> `a` &amp; {x} \\ …", **changes)["cut"] == []
    assert _of(name, error_message=None, details=None, links=None)["cut"] == []


def test_a_short_text_that_has_no_room_either_is_said():
    sent = _of("sms", pipeline_id="p" * 512, error_message=None)
    (cut,) = sent["cut"]
    assert (cut["field"], cut["length"], cut["shown"]) == (
        "pipeline",
        512,
        sum(map(len, re.findall("pp+", sent["text"]))),
    )
    sent = _of("discord", owner="o" * 256)
    (cut,) = sent["cut"]
    half = cut["shown"] // 2
    assert (cut["field"], cut["length"]) == ("owner", 256)
    assert f"`{'o' * (cut['shown'] - half)}…{'o' * half}`" in sent["body"]


def test_what_an_own_template_makes_is_cut_by_its_own_name():
    message = replace(make(error_message="e" * 9000), texts={"text_template": "own words " * 1000})
    sent = _sent(message, _target("discord"), KINDS["discord"], "discord", 0.0)
    (cut,) = sent["cut"]
    assert (cut["field"], cut["length"]) == ("textTemplate", 10_000)
    assert abs(len(json.loads(sent["body"])["content"]) - cut["shown"]) < 50


def test_the_table_of_what_is_cut_comes_after_what_is_sent_and_only_then(cli, tmp_path, event_file):
    config = tmp_path / "config.yaml"
    document = {"apiVersion": "pipebell.io/v1alpha1", "kind": "NotificationConfig", "metadata": {"name": "acme"}}
    block = {"webhookUrl": "https://hooks.slack.com/services/T/B/X"}
    config.write_text(
        yaml.safe_dump(document | {"spec": {"orgSlug": "acme", "slack": block, "defaultProvider": "slack"}})
    )
    assert "SHOWN" not in cli("preview", "-f", event_file, "--config", config).out
    event_file.write_text(json.dumps(EVENT | {"spec": {**EVENT["spec"], "errorMessage": "x" * 32_768}}))
    done = cli("preview", "-f", event_file, "--config", config)
    assert done.out.endswith("\nFIELD    LENGTH             SHOWN\nmessage  32,768 characters  2,864\n")
    sent = cli("preview", "-f", event_file, "--config", config, "-o", "json").json["destinations"]["slack"]
    assert sent["cut"] == [{"field": "message", "length": 32_768, "shown": 2864}]
