"""`python -m soak.digests`: a thousand events into digests; replicas die, the API is away when digests are due."""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tests.e2e.harness import eventually, phase, reason
from tests.soak.batched import Batched, digests, lines, older_operator, older_release
from tests.soak.rig import end, keep, say, seeded
from tests.soak.scene import recorded, scene
from tests.soak.storm import Replica

from pipebell.cluster.client import Refused

if TYPE_CHECKING:
    from tests.e2e.harness import Operator

SECONDS, EVENTS, REPLICAS, KILLS = 240.0, 1_000, 3, 10
AT_DUE = 4  # kills around a moment at which digests are due
LEFT_FOR_THE_REST = 240.0  # seconds after the last event in which all must be told
_STARTING = 60.0  # seconds
_ENDS = {"Suppressed/Batched", "Pending/ConfigNotReady"}


@click.command()
@click.option("--seconds", type=float, default=SECONDS, show_default=True, help="In which the events are created.")
@click.option("--events", type=int, default=EVENTS, show_default=True)
@click.option("--seed", type=int, help="Of what is drawn [default: a new one, which is shown].")
@click.option("--older/--no-older", default=True, show_default=True, help="Start the release before beside it.")
def main(*, seconds: float, events: int, seed: int | None, older: bool) -> None:
    """Tell each event in exactly one digest for each destination that it was meant for, and nothing singly."""
    number = seeded(seed)
    say(f"{events:,} events in {seconds:g} s, seed {number}")
    with tempfile.TemporaryDirectory(prefix="pipebell-soak-") as name, scene(folder := Path(name), number) as made:
        batched = Batched(made.world, random.Random(number))
        batched.furnish()
        elder = None
        if older:
            say(f"the older release is {older_release(folder / 'older')}")
            elder = older_operator(made.world, folder / "older")
        faults = soak(batched, number, seconds, events, elder)
        if faults:
            keep(folder, "soak-digests")
    end(faults)


