"""Busy endpoints, by a clock that only the test moves: servers of all kinds get every message, and soon enough."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque

import pytest
from tests.engine.fakes import FakeClock

from pipebell.core.destinations.base import Rate
from pipebell.core.outcome import Outcome, OutcomeKind
from pipebell.engine.events.breaker import Waiter
from pipebell.engine.events.endpoints import Endpoints
from pipebell.providers.turns import Turns

OK = Outcome(OutcomeKind.DELIVERED)
BUSY = Outcome(OutcomeKind.PAUSE, "Smtp421")
UNTRIED = Outcome(OutcomeKind.PAUSE, "Smtp421", untried=True)
DOWN = Outcome(OutcomeKind.RETRY, "Timeout")


class House:
    """Endpoints without jitter; `woken` is who was called, in order, with the seconds since the beginning."""

    def __init__(self, jitter=lambda: 0.0):
        self.clock = FakeClock()
        self.began = self.clock.now()
        self.woken = []
        self.endpoints = Endpoints(self.clock, lambda uid: self.woken.append((self.seconds, uid)), jitter)

    @property
    def seconds(self):
        return round(self.clock.now() - self.began, 3)

    def admit(self, uid, namespace="ns", endpoint="e", org="org", rate=None):
        until = self.endpoints.admit(endpoint, Waiter(namespace, org, uid), rate)
        return None if until is None else round(until - self.began, 3)

    def busy(self, uid, namespace="ns", outcome=BUSY, refusals=0, endpoint="e"):
        refusal = self.endpoints.busy(endpoint, Waiter(namespace, "org", uid), outcome, refusals)
        return round(refusal.until - self.began, 3), refusal.refusals, refusal.counts

    def answered(self, uid, namespace="ns", outcome=OK, endpoint="e"):
        self.endpoints.answered(endpoint, Waiter(namespace, "org", uid), outcome)

    async def next(self, seconds):
        """Who is woken within this time."""
        before = len(self.woken)
        await self.clock.advance(seconds)
        return [uid for _, uid in self.woken[before:]]

    async def probe(self):
        """The next one woken, whenever that is."""
        for _ in range(4000):
            if woken := await self.next(0.1):
                (uid,) = woken
                return uid
        raise AssertionError("nobody was woken within 400 s")


@pytest.fixture
async def house():
    made = House()
    yield made
    made.endpoints.close()


async def test_an_endpoint_that_never_refused_holds_up_nobody(house):
    for n in range(100):
        assert house.admit(f"m{n}") is None
        house.answered(f"m{n}")
    assert len(house.endpoints) == 0
    assert house.endpoints._busy == {}


async def test_a_busy_endpoint_is_left_alone_then_probed_then_paced(house):
    assert house.admit("a") is None
    assert house.busy("a") == (5.0, 1, False)
    for uid in "bcd":
        assert house.admit(uid) == 5.0
    assert len(house.endpoints) == 1
    assert await house.next(4.9) == []
    assert await house.next(0.2) == ["b"], "not the one that was refused"
    assert await house.next(59.9) == [], "its answer decides"
    assert house.admit("b") is None
    house.answered("b")
    woken = await house.next(4.0)
    assert woken == ["c", "d", "a"]
    times = [when for when, _ in house.woken]
    gaps = [round(after - before, 2) for before, after in zip([65.0, *times[1:]], times[1:], strict=False)]
    assert gaps == [1.0, 1.0, 0.7], "slowly, then faster"


async def test_pauses_double_while_nobody_passes(house):
    house.admit("m0")
    pauses = [house.busy("m0")[0]]
    for n in range(1, 9):
        house.admit(f"m{n}")
        assert house.admit(await house.probe()) is None
        house.busy(house.woken[-1][1])
        pauses.append(house.endpoints._busy["e"].lanes["ns"].not_before - house.clock.now())
    assert [round(pause, 1) for pause in pauses] == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]


async def test_a_kind_may_have_a_first_pause_of_its_own(house):
    slow = Outcome(OutcomeKind.PAUSE, "Http429", first_pause=30.0)
    house.admit("m0")
    pauses = [house.busy("m0", outcome=slow)[0]]
    for _ in range(2):
        assert house.admit(await house.probe()) is None
        pauses.append(house.busy("m0", outcome=slow)[0] - house.seconds)
    assert [round(pause) for pause in pauses] == [30, 60, 120]


async def test_a_kind_may_have_a_longest_pause_of_its_own(house):
    slow = Outcome(OutcomeKind.PAUSE, "Http429", first_pause=2.0, longest_pause=60.0)
    house.admit("m0")
    pauses = [house.busy("m0", outcome=slow)[0]]
    for _ in range(6):
        assert house.admit(await house.probe()) is None
        pauses.append(house.busy("m0", outcome=slow)[0] - house.seconds)
    assert [round(pause) for pause in pauses] == [2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(
    ("retry_after", "pause"), [(30.0, 30.0), (0.0, 1.0), (-5.0, 1.0), (99_999.0, 3600.0), (float("nan"), 5.0)]
)
async def test_the_time_that_it_names_counts_within_reason(house, retry_after, pause):
    house.admit("a")
    assert house.busy("a", outcome=Outcome(OutcomeKind.PAUSE, "Http429", retry_after=retry_after))[0] == pause
    assert house.admit("b", namespace="other") == pause
    assert await house.next(pause - 0.1) == []
    assert len(await house.next(0.2)) == 1


async def test_jitter_only_lengthens():
    house = House(jitter=lambda: 1.0)
    house.admit("a")
    assert house.busy("a", outcome=Outcome(OutcomeKind.PAUSE, retry_after=30.0))[0] == 32.0
    house.admit("a", endpoint="f")
    assert house.busy("a", endpoint="f")[0] == 5.5
    house.endpoints.close()


async def test_no_message_probes_twice_running_while_others_wait(house):
    house.admit("a0", "a")
    house.busy("a0", "a")
    for uid in ("a1", "a2"):
        house.admit(uid, "a")
    house.admit("b1", "b")
    probes = []
    for _ in range(6):
        uid = await house.probe()
        probes.append(uid)
        house.admit(uid, uid[0])
        house.busy(uid, uid[0])
    assert all(before != after for before, after in itertools.pairwise(probes))
    assert probes[:2] in (["b1", "a1"], ["a1", "b1"]), "namespaces take turns"
    assert set(probes) == {"a0", "a1", "a2", "b1"}


@pytest.mark.parametrize("messages", [1, 40])
async def test_others_pass_beside_a_namespace_whose_messages_are_always_refused(house, messages):
    """However long that has gone on, and however many there are."""
    for n in range(messages):
        house.admit(f"evil{n}", "evil")
    house.busy("evil0", "evil")
    for n in range(1, messages):
        house.busy(f"evil{n}", "evil")
    for _ in range(20):  # for more than an hour
        for uid in await house.next(301.0):
            house.admit(uid, "evil")
            house.busy(uid, "evil")
    began = house.seconds
    waits = house.admit("victim", "victim")
    delivered = waits is None
    while not delivered:
        assert house.seconds - began < 60
        for uid in await house.next(1.0):
            namespace = uid.rstrip("0123456789")
            assert house.admit(uid, namespace) is None
            if namespace == "victim":
                house.answered(uid, namespace)
                delivered = True
            else:
                house.busy(uid, namespace)


async def test_refusals_of_one_message_count_from_the_fifth_on_while_others_pass(house):
    """And then they do not hold up the others any more."""
    refusals, counted = 0, []
    house.admit("bad")
    for n in range(7):
        _, refusals, counts = house.busy("bad", refusals=refusals)
        counted.append(counts)
        while house.admit(f"good{n}", "other") is not None:
            await house.next(1.0)
        house.answered(f"good{n}", "other")
        for _ in range(400):
            if counts or "bad" in await house.next(1.0):
                break
        while house.admit("bad") is not None:
            await house.next(1.0)
    assert counted == [False] * 4 + [True] * 3
    assert refusals == 7


async def test_alone_it_is_refused_for_ever_without_counting(house):
    house.admit("bad")
    refusals = 0
    for _ in range(20):
        _, refusals, counts = house.busy("bad", refusals=refusals)
        assert not counts
        assert await house.next(301.0) == ["bad"]
        assert house.admit("bad") is None
    assert refusals == 1


async def test_organisations_of_a_namespace_take_turns(house):
    house.admit("x")
    house.busy("x")
    for n in range(50):
        house.admit(f"flood{n}", org="flood")
    house.admit("single", org="single")
    assert await house.probe() == "flood0"
    house.admit("flood0", org="flood")
    house.answered("flood0")
    assert (await house.next(2.0))[:2] == ["single", "flood1"]


async def test_a_message_that_some_recipients_got_is_not_in_trouble(house):
    house.admit("a")
    for _ in range(9):
        house.answered("other", "other")
        _, refusals, counts = house.busy("a", outcome=Outcome(OutcomeKind.PAUSE, "Smtp450", accepted=True))
        assert (refusals, counts) == (0, False)


async def test_those_under_way_say_nothing_new(house):
    for uid in "abcd":
        house.admit(uid)
    assert house.busy("a")[0] == 5.0
    assert [house.busy(uid)[0] for uid in "bcd"] == [5.0] * 3
    house.answered("x")
    assert house.admit("e") == 5.0, "a success from before does not end the pause"
    assert len(await house.next(5.1)) == 1


async def test_whoever_was_not_heard_was_not_refused(house):
    house.admit("a")
    house.admit("b")
    assert house.busy("b", outcome=UNTRIED)[1] == 0
    assert house.busy("a")[0] == 5.0


async def test_a_probe_that_comes_to_nothing_makes_way_for_another(house):
    house.admit("a")
    house.busy("a")
    for uid in "bcde":
        house.admit(uid)
    assert await house.next(5.1) == ["b"]
    house.endpoints.forget("b")
    assert await house.next(0.1) == ["c"]
    house.admit("c")
    house.endpoints.not_attempted("e", "c")
    assert await house.next(0.1) == ["d"]
    assert await house.next(91.0) == ["e"], "no answer is no reason to wait for ever"
    house.admit("e")
    house.answered("e", outcome=DOWN)
    assert await house.next(2.0) == ["a"], "what failed otherwise is an answer, too"


async def test_whoever_is_forgotten_is_not_woken_and_leaves_nothing(house):
    house.admit("a")
    house.busy("a")
    house.admit("b")
    for uid in "ab":
        house.endpoints.forget(uid)
    assert await house.next(301.0) == []
    assert house.endpoints._places == {}
    assert len(house.endpoints) == 0


async def test_after_a_restart_an_endpoint_is_left_alone_as_it_was_written_down(house):
    now = house.clock.now()
    house.endpoints.restore("e", Waiter("ns", "org", "a"), now + 60)
    assert house.admit("a") == 60.0
    house.endpoints.restore("e", Waiter("ns", "org", "b"), now + 20)
    assert house.admit("b") == 20.0
    assert house.admit("c", "other") == 20.0
    assert await house.next(19.9) == []
    assert len(await house.next(0.2)) == 1


@pytest.mark.parametrize("refusals", [0, 3])
async def test_a_time_that_was_written_down_is_at_most_an_hour_away(house, refusals):
    house.endpoints.restore("e", Waiter("ns", "org", "a"), house.clock.now() + 86_400, refusals)
    assert house.admit("a") == 3600.0
    assert house.admit("b", "other") == (0.0 if refusals else 3600.0), "one message's own trouble is not everybody's"


async def test_a_clock_that_was_ahead_holds_up_nobody(house):
    house.admit("a")
    house.clock._now += 8 * 86_400.0
    house.busy("a")
    house.admit("b")
    house.clock._now -= 8 * 86_400.0
    house.admit("c")
    assert await house.next(61.0)


async def test_what_is_known_of_endpoints_is_bounded(house):
    for n in range(5000):
        house.admit(f"m{n}", endpoint=n)
        house.busy(f"m{n}", endpoint=n)
        house.endpoints.forget(f"m{n}")
        house.clock._now += 1.0
    assert len(house.endpoints._busy) < 700
    assert len(house.endpoints._flows) <= 4096


# ---------------------------------------------------------------------- servers


class Windows:
    """At most `count` in any `seconds`."""

    def __init__(self, count, seconds, counts_refused=False):
        self.count, self.seconds, self.counts_refused = count, seconds, counts_refused
        self.times = deque()

    def takes(self, now):
        while self.times and self.times[0] <= now - self.seconds:
            self.times.popleft()
        taken = len(self.times) < self.count
        if taken or self.counts_refused:
            self.times.append(now)
        return taken

    def needs(self, messages):
        return messages / (self.count / self.seconds)


class Buckets(Windows):
    """A bucket of tokens."""

    def __init__(self, count, seconds, size):
        super().__init__(count, seconds)
        self.size, self.tokens, self.last = size, size, None

    def takes(self, now):
        if self.last is not None:
            self.tokens = min(self.size, self.tokens + (now - self.last) * self.count / self.seconds)
        self.last = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Minutes(Windows):
    """At most `count` in each clock window, as Postfix's anvil counts."""

    def takes(self, now):
        window = now // self.seconds
        if self.times and self.times[0] != window:
            self.times.clear()
        taken = len(self.times) < self.count
        if taken or self.counts_refused:
            self.times.append(window)
        return taken


