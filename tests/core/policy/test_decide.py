"""Deciding: every stage by a table, and that log, status and `why` have the same words for each row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.engine.fakes import EMAIL, START

from pipebell.core.errors import NotReady
from pipebell.core.event import Event
from pipebell.core.incidents.keys import IncidentKey
from pipebell.core.incidents.order import Order
from pipebell.core.incidents.resource import IncidentClass, IncidentPhase
from pipebell.core.incidents.rules import IncidentRules
from pipebell.core.incidents.state import Incident, Notification, Past, Success
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import NotificationSpec, PipelineEventSpec
from pipebell.core.placeholders import Environment
from pipebell.core.policy.batches import BatchFacts
from pipebell.core.policy.decide import STAGES, decide, explain
from pipebell.core.policy.decision import Batch, Deliver, Skip, Suppress, Wait, WaitsFor
from pipebell.core.policy.facts import BudgetFacts, Share
from pipebell.core.policy.sent import Sent
from pipebell.core.policy.situation import CooldownFacts, IncidentFacts, Original, Progress, Resolved, Situation
from pipebell.core.silences.resource import Silence, SilenceSpec, SilenceStatus
from pipebell.core.status import ConfigReference, EventStatus
from pipebell.core.vocabulary import NotReadyReason, Reason, StageName

MAX_AGE = 86_400.0
SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}
BOTH = [{"event": "pipeline_failure", "providers": ["email", "slack"], "cooldownSeconds": 60}]
DIGESTS = [{"event": "pipeline_failure", "digest": {"everySeconds": 3600}}]
NOTHING, NEW = CooldownFacts(), Progress()
REFERENCE = ConfigReference(kind="NotificationConfig", namespace="team", name="config", generation=3)


def event(**spec):
    return Event(
        namespace="team",
        name="this",
        uid="uid-this",
        resource_version="1",
        generation=1,
        created=START,
        spec=PipelineEventSpec.model_validate(
            {"orgSlug": "acme", "event": "pipeline_failure", "pipelineId": "p", **spec}
        ),
        status=EventStatus(),
    )


def config(**spec):
    layer = Layer(NotificationSpec.model_validate({"email": EMAIL, **spec}), Environment({}))
    return Resolved(Layers(layer, None), REFERENCE, None)


def situation(this=None, *, configuration=None, age=0.0, facts=NOTHING, progress=NEW, original=None, **more):
    found = configuration or config()
    return Situation(this or event(), START + age, MAX_AGE, found, facts, progress, original, **more)


QUIET = [{"from": "15:00", "to": "16:00"}]  # START is 15:06:40


def silenced(this=None, *, namespace="team", platform=False, **spec):
    ends = datetime.fromtimestamp(START + 600, UTC).isoformat()
    given = SilenceSpec.model_validate({"endsAt": ends, "reason": "migration of the warehouse", **spec})
    silence = Silence(namespace, "migration", "uid-s", "1", START, given, SilenceStatus(), platform)
    return situation(this)._replace(silences=[silence])


LAST = Sent(START - 10, "team", "earlier")
DISABLED = Skip(StageName.CONFIGURED, Reason.CONFIG_DISABLED, "NotificationConfig team/config is disabled")
MISSING = NotReady(NotReadyReason.MISSING_SECRET, "email.smtpPassword: there is no Secret")
UNREADY = {"toEmails": ["to@example.com"]}  # names no server
SENDING = CooldownFacts(sender="uid-other", sender_name="other")

KEY = IncidentKey("team", "acme", IncidentClass.RUN, "pipelineId=p")
TOLD = Incident(KEY, name="inc-1", notified={"email": Notification("email")}, failures=1, phase=IncidentPhase.OPEN)
RULES = IncidentRules()

TABLE = {
    # stages retryExpected, incident and repeated: histories are in tests/core/incidents
    "another attempt is expected": (
        situation(event(attempt=1, maxAttempts=2), incident=IncidentFacts(RULES, key=KEY)),
        Suppress, "retryExpected", Reason.RETRY_EXPECTED, "default triggers",
    ),
    "too few failures": (
        situation(incident=IncidentFacts(IncidentRules(notify_after_failures=2), key=KEY)),
        Suppress, "incident", Reason.BELOW_THRESHOLD, "default triggers",
    ),
    "everybody was told": (
        situation(incident=IncidentFacts(RULES, key=KEY, incident=TOLD)),
        Suppress, "repeated", Reason.REPEATED, "default triggers",
    ),
    "nothing is known of the past": (
        situation(incident=IncidentFacts(RULES, known=False)), Wait, "retryExpected", None, "",
    ),
    "nothing is known of the past, and it is on its way": (
        situation(incident=IncidentFacts(RULES, known=False), progress=Progress(tried=True, open=["email"])),
        Wait, "retryExpected", None, "",
    ),
    "others were created before it": (
        situation(incident=IncidentFacts(RULES, early=True)),
        Wait, "retryExpected", Reason.WAITING_FOR_SENDER, "",
    ),
    "it succeeded since": (
        situation(incident=IncidentFacts(RULES, key=KEY, past=Past(Success(Order(START + 1, 9))))),
        Suppress, "incident", Reason.SUPERSEDED, "default triggers",
    ),
    "the first one is being sent": (
        situation(incident=IncidentFacts(RULES, key=KEY, incident=TOLD, sender="uid-other", sender_name="other")),
        Wait, "repeated", Reason.WAITING_FOR_SENDER, "other",
    ),
    "a success that ends nothing": (
        situation(event(event="pipeline_success"), incident=IncidentFacts(RULES)),
        Skip, "incident", Reason.NO_TRIGGER, "",
    ),
    "its trigger is disabled": (
        situation(
            event(event="pipeline_success"), incident=IncidentFacts(RULES),
            configuration=config(eventTriggers=[{"event": "pipeline_success", "enabled": False}]),
        ),
        Skip, "incident", Reason.TRIGGER_DISABLED, "eventTriggers[pipeline_success]",
    ),
    "its destinations are disabled": (
        situation(
            event(event="pipeline_success"), incident=IncidentFacts(RULES),
            configuration=config(
                email={**EMAIL, "enabled": False}, eventTriggers=[{"event": "pipeline_success"}]
            ),
        ),
        Skip, "incident", Reason.NO_PROVIDER_ENABLED, "eventTriggers[pipeline_success]",
    ),
    "too old to be told, though it ends one": (
        situation(event(event="pipeline_success"), age=MAX_AGE + 1, incident=IncidentFacts(RULES, recoverable=(TOLD,))),
        Skip, "incident", Reason.EXPIRED, "",
    ),
    "it fails and recovers all the time": (
        situation(incident=IncidentFacts(RULES, key=KEY, incident=replace(TOLD, flapping=True))),
        Suppress, "incident", Reason.FLAPPING, "default triggers",
    ),
    "an end that somebody is told of": (
        situation(event(event="pipeline_success"), incident=IncidentFacts(RULES, recoverable=(TOLD,))),
        Deliver, "deliver", None, "Incident inc-1",
    ),
    # stage expired
    "too old": (situation(age=MAX_AGE + 1), Skip, "expired", Reason.EXPIRED, ""),
    "just in time": (situation(age=MAX_AGE), Deliver, "deliver", None, "default triggers"),
    "too old, but tried": (
        situation(age=MAX_AGE + 1, progress=Progress(tried=True, attempted=True, open=["email"])),
        Deliver, "deliver", None, "default triggers",
    ),
    # stage configured
    "disabled": (situation(configuration=DISABLED), Skip, "configured", Reason.CONFIG_DISABLED, ""),
    "not ready": (situation(configuration=MISSING), Wait, "configured", Reason.CONFIG_NOT_READY, ""),
    "too old and not ready": (situation(configuration=MISSING, age=2 * MAX_AGE), Skip, "expired", Reason.EXPIRED, ""),
    # stage override
    "switched off for some pipelines": (
        situation(configuration=config(pipelineOverrides=[{"pipelines": ["*"], "enabled": False}])),
        Skip, "override", Reason.TRIGGER_DISABLED, "pipelineOverrides[0]",
    ),
    "another severity for some pipelines": (
        situation(configuration=config(pipelineOverrides=[{"pipelines": ["*"], "severity": "critical"}])),
        Deliver, "deliver", None, "default triggers under pipelineOverrides[0] (severity)",
    ),
    # stage trigger
    "no trigger": (situation(event(event="pipeline_started")), Skip, "trigger", Reason.NO_TRIGGER, ""),
    "trigger disabled": (
        situation(configuration=config(eventTriggers=[{"event": "pipeline_failure", "enabled": False}])),
        Skip, "trigger", Reason.TRIGGER_DISABLED, "eventTriggers[pipeline_failure]",
    ),
    "provider disabled": (
        situation(configuration=config(email=EMAIL | {"enabled": False})),
        Skip, "trigger", Reason.NO_PROVIDER_ENABLED, "default triggers",
    ),
    "a replay of nothing": (
        situation(event(replayOf={"name": "x"}), original=Original()), Skip, "trigger", Reason.NOT_DUE, "",
    ),
    "a replay of what is not finished": (
        situation(event(replayOf={"name": "x"}), original=Original(True, False, True)),
        Skip, "trigger", Reason.NOT_DUE, "",
    ),
    "a replay of another organisation's": (
        situation(event(replayOf={"name": "x"}), original=Original(True, True, False)),
        Skip, "trigger", Reason.NOT_DUE, "",
    ),
    "a replay of a finished one": (
        situation(event(replayOf={"name": "x"}), original=Original(True, True, True)),
        Deliver, "deliver", None, "default triggers",
    ),
    # stage silence
    "silenced": (silenced(), Suppress, "silence", Reason.SILENCED, "silence/migration"),
    "silenced by the platform": (
        silenced(namespace="ops", platform=True), Suppress, "silence", Reason.SILENCED, "platform/migration",
    ),
    "of another pipeline's silence": (silenced(pipelines=["q*"]), Deliver, "deliver", None, "default triggers"),
    "silenced, but under way": (
        silenced()._replace(progress=Progress(tried=True, open=["email"])),
        Deliver, "deliver", None, "default triggers",
    ),
    "a silenced test": (silenced(event(test=True)), Deliver, "deliver", None, "default triggers"),
    "a silenced replay": (
        silenced(event(replayOf={"name": "x"}))._replace(original=Original(True, True, True)),
        Deliver, "deliver", None, "default triggers",
    ),
    "silenced and within the window": (
        silenced()._replace(cooldown=CooldownFacts(last=LAST)), Suppress, "silence", Reason.SILENCED,
        "silence/migration",
    ),
    # stage quietHours
    "in quiet hours": (
        situation(configuration=config(quietHours=QUIET)), Suppress, "quietHours", Reason.QUIET_HOURS, "quietHours",
    ),
    "critical in quiet hours": (
        situation(event(severity="critical"), configuration=config(quietHours=QUIET)),
        Deliver, "deliver", None, "default triggers",
    ),
    "silenced in quiet hours": (
        silenced()._replace(configuration=config(quietHours=QUIET)), Suppress, "silence", Reason.SILENCED,
        "silence/migration",
    ),
    "quiet hours that the served definitions cannot say": (
        situation(configuration=config(quietHours=QUIET))._replace(silences=None),
        Deliver, "deliver", None, "default triggers",
    ),
    # stage cooldown
    "within the window": (
        situation(facts=CooldownFacts(last=LAST, suppressed=4)), Suppress, "cooldown", Reason.COOLDOWN, "earlier",
    ),
    "after the window": (
        situation(age=291, facts=CooldownFacts(last=LAST, suppressed=4)), Deliver, "deliver", None, "default triggers",
    ),
    "another is being sent": (situation(facts=SENDING), Wait, "cooldown", Reason.WAITING_FOR_SENDER, "other"),
    "a foreign one is being sent": (
        situation(facts=CooldownFacts(sender="uid-foreign")), Wait, "cooldown", Reason.WAITING_FOR_SENDER, "",
    ),
    "it is being sent itself": (
        situation(facts=CooldownFacts(sender="uid-this")), Deliver, "deliver", None, "default triggers",
    ),
    "the past is not known": (situation(facts=CooldownFacts(known=False)), Wait, "cooldown", None, ""),
    "a test in the window": (
        situation(event(test=True), facts=CooldownFacts(last=LAST)), Deliver, "deliver", None, "default triggers",
    ),
    "a replay in the window": (
        situation(event(replayOf={"name": "x"}), facts=SENDING), Deliver, "deliver", None, "default triggers",
    ),
    "no cooldown": (
        situation(
            facts=CooldownFacts(last=LAST, known=False),
            configuration=config(eventTriggers=[{"event": "pipeline_failure", "cooldownSeconds": 0}]),
        ),
        Deliver, "deliver", None, "eventTriggers[pipeline_failure]",
    ),
    "a retry in another's window": (
        situation(facts=CooldownFacts(last=LAST), progress=Progress(tried=True, attempted=True, open=["email"])),
        Deliver, "deliver", None, "default triggers",
    ),
    # stage digest
    "told together": (
        situation(configuration=config(eventTriggers=DIGESTS)),
        Batch, "digest", Reason.BATCHED, "eventTriggers[pipeline_failure]",
    ),
    "told together in a cooldown": (
        situation(configuration=config(eventTriggers=DIGESTS), facts=CooldownFacts(last=LAST)),
        Batch, "digest", Reason.BATCHED, "eventTriggers[pipeline_failure]",
    ),
    "which digests are due is not known": (
        situation(configuration=config(eventTriggers=DIGESTS), batches=BatchFacts(known=False)),
        Wait, "digest", None, "",
    ),
    "a test is not told together": (
        situation(event(test=True), configuration=config(eventTriggers=DIGESTS)),
        Deliver, "deliver", None, "eventTriggers[pipeline_failure]",
    ),
    # stage budget
    "beyond the organisation's limit": (
        situation(configuration=config(maxNotificationsPerHour=2), budget=BudgetFacts(own=Share(2, 2))),
        Batch, "budget", Reason.BATCHED, "default triggers",
    ),
    "critical, beyond the organisation's limit": (
        situation(
            event(severity="critical"),
            configuration=config(maxNotificationsPerHour=2), budget=BudgetFacts(own=Share(2, 2)),
        ),
        Deliver, "deliver", None, "default triggers",
    ),
    "within the limit": (
        situation(configuration=config(maxNotificationsPerHour=2), budget=BudgetFacts(own=Share(2, 1))),
        Deliver, "deliver", None, "default triggers",
    ),
    "how many were told is not known": (
        situation(configuration=config(maxNotificationsPerHour=2), budget=BudgetFacts(known=False, own=Share(2, 2))),
        Wait, "budget", None, "",
    ),
    # stage deliver
    "no destination is ready": (
        situation(configuration=config(email=UNREADY)), Wait, "deliver", Reason.CONFIG_NOT_READY, "default triggers",
    ),
    "one destination is ready": (
        situation(configuration=config(email=UNREADY, slack=SLACK, eventTriggers=BOTH)),
        Deliver, "deliver", None, "eventTriggers[pipeline_failure]",
    ),
    "suppressed rather than not ready": (
        situation(configuration=config(email=UNREADY), facts=CooldownFacts(last=LAST)),
        Suppress, "cooldown", Reason.COOLDOWN, "earlier",
    ),
}  # fmt: skip


def words(decision):
    return type(decision), decision.stage, decision.reason, decision.message, decision.matched


@pytest.mark.parametrize("row", TABLE)
def test_every_stage_decides_as_the_table_says_and_explains_it_in_the_same_words(row):
    given, ending, stage, reason, matched = TABLE[row]
    decision = decide(given)
    assert (type(decision), decision.stage, decision.reason, decision.matched) == (ending, stage, reason, matched)
    assert decision.message
    answers = explain(given)
    assert [answer.stage for answer in answers] == [known.name for known in STAGES]
    reached = [answer for answer in answers if answer.reached]
    assert words(reached[-1].decision) == words(decision)
    assert all(answer.decision is None for answer in reached[:-1])


def test_the_stages_stand_in_the_order_of_the_contract():
    names = [stage.name for stage in STAGES]
    assert names == [name for name in StageName if name in names]
    assert names[-1] is StageName.DELIVER


def test_every_stage_of_the_list_decides_in_the_table():
    assert {stage for _, _, stage, _, _ in TABLE.values()} == {stage.name.value for stage in STAGES}


def test_what_follows_the_deciding_stage_says_what_it_would_say_where_that_can_be_known():
    answers = {answer.stage: answer for answer in explain(TABLE["within the window"][0])}
    assert not answers[StageName.DELIVER].reached
    assert isinstance(answers[StageName.DELIVER].decision, Deliver)
    answers = {answer.stage: answer for answer in explain(TABLE["not ready"][0])}
    assert not answers[StageName.TRIGGER].known
    answers = {answer.stage: answer for answer in explain(TABLE["no trigger"][0])}
    assert not answers[StageName.COOLDOWN].known


def test_what_waits_says_for_what():
    assert decide(TABLE["another is being sent"][0]).waits_for is WaitsFor.TURN
    assert decide(TABLE["the past is not known"][0]).waits_for is WaitsFor.LEDGER
    waits = decide(TABLE["no destination is ready"][0])
    assert waits.waits_for is WaitsFor.CONFIG
    assert waits.cause.reason is NotReadyReason.INCOMPLETE


@pytest.mark.parametrize(
    ("row", "suppressed"),
    [("after the window", 4), ("it is being sent itself", 0), ("a replay in the window", 0), ("no cooldown", 0)],
)
def test_a_message_speaks_for_those_that_were_suppressed(row, suppressed):
    assert decide(TABLE[row][0]).suppressed == suppressed


def test_a_retry_goes_on_with_the_number_it_began_with():
    progress = Progress(tried=True, attempted=True, open=["email"], suppressed=7)
    assert decide(situation(progress=progress, facts=CooldownFacts(suppressed=9))).suppressed == 7


def test_once_tried_destinations_are_fixed_and_wait_each_by_itself():
    both = config(slack=SLACK, eventTriggers=BOTH)
    progress = Progress(tried=True, attempted=True, open=["slack"])
    assert set(decide(situation(configuration=both, progress=progress)).targets) == {"slack"}
    unready = config(email=UNREADY)
    decision = decide(situation(configuration=unready, progress=replace_open(progress, "email")))
    assert (dict(decision.targets), set(decision.blocked)) == ({}, {"email"})


def replace_open(progress, *names):
    return progress._replace(open=list(names))


def test_deciding_depends_on_nothing_but_the_situation():
    given = TABLE["within the window"][0]
    assert decide(given) == decide(given)
    other = given._replace(event=replace(given.event, status=EventStatus(phase="Pending")))
    assert decide(other) == decide(given)
