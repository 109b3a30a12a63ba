"""Making notices: once for each moment, never too late, and no trouble of one namespace retried hot."""

from __future__ import annotations

import asyncio

import pytest
from tests.engine.fakes import EMAIL, House, settle_down

from pipebell.core.errors import Forbidden, NotFound, Rejected
from pipebell.core.outcome import Action, Outcome, OutcomeKind, Thread
from pipebell.core.policy.facts import Claim
from pipebell.core.vocabulary import NoticeKind, Phase, Reason, StageName
from pipebell.engine.upkeep.notices import Made, Making, NoticeMaker

SPEC = {"orgSlug": "acme", "event": "channel_failing", "notice": {"kind": "Channel", "destination": "slack"}}
DIGEST = {"orgSlug": "acme", "event": "pipeline_failure", "notice": {"kind": "Digest", "destination": "email"}}
AGE = 3600.0


class Always:
    """Says the same of every notice."""

    def __init__(self, claim):
        self.claim, self.asked = claim, 0

    async def judge(self, event, resolved):
        self.asked += 1
        return self.claim


DUE = Claim(due=True, stage=StageName.TRIGGER, destinations=("email",), title="channel slack")
OVER = Claim(due=False, stage=StageName.TRIGGER, reason=Reason.SUPERSEDED, message="it works again", by="slack")


@pytest.fixture
async def house():
    house = House(max_age=AGE)
    house.no_root()
    house.config()
    yield house
    await house.engine.close(0)


async def test_each_is_made_once(house):
    maker = NoticeMaker(house.ports, AGE)
    moment = house.clock.now()
    assert (await maker.make("team", "channel-1", SPEC, moment)).made is Made.CREATED
    assert (await maker.make("team", "channel-1", SPEC, moment)).made is Made.EXISTS
    assert house.events.created == [("team", "channel-1")]


async def test_a_claim_of_its_name_that_came_to_nothing_makes_room(house):
    maker, moment = NoticeMaker(house.ports, AGE), house.clock.now()
    await house.submit(house.event("claimed", event="channel_failing", notice={"kind": "Channel"}))
    assert (await maker.make("team", "claimed", SPEC, moment)).made is Made.CREATED
    forged = house.event("early", **SPEC | {"notice": {"kind": "Channel", "destination": "email"}})
    assert (await maker.make("team", "early", SPEC, moment)).made is Made.CREATED, "before anybody has judged it"
    assert house.events.store["team", "early"].uid != forged.uid


async def test_where_somebodys_event_has_its_name_it_gets_the_next_one_and_is_made_once(house):
    house.event("theirs")
    house.event("theirs.2")
    for made in (Made.CREATED, Made.EXISTS, Made.EXISTS):
        maker = NoticeMaker(house.ports, AGE)
        assert await maker.make("team", "theirs", SPEC, house.clock.now()) == Making(made, name="theirs.3")
    assert house.events.store["team", "theirs"].spec.notice is None
    for number in range(3, 6):
        house.event(f"all.{number}")
    house.event("all.2")
    house.event("all")
    assert (await maker.make("team", "all", SPEC, house.clock.now())).made is Made.REFUSED


async def test_what_was_sent_by_its_name_for_something_else_stays(house):
    house.engine.books.judges.subscribe(NoticeKind.CHANNEL, Always(DUE))
    await house.submit(house.event("used", **SPEC | {"notice": {"kind": "Channel", "destination": "email"}}))
    making = await NoticeMaker(house.ports, AGE).make("team", "used", SPEC, house.clock.now())
    assert making == Making(Made.CREATED, name="used.2")


async def test_several_replicas_that_make_one_replace_nothing_of_each_other(house):
    maker, moment = NoticeMaker(house.ports, AGE), house.clock.now()
    other = SPEC | {"notice": SPEC["notice"] | {"due": "2025-06-15T15:06:40.000Z"}}
    assert (await maker.make("team", "shared", other, moment, alone=False)).made is Made.CREATED
    assert (await maker.make("team", "shared", SPEC, moment, alone=False)).made is Made.EXISTS


async def test_a_next_name_is_right_only_where_somebodys_event_has_the_one_before(house):
    house.engine.books.judges.subscribe(NoticeKind.CHANNEL, Always(DUE))
    await NoticeMaker(house.ports, AGE).make("team", "channel-1", SPEC, house.clock.now())
    await settle_down()
    for more in ({}, {"replayOf": {"name": "channel-1"}}):
        forged = house.event("channel-1.2", **SPEC, **more)
        await house.submit(forged)
        assert house.status(forged).reason is Reason.NOT_DUE
    assert house.email.names == ["channel-1"]


async def test_nothing_is_made_for_a_moment_that_no_event_would_be_sent_for(house):
    maker = NoticeMaker(house.ports, AGE)
    assert (await maker.make("team", "old", SPEC, house.clock.now() - AGE - 1)).made is Made.TOO_OLD
    assert (await maker.make("team", "late", DIGEST, house.clock.now() - AGE - 1)).made is Made.CREATED


@pytest.mark.parametrize("error", [Forbidden("exceeded quota"), Rejected("unknown field"), NotFound("namespace")])
async def test_a_refusal_is_an_answer(house, error):
    house.events.refusal = error
    made = await NoticeMaker(house.ports, AGE).make("team", "channel-1", SPEC, house.clock.now())
    assert (made.made, made.message, made.there) == (Made.REFUSED, str(error), False)


