"""How fast a busy endpoint is asked, by times that the test names."""

import pytest

from pipebell.core.destinations.base import Rate
from pipebell.core.models import KINDS
from pipebell.engine.events.pace import Flow, Limit, Pace


def gaps(pace, now, count):
    """Seconds between this many messages, each sent as soon as it may be."""
    found = []
    for _ in range(count):
        pace.step(now)
        found.append(round(pace.next_at - now, 3))
        now = pace.next_at
    return found


def test_a_flow_is_what_came_in_the_last_second():
    flow = Flow()
    assert (flow.rate(0.0), flow.recent(0.0)) == (0.0, False)
    for now in (10.0, 10.2, 10.4):
        flow.count(now)
    assert (flow.rate(10.5), flow.rate(11.9), flow.rate(12.0)) == (3.0, 3.0, 0.0)
    flow.count(11.1)
    assert flow.rate(11.2) == 3.0, "the second before says more than one that has just begun"
    flow.count(20.0)
    assert flow.rate(20.1) == 1.0
    assert flow.recent(79.0)
    assert not flow.recent(81.0)


def test_without_knowing_anything_it_begins_slowly_and_gets_faster():
    pace = Pace()
    pace.first_refusal(0.0, 100.0)
    pace.start(105.0)
    assert pace.next_at == 106.0
    assert gaps(pace, 106.0, 4) == [1.0, 0.7, 0.49, 0.343]
    gaps(pace, 120.0, 20)
    assert pace.recovered(120.0)


def test_one_message_before_a_refusal_says_nothing_about_the_rate():
    pace = Pace()
    pace.first_refusal(1.0, 100.0)
    pace.start(105.0)
    assert gaps(pace, 106.0, 30)[-1] < 0.01


@pytest.mark.parametrize(
    ("accepted", "first", "steady"), [(5.0, 0.471, 0.235), (2.0, 1.0, 0.588), (100.0, 0.024, 0.012)]
)
def test_it_stays_below_what_was_accepted_before(accepted, first, steady):
    pace = Pace()
    pace.first_refusal(accepted, 100.0)
    pace.start(105.0)
    found = gaps(pace, 105.0, 30)
    assert (found[0], found[-1]) == (first, steady)


def test_refused_again_it_goes_below_its_own_pace():
    pace = Pace()
    pace.first_refusal(5.0, 100.0)
    pace.start(105.0)
    gaps(pace, 105.0, 10)
    pace.refused(5.0, 110.0)
    pace.start(115.0)
    assert gaps(pace, 115.0, 10)[-1] == round(1 / (5 * 0.85 * 0.85), 3)
    for _ in range(100):
        pace.refused(0.0, 120.0)
        pace.start(125.0)
    assert gaps(pace, 125.0, 2) == [60.0] * 2, "no slower than one a minute"


def test_content_for_a_while_the_endpoint_is_asked_faster_step_by_step():
    pace = Pace()
    pace.first_refusal(4.0, 0.0)
    pace.start(5.0)
    gaps(pace, 5.0, 10)
    steady = []
    for now in (59.0, 61.0, 91.0, 121.0, 600.0):
        gaps(pace, now, 1)
        steady.append(gaps(pace, now, 1)[0])
    rates = [round(1 / gap / (4 * 0.85), 2) for gap in steady]
    assert rates[:4] == [1.0, 1.25, 1.56, 1.95]
    assert pace.recovered(700.0)


# What the vendors' documents allow in any window of so many seconds; their pages are named in core/destinations.
DOCUMENTED = {
    "pagerduty": (120, 60.0),
    "teams": (4, 1.0),
    "discord": (30, 60.0),
    "googleChat": (2, 1.0),
    "telegram": (20, 60.0),
    "slack": (4, 1.0),
}


def sent(limit, seconds):
    """When messages go, of as many as one likes, each as soon as it may."""
    now, found = 1000.0, []
    while now < 1000.0 + seconds:
        found.append(now)
        limit.take(now)
        now = max(now, limit.next_at(now))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_vendors_rate_is_kept_in_any_window_and_used(kind):
    capabilities = KINDS[kind].capabilities
    if capabilities.per_second is None:
        assert kind not in DOCUMENTED
        return
    most, window = DOCUMENTED[kind]
    times = sent(Limit(Rate(capabilities.per_second, capabilities.burst)), 600)
    assert max(sum(at <= other < at + window for other in times) for at in times) <= most
    assert len(times) >= 600 * capabilities.per_second
    assert times[: capabilities.burst] == [1000.0] * capabilities.burst


def test_a_limit_lets_a_burst_go_again_after_a_while_and_forgets_a_wrong_clock():
    limit = Limit(Rate(0.5, 2))
    for _ in range(2):
        assert limit.next_at(100.0) <= 100.0
        limit.take(100.0)
    assert limit.next_at(100.0) == 102.0
    assert limit.next_at(104.0) <= 104.0
    limit.take(9e9)
    assert limit.next_at(200.0) <= 202.0
