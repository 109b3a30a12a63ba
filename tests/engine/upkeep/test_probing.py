"""Trying endpoints without sending: every quarter of an hour, only where somebody asked for it, and never to harm."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tests.engine.fakes import settle_down
from tests.engine.upkeep.test_health import BOTH, DEAD, GONE, KEY, SLACK, Ward

from pipebell.core.health import HealthState
from pipebell.core.outcome import REACHED, Outcome, OutcomeKind
from pipebell.engine.configs.group import Configs
from pipebell.engine.upkeep.health import ROOT
from pipebell.engine.upkeep.probing import EVERY, Prober

PROBE = {"probe": True}
REFUSED = Outcome(OutcomeKind.PERMANENT, "SmtpAuthFailed", "535: wrong password")
QUARTER = EVERY + 15


class Clinic(Ward):
    def start(self) -> None:
        super().start()
        house = self.house
        configs = Configs(house.book, house.root, house.resolver)
        self.prober = Prober(house.ports, configs, self.board, "pipebell-platform", lambda: 0.0)
        house.book.subscribe(self.prober)
        house.root.subscribe(self.prober)
        self.prober.on_root_change()
        self.tasks.append(asyncio.create_task(self.prober.run()))

    @property
    def tried(self) -> tuple[int, int]:
        """How often the mail server and Slack were."""
        return len(self.house.email.probed), len(self.house.slack.probed)


@pytest.fixture
async def clinic(house):
    clinic = Clinic(house)
    yield clinic
    clinic.stop()


def _config(clinic, **spec):
    spec.setdefault("slack", SLACK)
    spec.setdefault("eventTriggers", [BOTH])
    spec.setdefault("channelHealth", PROBE)
    return clinic.house.config(**spec)


async def test_each_endpoint_is_tried_every_quarter_of_an_hour_without_sending(clinic):
    _config(clinic)
    await clinic.house.clock.advance(20)
    assert clinic.tried == (1, 1)
    await clinic.house.clock.advance(QUARTER)
    assert clinic.tried == (2, 2)
    assert clinic.house.email.sent == clinic.house.slack.sent == []
    record = clinic.status()["destinations"][0]
    assert (record["state"], "lastSuccessTime" in record) == ("Healthy", False)


async def test_nobody_is_tried_who_did_not_ask(clinic):
    _config(clinic, channelHealth={"tell": True})
    _config(clinic, org="off", name="off", enabled=False)
    await clinic.house.clock.advance(3600)
    assert clinic.tried == (0, 0)


async def test_it_is_inherited_and_ends_when_it_is_switched_off(clinic):
    clinic.house.with_root(json.dumps({"channel_health": {"probe": True}}))
    clinic.prober.on_root_change()
    _config(clinic, channelHealth=None)
    await clinic.house.clock.advance(20)
    assert clinic.tried == (1, 1)
    _config(clinic, channelHealth={"probe": False})
    await clinic.house.clock.advance(3600)
    assert clinic.tried == (1, 1)
    clinic.house.book.remove(KEY)
    assert list(clinic.prober._due) == [ROOT]


async def test_an_endpoint_of_two_names_is_tried_once_and_both_know(clinic):
    _config(clinic, destinations=[{"name": "alerts", "slack": SLACK}])
    clinic.house.slack.trials = [DEAD]
    await clinic.house.clock.advance(20)
    assert clinic.tried == (1, 1)
    assert [clinic.board.get(KEY, name).health.state.value for name in ("slack", "alerts")] == ["Failing"] * 2


async def test_where_a_message_has_just_got_through_nothing_is_tried(clinic):
    _config(clinic)
    await clinic.house.submit(clinic.house.event())
    await clinic.house.clock.advance(60)
    assert clinic.tried == (0, 0)
    await clinic.house.clock.advance(QUARTER)
    assert clinic.tried == (1, 1)


async def test_a_refused_login_is_not_repeated_until_the_secret_changes(clinic):
    secret = {"name": "slack", "key": "url"}
    clinic.house.secrets.store["team", "slack"] = {"url": SLACK["webhookUrl"]}
    _config(clinic, slack={"webhookUrlSecretRef": secret})
    clinic.house.slack.trials = [GONE]
    await clinic.house.clock.advance(20)
    await clinic.house.clock.advance(4 * QUARTER)
    assert clinic.tried[1] == 1
    await clinic.restart()
    await clinic.house.clock.advance(4 * QUARTER)
    assert clinic.tried[1] == 1
    clinic.house.secrets.store["team", "slack"] = {"url": SLACK["webhookUrl"] + "NEW"}
    await clinic.house.clock.advance(QUARTER)
    assert clinic.tried[1] == 2
    assert clinic.board.get(KEY, "slack").health.state.value == "Healthy"


async def test_a_probe_mends_what_it_has_tried(clinic):
    _config(clinic)
    clinic.house.slack.script = [DEAD] * 3
    await clinic.house.submit(clinic.house.event())
    await clinic.house.clock.advance(QUARTER + 60)
    assert clinic.board.get(KEY, "slack").health.state.value == "Healthy"
    await settle_down()


async def test_a_host_that_answers_says_nothing_of_messages(clinic):
    _config(clinic)
    clinic.house.slack.trials = [Outcome(OutcomeKind.DELIVERED, REACHED)] * 100
    await clinic.house.clock.advance(3600)
    assert clinic.board.get(KEY, "slack") is None


async def test_a_host_that_answers_again_mends_what_had_no_connection(clinic):
    _config(clinic)
    unreachable = Outcome(OutcomeKind.RETRY, "ConnectionFailed", "no connection to the server")
    clinic.house.slack.trials = [unreachable, Outcome(OutcomeKind.DELIVERED, REACHED)]
    await clinic.house.clock.advance(20)
    assert clinic.board.get(KEY, "slack").health.state is HealthState.FAILING
    await clinic.house.clock.advance(QUARTER)
    assert clinic.board.get(KEY, "slack").health.state is HealthState.HEALTHY


async def test_only_one_replica_tries(clinic):
    _config(clinic)
    clinic.house.with_root(
        json.dumps({"slack": {"webhook_url": SLACK["webhookUrl"] + "ROOT"}, "channel_health": PROBE})
    )
    clinic.prober.on_root_change()
    clinic.house.ownership.lost |= {"acme", "pipebell-platform"}
    await clinic.house.clock.advance(QUARTER)
    assert clinic.tried == (0, 0)
    clinic.house.ownership.lost.discard("pipebell-platform")
    await clinic.house.clock.advance(QUARTER)
    assert clinic.tried == (0, 1)
    assert clinic.board.failing_of_root() == {"slack": False}
    clinic.house.slack.trials = [replace(DEAD)]
    await clinic.house.clock.advance(QUARTER)
    assert clinic.board.failing_of_root() == {"slack": True}


async def test_a_refused_login_of_a_mail_server_locks_no_account(clinic):
    _config(clinic)
    clinic.house.email.trials = [REFUSED] * 50
    await clinic.house.clock.advance(8 * QUARTER)
    assert clinic.tried[0] == 1
