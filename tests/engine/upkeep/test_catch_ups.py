"""What was held back is told once, when it is over: however the operator dies, and whatever becomes of the silence."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime

import pytest
from tests.engine.fakes import EMAIL, settle_down
from tests.engine.nights import Night, later

from pipebell.core.errors import Conflict, Rejected
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.core.silences.catch_up import Group, name_of
from pipebell.core.status import epoch
from pipebell.core.vocabulary import Phase, Reason
from pipebell.engine.events import holds
from pipebell.engine.upkeep import catch_ups

SLACK = {"webhookUrl": "https://hooks.slack.com/services/T/B/x"}
# The clock starts at 15:06:40 UTC.
QUIET = [{"from": "15:00", "to": "16:00", "catchUp": "Summary"}]


@pytest.fixture
async def night():
    night = Night()
    night.no_root()
    night.config()
    night.run()
    yield night
    await night.close()


def record(night, name):
    return next(event for event in night.events.store.values() if event.name == name).status.catch_up


async def test_a_silence_holds_back_and_tells_at_its_end_what(night):
    night.silence(seconds=600)
    assert await night.fails("orders", "billing", "orders") == [Reason.SILENCED] * 3
    status = night.status(next(iter(night.events.store.values())))
    assert (status.phase, status.decision.stage, status.decision.matched) == (
        *(Phase.SUPPRESSED, "silence"),
        "silence/migration",
    )
    assert status.message.endswith("the warehouse moves")
    assert status.suppressed_by is None
    assert epoch(status.suppressed_until) == night.clock.now() + 600
    assert (status.catch_up.by, status.catch_up.mode) == ("silence/migration", "StillFailing")
    await later(night, 598)
    assert night.told == []
    await later(night, 10)
    assert night.told == ["Held back by silence migration: 3"]
    (event,) = night.catch_up_events
    assert (event.status.phase, event.spec.event, event.spec.severity) == (
        *(Phase.DELIVERED, "pipeline_failure"),
        "error",
    )
    assert event.spec.notice.content["pipelines"] == 2
    assert await night.fails("later") == [Phase.DELIVERED]


def test_many_catch_ups_of_one_namespace_make_nobody_elses_told_again(monkeypatch):
    monkeypatch.setattr(holds, "REMEMBERED", 10)
    book, quiet = holds.Holds(), Group("quiet", "acme", "silence/night")
    book.reported(quiet, [1.0], "catch-up-quiet", finished=True)
    for number in range(100):
        book.reported(Group("crowd", "acme", f"silence/{number}"), [1.0], f"catch-up-{number}", finished=True)
    assert book.reported_in(quiet, 1.0) == "catch-up-quiet"
    assert book.reported_in(Group("crowd", "acme", "silence/89"), 1.0) is None
    assert book.reported_in(Group("crowd", "acme", "silence/99"), 1.0) == "catch-up-99"


@pytest.mark.parametrize("step", ["begin", "collect", "finish", "list"])
async def test_a_mistake_about_one_catch_up_stops_no_other(night, monkeypatch, step):
    night.config(org="globex", name="g")
    night.config(org="umbrella", name="u", namespace="other")
    night.silence(seconds=600)
    night.silence(seconds=600, namespace="other")
    mistakes = [True]

    def broken(original, concerns):
        def work(*given):
            if mistakes and concerns(*given):
                raise KeyError("a mistake of ours")
            return original(*given)

        return work

    for owner, name, concerns in (
        {
            "begin": (night.catch_ups, "_begin", lambda group, _: group.org == "acme"),
            "collect": (catch_ups, "member_of", lambda event, _: event.spec.org_slug == "acme"),
            "finish": (night.catch_ups, "_finish", lambda report, _: report.group.org == "acme"),
            "list": (night.events, "ended", lambda namespace, _: namespace == "team"),
        }[step],
    ):
        monkeypatch.setattr(owner, name, broken(getattr(owner, name), concerns))
    assert await night.fails("orders") == await night.fails("b", orgSlug="globex") == [Reason.SILENCED]
    elsewhere = night.event(namespace="other", org="umbrella")
    await night.submit(elsewhere)
    await later(night, 615)
    told = {event.spec.org_slug for event in night.catch_up_events}
    assert told == ({"umbrella"} if step == "list" else {"globex", "umbrella"})
    mistakes.clear()
    await later(night, 70)
    told = {event.spec.org_slug for event in night.catch_up_events}
    assert told == ({"globex", "umbrella"} if step == "collect" else {"acme", "globex", "umbrella"})


async def test_a_silence_that_held_nothing_back_tells_nothing(night):
    night.silence()
    await later(night, 700)
    assert night.events.created == []


async def test_what_is_told_of_nobody_hears_nothing_of(night):
    night.silence(catchUp="None")
    assert await night.fails("orders") == [Reason.SILENCED]
    await later(night, 700)
    assert night.events.created == []
    assert night.engine.books.holds.pending == {}


async def test_a_silence_deleted_early_is_over_at_once_and_tells_by_the_mode_it_had(night):
    night.silence(seconds=7200, catchUp="Summary")
    await night.fails("orders")
    night.lift()
    await later(night, 3)
    assert night.told == ["Held back by silence migration: 1"]
    assert "ended by hand" in str(night.catch_up_events[0].spec.notice.content["notes"])
    night.silence("other", catchUp="None")
    await night.fails("billing")
    night.lift("other")
    await later(night, 3)
    assert len(night.told) == 1


async def test_a_silence_that_is_made_longer_or_shorter_tells_once_at_its_new_end(night):
    night.silence(seconds=600)
    await night.fails("orders")
    night.silence(seconds=3600)
    await night.fails("billing")
    await later(night, 700)
    assert night.told == []
    await later(night, 60)
    night.silence(seconds=10)
    await night.fails("payroll")
    await later(night, 20)
    assert night.told == ["Held back by silence migration: 3"]
    await later(night, 8000)
    assert len(night.catch_up_events) == 1


async def test_its_mode_of_now_counts_while_it_is_there(night):
    night.silence(catchUp="None")
    await night.fails("orders")
    night.silence(catchUp="Summary")
    await later(night, 700)
    assert night.told == ["Held back by silence migration: 1"]


async def test_the_same_silence_made_anew_holds_back_and_tells_again(night):
    for _ in range(2):
        night.silence(endsAt="2025-06-15T18:00:00Z")
        assert await night.fails("orders") == [Reason.SILENCED]
        night.lift()
        await later(night, 3)
    assert night.told == ["Held back by silence migration: 1"] * 2


async def test_the_platforms_silence_holds_all_namespaces_back_each_is_told_of_its_own(night):
    night.config("globex", "other")
    night.silence("freeze", "ops")
    assert await night.fails("orders", "billing") == [Reason.SILENCED] * 2
    assert await night.fails("x", org="globex", namespace="other") == [Reason.SILENCED]
    await later(night, 700)
    assert sorted(night.told) == [f"Held back by the platform's silence freeze: {count}" for count in (1, 2)]
    assert {event.namespace for event in night.catch_up_events} == {"team", "other"}


async def test_organisations_are_told_of_their_own(night):
    night.config("globex", name="globex")
    night.silence()
    await night.fails("orders")
    await night.fails("x", "y", org="globex")
    await later(night, 700)
    assert sorted(night.told) == ["Held back by silence migration: 1", "Held back by silence migration: 2"]


async def test_events_under_way_go_out_also_when_a_silence_begins_between_their_attempts(night):
    night.email.script = [Outcome(OutcomeKind.RETRY, "Busy", "not now")]
    event = night.event(pipelineId="orders")
    await night.submit(event)
    night.silence()
    await later(night, 30)
    assert night.status(event).phase is Phase.DELIVERED


async def test_tests_and_replays_go_out(night):
    night.silence()
    assert await night.fails("orders", test=True) == [Phase.DELIVERED]


async def test_what_is_held_back_takes_part_in_no_cooldown(night):
    night.silence(seconds=60)
    await night.fails("orders", "orders")
    await later(night, 61)
    assert await night.fails("orders") == [Phase.DELIVERED]
    assert night.email.sent[-1][1].suppressed == 0


async def test_quiet_hours_hold_back_until_their_end_and_then_tell(night):
    night.config(quietHours=QUIET)
    assert await night.fails("orders", "billing") == [Reason.QUIET_HOURS] * 2
    assert await night.fails("payroll", severity="critical") == [Phase.DELIVERED]
    status = night.status(next(iter(night.events.store.values())))
    assert datetime.fromisoformat(status.suppressed_until) == datetime(2025, 6, 15, 16, tzinfo=UTC)
    assert status.catch_up.by == "quietHours"
    await later(night, 3190)
    assert night.told == ["payroll"]
    await later(night, 20)
    assert night.told == ["payroll", "Held back during quiet hours: 2"]
    (event,) = night.catch_up_events
    assert event.spec.notice.content["dues"] == ["2025-06-15T16:00:00.000Z"]


async def test_roots_quiet_hours_count_and_the_organisations_own_replace_them(night):
    night.with_root('{"quiet_hours": [{"from": "15:00", "to": "16:00", "except_severity": "critical"}]}')
    assert await night.fails("orders") == [Reason.QUIET_HOURS]
    night.config("globex", name="globex", quietHours=[])
    assert await night.fails("x", org="globex") == [Phase.DELIVERED]


async def test_a_silence_comes_before_quiet_hours_and_what_it_held_back_is_told_after_both(night):
    night.config(quietHours=QUIET)
    night.silence(seconds=600)
    assert await night.fails("orders") == [Reason.SILENCED]
    await later(night, 700)
    assert night.told == []
    await later(night, 2600)
    assert night.told == ["Held back by silence migration: 1"]


async def test_a_second_silence_moves_what_the_first_one_held_back(night):
    night.silence(seconds=600)
    await night.fails("orders")
    night.silence("again", seconds=3000)
    await later(night, 700)
    assert night.told == []
    night.lift("again")
    await later(night, 5)
    assert night.told == ["Held back by silence migration: 1"]


async def test_it_goes_where_its_events_would_have_gone(night):
    triggers = [
        {"event": "pipeline_failure", "providers": ["slack"]},
        {"event": "system_error", "providers": ["email"]},
    ]
    night.config(slack=SLACK, eventTriggers=triggers)
    night.silence()
    await night.fails("orders")
    await later(night, 700)
    assert (night.told, len(night.slack.sent)) == ([], 1)
    night.silence("second")
    await night.fails("orders")
    await night.fails("orders", event="system_error")
    await later(night, 700)
    assert (len(night.told), len(night.slack.sent)) == (1, 2)
    assert night.catch_up_events[-1].spec.event == "system_error"


async def test_without_a_configuration_by_then_it_ends_as_any_event_does(night):
    night.silence()
    await night.fails("orders")
    night.configs.store.clear()
    night.book.remove(("team", "config"))
    await later(night, 700)
    (event,) = night.catch_up_events
    assert event.status.reason is Reason.NO_CONFIG


async def test_a_configuration_that_is_not_ready_is_waited_for(night):
    night.silence()
    await night.fails("orders")
    night.config(email=EMAIL | {"smtpPassword": "${NOT_THERE}"})
    await later(night, 700)
    assert night.told == []
    night.config()
    night.engine.wake_org("acme")
    await later(night, 5)
    assert night.told == ["Held back by silence migration: 1"]


async def test_events_that_were_deleted_meanwhile_are_not_told_of(night):
    night.silence()
    await night.fails("orders", "billing")
    (first, second) = list(night.events.store)
    del night.events.store[first]
    await later(night, 700)
    assert night.told == ["Held back by silence migration: 1"]
    night.silence("second")
    await night.fails("orders")
    for key in [key for key, event in night.events.store.items() if event.spec.notice is None and key != second]:
        del night.events.store[key]
    await later(night, 700)
    assert len(night.told) == 1


# ---------------------------------------------------------------------- SIGKILL


async def test_after_a_restart_it_is_told_of_what_was_held_back_before(night):
    night.silence()
    await night.fails("orders")
    await night.kill()
    await night.fails("billing")
    await later(night, 700)
    assert night.told == ["Held back by silence migration: 2"]


async def test_a_silence_that_ended_or_was_deleted_while_nobody_ran_is_caught_up_with(night):
    night.silence("one", pipelines=["orders"])
    night.silence("two", pipelines=["billing"], seconds=7200)
    await night.fails("orders", "billing")
    for task in night.tasks:
        task.cancel()
    await night.clock.advance(700)
    del night.silences.store["team", "two"]
    await night.kill()
    await later(night, 5)
    assert sorted(night.told) == ["Held back by silence one: 1", "Held back by silence two: 1"]
    await night.kill()
    await later(night, 7300)
    assert len(night.catch_up_events) == 2


@pytest.mark.parametrize("step", range(12))
async def test_killed_at_any_moment_there_is_one_catch_up_and_one_message(night, step):
    """The process dies at the `step`-th thing that it asks of the API after the silence has ended."""
    night.silence(seconds=60)
    await night.fails("orders", "billing")
    await later(night, 58)
    asked = itertools.count()
    dies = asyncio.get_running_loop().create_future()

    def wrap(call):
        async def wrapped(*given):
            number = next(asked)
            if number == step:
                if step % 2:  # the API does it, and the process never hears of it
                    await call(*given)
                dies.set_result(None)
                await asyncio.Event().wait()
            return await call(*given)

        return wrapped

    names = ("create", "get", "patch_status")
    calls = {name: getattr(night.events, name) for name in names}
    for name in names:
        setattr(night.events, name, wrap(calls[name]))
    await later(night, 10)
    for name in names:
        setattr(night.events, name, calls[name])
    await night.kill()
    await later(night, 30)
    (event,) = night.catch_up_events
    assert event.status.phase is Phase.DELIVERED
    # A message twice only where the process died between the provider's OK and our write.
    assert night.told in (["Held back by silence migration: 2"], ["Held back by silence migration: 2"] * 2)
    assert len(set(night.told)) == 1


async def test_what_is_being_recorded_at_the_end_is_in_it(night):
    night.silence(seconds=60)
    await night.fails("orders")
    gate, calls = asyncio.Event(), night.events.patch_status

    async def slow(*given):
        await gate.wait()
        return await calls(*given)

    night.events.patch_status = slow
    await night.submit(night.event(pipelineId="billing"))
    await later(night, 120)
    assert night.told == []
    gate.set()
    await settle_down()
    await later(night, 5)
    assert night.told == ["Held back by silence migration: 2"]


async def test_another_replicas_organisations_are_its_own_to_tell(night):
    night.silence(seconds=60)
    await night.fails("orders")
    night.ownership.lost.add("acme")
    await later(night, 120)
    assert night.events.created == []
    night.ownership.lost.clear()
    await later(night, 5)
    assert len(night.events.created) == 1


async def test_what_a_lost_shards_events_wait_for_is_forgotten_and_read_anew(night):
    night.silence(seconds=60)
    await night.fails("orders")
    night.catch_ups.on_shards_released(range(24))
    assert night.engine.books.holds.pending == {}
    night.catch_ups.on_shards_acquired(range(24))
    await night.recover()
    await later(night, 120)
    assert night.told == ["Held back by silence migration: 1"]


async def test_an_api_server_that_is_away_at_the_end_is_waited_for(night):
    night.silence(seconds=60)
    await night.fails("orders")
    night.events.away = True
    await later(night, 600)
    night.events.away = False
    await later(night, 60)
    assert night.told == ["Held back by silence migration: 1"]


async def test_anothers_silences_have_nothing_tried_again_that_was_refused(night):
    night.silence(seconds=60)
    await night.fails("orders")
    night.events.refusal = Rejected("exceeded quota")
    await later(night, 70)
    night.events.refusal = None
    for number in range(20):
        night.silence(f"s{number}", namespace="hostile")
        await later(night, 1)
    assert night.told == []
    night.silence("s", pipelines=["other"])
    await later(night, 3)
    assert night.told == ["Held back by silence migration: 1"]


async def test_a_refusal_is_tried_again_a_minute_later_and_is_told_on_the_silence(night):
    night.silence(seconds=60)
    await night.fails("orders")
    night.events.refusal = Rejected("exceeded quota")
    await later(night, 300)
    assert 2 <= len(night.notices.posted) <= 5
    assert night.notices.posted[0] == ("Silence", "team/migration", "CatchUpRefused")
    night.events.refusal = None
    await later(night, 100)
    assert night.told == ["Held back by silence migration: 1"]


async def test_what_could_not_be_recorded_before_the_end_is_told_afterwards(night):
    night.silence(seconds=60)
    await night.fails("orders")
    refused, calls = night.event(pipelineId="billing"), night.events.patch_status

    async def refuse(namespace, name, *given):
        if name == refused.name:
            raise Rejected("denied by a policy")
        return await calls(namespace, name, *given)

    night.events.patch_status = refuse
    await night.submit(refused)
    await later(night, 120)
    assert night.told == ["Held back by silence migration: 1"]
    night.events.patch_status = calls
    await later(night, 300)
    assert night.status(refused).reason is Reason.SILENCED
    assert night.told == ["Held back by silence migration: 1"] * 2
    told = [line["name"] for event in night.catch_up_events for line in event.spec.notice.content["groups"][0]["lines"]]
    assert sorted(told) == sorted(["event-1", refused.name])
    await night.kill()
    await later(night, 300)
    assert len(night.told) == 2


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59.999999Z"])
async def test_a_silence_to_the_end_of_all_times_holds_back_and_can_be_lifted_twice(night, end):
    for number in (1, 2):
        night.silence(endsAt=end)
        assert await night.fails("orders") == [Reason.SILENCED]
        night.lift()
        await later(night, 10)
        assert night.told == ["Held back by silence migration: 1"] * number


# ---------------------------------------------------------------------- claims


def claim(night, name, by="silence/migration", dues=("2025-06-15T16:00:00.000Z",)):
    content = {"by": by, "dues": list(dues), "destinations": ["email"], "title": "x", "total": 9, "groups": []}
    return night.event(name=name, notice={"kind": "CatchUp", "content": content})


async def test_what_nobody_held_back_is_not_due(night):
    for event in (
        claim(night, "catch-up-forged"),
        night.event(name="empty", notice={"kind": "CatchUp"}),
        night.event(name="odd", notice={"kind": "CatchUp", "content": {"by": 1, "dues": "x"}}),
    ):
        await night.submit(event)
        assert (night.status(event).phase, night.status(event).reason) == (Phase.SKIPPED, Reason.NOT_DUE)
    assert night.told == []


async def test_one_that_comes_before_its_time_is_not_due_and_takes_nothing_from_the_true_one(night):
    made = night.silence(seconds=600)
    await night.fails("orders")
    name = name_of(Group("team", "acme", "silence/migration"), made.ends)
    forged = claim(night, name, dues=[record(night, "event-1").due])
    await night.submit(forged)
    assert night.status(forged).reason is Reason.NOT_DUE
    await later(night, 700)
    assert night.told == ["Held back by silence migration: 1"]


async def test_anothers_event_of_its_name_takes_nothing_from_it(night):
    made = night.silence(seconds=600)
    await night.fails("orders")
    night.event(name=name_of(Group("team", "acme", "silence/migration"), made.ends))
    await later(night, 700)
    assert night.told == ["Held back by silence migration: 1"]


async def test_one_that_is_forged_in_the_second_it_is_due_takes_nothing_from_the_true_one(night):
    made = night.silence(seconds=600)
    await night.fails("orders")
    name, due = name_of(Group("team", "acme", "silence/migration"), made.ends), record(night, "event-1").due
    create, forged = night.events.create, []

    async def late(namespace, name, spec):
        if not forged:
            forged.append(claim(night, name, dues=[due]))
            night.engine.submit(forged[0])
            for _ in range(100):  # it is looked at
                await asyncio.sleep(0)
        await create(namespace, name, spec)

    async def watched(namespace, name, uid):
        await delete(namespace, name, uid)
        night.engine.forget(uid)

    delete, night.events.delete = night.events.delete, watched
    night.events.create = late
    await later(night, 700)
    assert night.told == ["Held back by silence migration: 1"]
    assert night.events.created == [("team", name)]


# ---------------------------------------------------------------------- retention


async def test_what_is_held_back_stays_until_it_is_told_of_and_the_catch_up_until_that_is_gone(night):
    night.max_age = 0.0  # of notices: what keeps them here is what they tell of
    sweeper = night.sweeper(ttl_delivered=60.0)
    sweeper.subscribe(night.engine.books.holds)
    task = asyncio.ensure_future(sweeper.run())
    night.silence(seconds=5000)
    await night.fails("orders")
    await later(night, 4900)
    assert [event.name for event in night.events.store.values()] == ["event-1"]
    await later(night, 200)
    assert night.told == ["Held back by silence migration: 1"]
    await night.clock.leap(20_000)
    assert "event-1" not in [event.name for event in night.events.store.values()]
    await night.clock.leap(20_000)
    assert night.events.store == {}
    task.cancel()


async def test_a_catch_up_goes_after_the_last_of_its_events(night):
    night.silence(seconds=60)
    await night.fails("orders", ttlSecondsAfterFinished=150_000)
    await later(night, 100)
    sweeper = night.sweeper(ttl_delivered=60.0)
    sweeper.subscribe(night.engine.books.holds)
    task = asyncio.ensure_future(sweeper.run())
    await night.clock.leap(120_000)
    assert len(night.events.store) == 2
    await night.kill()
    await night.clock.leap(60_000)
    assert night.told == ["Held back by silence migration: 1"]
    task.cancel()


async def test_a_conflict_while_it_is_recorded_changes_nothing(night):
    night.silence(seconds=60)
    failing = [Conflict("x")]

    def before(name):
        if failing:
            raise failing.pop()

    night.events.before_patch = before
    await night.fails("orders")
    await later(night, 100)
    assert night.told == ["Held back by silence migration: 1"]