async def test_an_api_that_is_away_is_asked_again_for_a_while(house):
    house.events.away = True
    making = asyncio.ensure_future(NoticeMaker(house.ports, AGE).make("team", "channel-1", SPEC, house.clock.now()))
    await house.clock.advance(5)
    house.events.away = False
    await house.clock.advance(60)
    assert (await making).made is Made.CREATED


async def test_a_due_notice_is_delivered_where_its_judge_says(house):
    house.engine.books.judges.subscribe(NoticeKind.CHANNEL, Always(DUE))
    await NoticeMaker(house.ports, AGE).make("team", "channel-1", SPEC, house.clock.now())
    await settle_down()
    status = house.events.store["team", "channel-1"].status
    assert (status.phase, status.decision.matched) == (Phase.DELIVERED, "channel slack")
    assert house.email.names == ["channel-1"]


async def test_what_somebody_else_claims_is_not_due(house):
    await house.submit(house.event("claimed", event="channel_failing", notice={"kind": "Channel"}))
    status = house.events.store["team", "claimed"].status
    assert (status.phase, status.reason) == (Phase.SKIPPED, Reason.NOT_DUE)


async def test_it_is_judged_again_before_each_attempt(house):
    judge = Always(DUE)
    house.engine.books.judges.subscribe(NoticeKind.CHANNEL, judge)
    house.email.script = [Outcome(OutcomeKind.RETRY, "Http500", "later")]
    await NoticeMaker(house.ports, AGE).make("team", "channel-1", SPEC, house.clock.now())
    await settle_down()
    judge.claim = OVER
    await house.clock.advance(60)
    status = house.events.store["team", "channel-1"].status
    assert judge.asked == 2
    assert house.email.names == ["channel-1"]
    assert (status.phase, status.deliveries[0].reason) == (Phase.FAILED, Reason.SUPERSEDED)


async def test_superseded_before_anything_was_sent_it_ends_suppressed(house):
    house.engine.books.judges.subscribe(NoticeKind.CHANNEL, Always(OVER))
    await NoticeMaker(house.ports, AGE).make("team", "channel-1", SPEC, house.clock.now())
    await settle_down()
    status = house.events.store["team", "channel-1"].status
    assert (status.phase, status.reason, status.suppressed_by) == (Phase.SUPPRESSED, Reason.SUPERSEDED, "slack")
    assert status.suppressed_until is None


async def test_notices_start_no_cooldown_and_obey_none(house):
    house.engine.books.judges.subscribe(NoticeKind.CHANNEL, Always(DUE))
    triggers = [{"event": "channel_failing", "cooldownSeconds": 300}]
    house.config(email=EMAIL, eventTriggers=triggers)
    maker = NoticeMaker(house.ports, AGE)
    for name in ("channel-1", "channel-2"):
        await maker.make("team", name, SPEC, house.clock.now())
        await settle_down()
    assert house.email.names == ["channel-1", "channel-2"]
    await house.submit(house.event("ordinary", event="channel_failing"))
    assert house.email.names[-1] == "ordinary"


async def test_a_notice_is_kept_for_as_long_as_it_might_be_made_again(house):
    house.engine.books.judges.subscribe(NoticeKind.CHANNEL, Always(DUE))
    sweeper = asyncio.ensure_future(house.sweeper(ttl_delivered=60.0).run())
    await NoticeMaker(house.ports, AGE).make(
        "team", "channel-1", SPEC | {"ttlSecondsAfterFinished": 1}, house.clock.now()
    )
    await house.submit(house.event("ordinary", test=True))
    await house.clock.advance(AGE)
    assert list(house.events.store) == [("team", "channel-1")]
    await house.clock.advance(2 * AGE)
    assert list(house.events.store) == []
    sweeper.cancel()


async def test_a_notice_follows_up_the_messages_that_its_judge_names(house):
    trigger = [{"event": "pipeline_failure", "providers": ["chat", "hook", "email"]}]
    chats = [
        {"name": "chat", "slack": {"botToken": "xoxb-1", "channel": "#data"}},
        {"name": "hook", "slack": {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}},
    ]
    house.config(destinations=chats, eventTriggers=trigger)
    edit = Thread(Action.EDIT, "C1/1.1/#data", alert="p")
    due = Claim(
        due=True,
        stage=StageName.INCIDENT,
        destinations=("chat", "hook", "email"),
        threads={"chat": edit, "hook": edit, "email": Thread(Action.REPLY, "<1@pipebell.io>")},
    )
    house.engine.books.judges.subscribe(NoticeKind.CHANNEL, Always(due))
    house.slack.script = [Outcome(OutcomeKind.RETRY, "Http500", "later")]
    await NoticeMaker(house.ports, AGE).make("team", "channel-1", SPEC, house.clock.now())
    await house.clock.advance(30)
    status = house.events.store["team", "channel-1"].status
    assert status.phase is Phase.DELIVERED
    seen = [(attempt.action, attempt.handle, attempt.alert) for _, _, _, attempt in house.slack.sent]
    assert seen == [(Action.EDIT, "C1/1.1/#data", "p")] * 2, "by the token alone, at both attempts"
    assert house.email.sent[0][3].replies_to == "<1@pipebell.io>"
    (hook,) = (item for item in status.deliveries if item.destination == "hook")
    assert (hook.phase, hook.message) == (Phase.DELIVERED, "NothingToDo: slack cannot edit a message there")