@dataclass
class Chaos:
    """What happens meanwhile. `uncertain` are deliveries that had arrived and were not recorded when something died."""

    batched: Batched
    chance: random.Random
    replicas: list[Replica]
    seconds: float
    kills: int = 0
    uncertain: Counter[str] = field(default_factory=Counter)
    exits: list[str] = field(default_factory=list)
    _before_outage: set[str] | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Start again what ends by itself, until it is over."""
        while not self._over.wait(1.0):
            for replica in self.replicas:
                replica.watch()

    def kill(self, began: float) -> None:
        """SIGKILL one replica after another: at random, and around moments at which digests are due."""
        dues = [due for due in _minutes(began) if 60.0 < due - began < self.seconds + 60.0]
        at_due = [self.chance.choice(dues) + self.chance.uniform(-1.5, 2.5) for _ in range(AT_DUE)]
        others = [began + self.chance.uniform(2.0, self.seconds + 60.0) for _ in range(KILLS - AT_DUE)]
        for moment in sorted(at_due + others):
            time.sleep(max(0.0, moment - time.time()))
            up = [replica for replica in self.replicas[1:] if replica.operator.alive] or self.replicas[1:]
            # The first replica stays until the older release has gone: the eldest's format is everybody's.
            victim = self.chance.choice(up if self.older_runs else [*up, self.replicas[0]])
            if not victim.operator.alive:
                victim.start()
            say(f"kill {self.replicas.index(victim)} {_since_minute():+.1f} s from the minute")
            victim.kill()
            self.kills += 1
            time.sleep(0.5)  # what it had sent arrives
            self.uncertain.update(self._in_flight())
            time.sleep(self.chance.uniform(0.0, 6.0))
            victim.start()

    older_runs = False

    def outage(self, began: float) -> None:
        """Take the API server away before digests are due, and bring it back afterwards."""
        due = next(due for due in _minutes(began) if due - began > self.seconds / 2)
        time.sleep(max(0.0, due - 4.0 - time.time()))
        self._before_outage = recorded(self.batched.events())
        cluster = self.batched.world.cluster
        say("the API server goes")
        cluster.stop()
        time.sleep(max(0.0, due + self.chance.uniform(4.0, 12.0) - time.time()))
        self.uncertain.update(self._in_flight())
        cluster.resume()
        self._before_outage = None
        say(f"the API server is back, {_since_minute():+.1f} s from the minute")

    def beside(self, older: Operator, began: float) -> None:
        """Start the older release in the middle, and end it before the end."""
        time.sleep(max(0.0, began + self.seconds * 0.25 - time.time()))
        self.older_runs = True
        older.spawn()
        time.sleep(max(10.0, began + self.seconds * 0.8 - time.time()))
        self.exits.append(f"older release {older.stop()}")
        self.older_runs = False

    def stop(self) -> None:
        """End everything; the exit codes of those that had long been up."""
        self._over.set()
        for replica in self.replicas:
            replica.up = False
            if replica.operator.alive:
                code = replica.operator.stop()
                if replica.rss and time.monotonic() - replica.rss[0][0] > _STARTING:
                    self.exits.append(f"replica {code}")  # one that is still starting dies of SIGTERM

    def _in_flight(self) -> set[str]:
        sent = set(self.batched.sent())
        for _ in range(120):
            if self._before_outage is not None:
                return sent - self._before_outage
            try:
                return sent - recorded(self.batched.events())
            except (OSError, Refused):
                time.sleep(0.5)
        raise AssertionError("the API server does not come back")


def soak(batched: Batched, seed: int, seconds: float, count: int, older: Operator | None) -> list[str]:
    """The run; what is wrong afterwards."""
    replicas = [Replica(batched.world.operator()) for _ in range(REPLICAS)]
    chaos = Chaos(batched, random.Random(seed ^ 1), replicas, seconds)
    for replica in replicas:
        replica.start()
    watcher = threading.Thread(target=chaos.watch)
    watcher.start()
    try:
        began = time.time()
        acts = [(batched.create, (count, seconds)), (chaos.kill, (began,)), (chaos.outage, (began,))]
        acts += [(chaos.beside, (older, began))] if older is not None else []
        _together(acts)
        say(f"{count:,} events created, {chaos.kills} kills")
        with suppress(AssertionError):  # what is left is said by the judgement
            eventually(lambda: _all_told(batched), LEFT_FOR_THE_REST, "all digests are delivered", every=2.0)
        time.sleep(5.0)  # whatever would be told twice comes now
        found = batched.events()
    finally:
        chaos.stop()
        watcher.join()
    return judge(batched, chaos, found, older)


def _together(acts: list[tuple[object, tuple[object, ...]]]) -> None:
    """All at once, to the end of the last; the first error of them is raised."""
    errors: list[BaseException] = []

    def act(what: object, arguments: tuple[object, ...]) -> None:
        try:
            what(*arguments)
        except BaseException as error:  # noqa: BLE001  (raised below)
            errors.append(error)

    threads = [threading.Thread(target=act, args=each) for each in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _all_told(batched: Batched) -> bool:
    """Whether each event that nobody deleted is in a finished digest for each of its destinations, or in any."""
    found = digests(batched.events())
    told = {(name, _destination(item)) for item in found.values() if phase(item) == "Delivered" for name in lines(item)}
    left = {key for key in batched.meant if key[0] not in batched.by_hand} - told
    return not left and not _unsent(batched, found)


def _unsent(batched: Batched, made: dict[str, dict[str, object]]) -> list[str]:
    """Digests that were not delivered. One may end as not due: all its members were deleted before it was sent."""
    ends = {f"{item['metadata']['name']}: {phase(item)}/{reason(item)}": item for item in made.values()}
    return [
        end
        for end, item in ends.items()
        if phase(item) != "Delivered" and not (reason(item) == "NotDue" and batched.by_hand.issuperset(lines(item)))
    ]


def judge(batched: Batched, chaos: Chaos, found: dict[str, dict[str, object]], older: Operator | None) -> list[str]:
    """Prints what it came to; what is wrong with it."""
    made, sent = digests(found), batched.sent()
    counted = Counter((name, _destination(item)) for item in made.values() for name in lines(item))
    wanted = {key for key in batched.meant if key[0] not in batched.by_hand}
    of_digests = {
        f"{uid}.slack" if _destination(item) == "slack" else _mail(item)
        for uid, item in made.items()
        if phase(item) == "Delivered"
    }
    repeated = Counter({identity: times - 1 for identity, times in sent.items() if times > 1})
    members = {uid: item for uid, item in found.items() if uid not in made}
    ends = Counter(f"{phase(item)}/{reason(item)}" for item in members.values())
    deleted = {key for key in batched.meant if key[0] in batched.by_hand}
    click.echo(
        f"events        {len({name for name, _ in batched.meant}):,}, still there {len(members):,}: {dict(ends)}"
    )
    click.echo(f"to tell       {len(wanted):,} by event and destination, told {len(wanted & set(counted)):,}")
    click.echo(
        f"by hand       {len(batched.by_hand)} events deleted, told {len(deleted & set(counted))} of {len(deleted)}"
    )
    least = min(map(len, map(lines, made.values())), default=0)
    click.echo(
        f"digests       {len(made)} of {least} lines at least, {len(made) - len(of_digests)} without anybody left"
    )
    click.echo(
        f"messages      {sent.total()} arrived, {repeated.total()} of them twice, uncertain {len(chaos.uncertain)}"
    )
    click.echo(f"kills         {chaos.kills}; ends {chaos.exits}")
    strangers = [(org, text[:200]) for org, text in batched.texts() if _foreign(org, text)]
    unsent = _unsent(batched, made)
    checks = {
        f"not delivered: {unsent}": bool(unsent),
        f"not told: {sorted(wanted - set(counted))[:5]}": bool(wanted - set(counted)),
        f"told twice: {[key for key, times in counted.items() if times > 1][:5]}": max(counted.values(), default=0) > 1,
        f"told where it was not meant: {sorted(set(counted) - set(batched.meant))[:5]}": bool(
            set(counted) - set(batched.meant)
        ),
        "a digest holds another organisation's events": any(
            batched.meant.get((name, _destination(item))) != item["spec"]["orgSlug"]
            for item in made.values()
            for name in lines(item)
        ),
        "a digest is empty": not all(map(lines, made.values())),
        f"a message names another organisation's pipelines: {strangers[:2]}": bool(strangers),
        f"told singly: {sorted(set(sent) - of_digests)[:5]}": bool(set(sent) - of_digests),
        f"made, and never arrived: {sorted(of_digests - set(sent))[:5]}": bool(of_digests - set(sent)),
        f"repeated, and was not in flight: {dict(repeated - chaos.uncertain)}": not repeated <= chaos.uncertain,
        f"members ended otherwise: {dict(ends)}": not set(ends) <= _ENDS,
        f"a replica did not end well: {chaos.exits}": any(not end.endswith(" 0") for end in chaos.exits),
    }
    if older is not None:
        stood_by = older.told("waiting_for_other_replicas_to_leave") is not None
        click.echo(f"older release stood by: {stood_by}; took shards: {older.told('shards_acquired') is not None}")
        checks["the older release did not stand by"] = not stood_by or older.told("shards_acquired") is not None
    return [what for what, is_wrong in checks.items() if is_wrong]


def _destination(digest: dict[str, object]) -> str:
    return digest["spec"]["notice"]["destination"]


def _mail(digest: dict[str, object]) -> str:
    return next((item.get("messageId", "") for item in digest.get("status", {}).get("deliveries", [])), "")


def _foreign(org: str, text: str) -> bool:
    """Whether a message names pipelines of another organisation (they are called by it)."""
    return "batched-" in text.replace(f"{org}-p", "").replace(f"{org}@b.io", "").replace(org, "")


def _minutes(since: float) -> list[float]:
    """The next full minutes."""
    first = (since // 60 + 1) * 60
    return [first + 60.0 * number for number in range(60)]


def _since_minute() -> float:
    return (time.time() + 30.0) % 60.0 - 30.0


if __name__ == "__main__":
    main()