class Senders:
    """Messages of many namespaces on their way to one server, over the real turns of connections."""

    def __init__(self, server, messages, namespaces, latency=0.02):
        self.house = House(jitter=lambda: 0.5)
        self.house.endpoints._wake = self.wake
        clock = self.house.clock
        self.server, self.latency = server, latency
        self.turns = Turns(4, 60.0, clock.now)
        self.calls = {f"m{n}": asyncio.Event() for n in range(messages)}
        self.delivered, self.refused = {}, 0
        self.tasks = [asyncio.create_task(self.one(uid, f"ns{n % namespaces}")) for n, uid in enumerate(self.calls)]

    def wake(self, uid):
        self.calls[uid].set()

    async def one(self, uid, namespace):
        refusals = 0
        while uid not in self.delivered:
            if self.house.admit(uid, namespace) is not None:
                self.calls[uid].clear()
                await self.calls[uid].wait()
                continue
            outcome = await self.attempt(namespace)
            if outcome.kind is OutcomeKind.DELIVERED:
                self.house.answered(uid, namespace)
                self.delivered[uid] = self.house.seconds
                self.house.endpoints.forget(uid)
            else:
                _, refusals, counts = self.house.busy(uid, namespace, outcome, refusals)
                assert not counts, "an attempt was used up"
                self.calls[uid].clear()
                await self.calls[uid].wait()

    async def attempt(self, namespace):
        instead = await self.turns.take((namespace, "org"), lambda: True)
        if instead is not None:
            return instead
        await self.house.clock.sleep(self.latency)
        taken = self.server.takes(self.house.clock.now())
        if not taken:
            self.refused += 1
            self.turns.lower(self.turns.limit // 2)
            self.turns.dismiss(UNTRIED)
        self.turns.give_back()
        return OK if taken else BUSY

    async def run(self, seconds):
        while len(self.delivered) < len(self.calls) and self.house.seconds < seconds:
            await self.house.clock.advance(min(1.0, seconds))
        self.house.endpoints.close()
        for task in self.tasks:
            task.cancel()
        results = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert [str(one) for one in results if isinstance(one, AssertionError)] == []
        return self.house.seconds


SERVERS = {
    "SES, 5 a second": (lambda: Windows(5, 1.0), 60),
    "1 a second": (lambda: Windows(1, 1.0), 60),
    "14 a second": (lambda: Windows(14, 1.0), 200),
    "20 a second": (lambda: Windows(20, 1.0), 60),
    "1 in 3 seconds": (lambda: Windows(1, 3.0), 60),
    "10 in 10 seconds": (lambda: Windows(10, 10.0), 60),
    "20 a minute": (lambda: Windows(20, 60.0), 60),
    "30 a minute, those refused count": (lambda: Windows(30, 60.0, counts_refused=True), 90),
    "anvil, 30 a minute": (lambda: Minutes(30, 60.0, counts_refused=True), 120),
    "a bucket of 10, 1 a second": (lambda: Buckets(1, 1.0, 10), 60),
    "a bucket of 50, 5 a second": (lambda: Buckets(5, 1.0, 50), 300),
    "100 an hour": (lambda: Windows(100, 3600.0), 250),
}


@pytest.mark.parametrize("namespaces", [1, 40])
@pytest.mark.parametrize("name", SERVERS)
async def test_no_message_is_lost_and_all_arrive_in_three_times_the_time_that_the_server_needs(name, namespaces):
    make, messages = SERVERS[name]
    senders = Senders(make(), messages, namespaces)
    needed = senders.server.needs(messages)
    took = await senders.run(needed * 3)
    assert len(senders.delivered) == messages, f"{len(senders.delivered)} after {took:g} s"


# ---------------------------------------------------------------------------- a vendor's own rate


SLOW = Rate(0.5, 2)


async def test_a_vendors_rate_is_kept_before_anything_is_refused(house):
    admitted = [house.admit(f"m{n}", rate=SLOW) for n in range(5)]
    assert admitted == [None, None, 2.0, 2.0, 2.0]
    assert await house.next(1.9) == []
    for at, uid in ((2.0, "m2"), (4.0, "m3"), (6.0, "m4")):
        assert await house.next(at - house.seconds) == [uid]
        assert house.admit(uid, rate=SLOW) is None
        house.answered(uid)
    assert len(house.endpoints) == 0, "it never asked for a pause"
    assert await house.next(100) == []
    assert house.endpoints._busy == {}, "nothing is kept of it but when it may be asked again"
    assert [house.admit(f"n{n}", rate=SLOW) for n in range(2)] == [None, None]


async def test_one_namespaces_flood_leaves_another_its_turn(house):
    for n in range(50):
        house.admit(f"flood-{n}", "many", rate=SLOW)
    assert house.admit("one", "few", rate=SLOW) == 2.0
    assert set(await house.next(4)) == {"flood-2", "one"}


async def test_other_endpoints_of_the_kind_are_not_held_up(house):
    for n in range(3):
        house.admit(f"m{n}", rate=SLOW)
    assert house.admit("other", endpoint="f", rate=SLOW) is None


async def test_a_refusal_in_spite_of_the_rate_pauses_as_any_other(house):
    for n in range(4):
        house.admit(f"m{n}", rate=SLOW)
    assert house.endpoints.only_paced("e")
    assert house.busy("m0") == (5.0, 1, False)
    assert not house.endpoints.only_paced("e")
    assert len(house.endpoints) == 1
    assert await house.next(4.9) == []
    assert await house.next(0.2) == ["m2"], "a probe"
    assert await house.next(30) == [], "one at a time"
    house.admit("m2", rate=SLOW)
    house.answered("m2")
    assert set(await house.next(60)) == {"m3", "m0"}


async def test_a_late_refusal_of_an_earlier_pause_stays_old_news(house):
    house.admit("a", rate=SLOW)
    house.admit("b", rate=SLOW)
    assert house.busy("a") == (5.0, 1, False)
    await house.clock.advance(1)
    assert house.busy("b") == (5.0, 1, False), "the pause is not a longer one for it"


async def test_a_clock_set_back_keeps_nobody_waiting_at_a_rate(house):
    for n in range(4):
        house.admit(f"m{n}", rate=SLOW)
    house.clock._now -= 7200
    assert await house.next(70), "within a minute"


async def test_there_is_no_end_of_memory_for_endpoints_that_are_not_asked_any_more(house):
    for n in range(10_000):
        house.admit(f"m{n}", endpoint=f"e{n}", rate=SLOW)
        if n % 100 == 0:
            await house.clock.advance(10)
    assert len(house.endpoints._limits) <= 4200
