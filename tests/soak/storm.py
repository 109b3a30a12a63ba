"""What happens to it: replicas die, the API server dies, and both come back; and what the replicas' memory does."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.soak.scene import recorded

from pipebell.cluster.client import Refused

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.e2e.harness import Operator
    from tests.soak.scene import Scene

_PAGES_PER_MB = 256
_SAMPLE_EVERY = 2.0
_STARTING = 60.0  # seconds


@dataclass
class Replica:
    """`pipebell run`, started again like a pod whenever it ends. `rss` is (time, MB) of the present process."""

    operator: Operator
    up: bool = True  # what it shall be
    ended_by_itself: int = 0
    rss: list[tuple[float, float]] = field(default_factory=list)

    def start(self) -> None:
        self.up = True
        self.rss = []
        self.operator.spawn()

    def kill(self) -> None:
        self.up = False
        self.operator.kill()

    def watch(self) -> None:
        """Sample its memory, or start it again."""
        if not self.up:
            return
        if not self.operator.alive:
            self.ended_by_itself += 1
            self.start()
            return
        with suppress(OSError):
            pages = int(Path(f"/proc/{self.operator._process.pid}/statm").read_text(encoding="ascii").split()[1])
            self.rss.append((time.monotonic(), pages / _PAGES_PER_MB))

    def growth(self, since: float) -> float | None:
        """MB by which it grew since then; None when it did not live all that time."""
        samples = [mb for at, mb in self.rss if at >= since]
        if not self.rss or self.rss[0][0] > since or len(samples) < 10:
            return None
        return statistics.median(samples[-5:]) - statistics.median(samples[:5])


@dataclass
class Storm:
    """Kills, one after another, until `until`; after `half` the first replica is spared, so that its memory shows."""

    scene: Scene
    replicas: list[Replica]
    chance: random.Random
    half: float
    until: float
    every: float
    say: Callable[[str], None]
    kills: int = 0
    outages: int = 0
    at_kills: Counter[str] = field(default_factory=Counter)  # in flight then: what may come again
    at_outages: Counter[str] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        for replica in self.replicas:
            replica.start()
        self._watcher = threading.Thread(target=self._watch)
        self._watcher.start()

    def rage(self) -> None:
        """Until it is over."""
        while time.monotonic() < self.until:
            time.sleep(self.chance.uniform(0.5, 1.5) * self.every)
            if self.chance.random() < 0.7:
                self._kill()
            else:
                self._outage()

    def stop(self) -> list[int]:
        """End everything; the exit codes of those that had long been up."""
        self._over.set()
        self._watcher.join()
        codes = []
        for replica in self.replicas:
            replica.up = False
            if replica.operator.alive:
                code = replica.operator.stop()
                if replica.rss and time.monotonic() - replica.rss[0][0] > _STARTING:
                    codes.append(code)  # one that is still starting dies of SIGTERM
        return codes

    def _watch(self) -> None:
        while not self._over.wait(_SAMPLE_EVERY):
            for replica in self.replicas:
                replica.watch()

    def _kill(self) -> None:
        spared = 1 if time.monotonic() > self.half - self.every - 20.0 else 0
        replica = self.chance.choice(self.replicas[spared:])
        replica.kill()
        self.kills += 1
        time.sleep(0.5)  # what it had sent arrives
        self.at_kills.update(self._in_flight())
        time.sleep(self.chance.uniform(0.0, 15.0))  # sooner and later than its leases are taken over
        replica.start()

    def _outage(self) -> None:
        cluster = self.scene.world.cluster
        (cluster.kill if self.chance.random() < 0.5 else cluster.stop)()
        self.outages += 1
        time.sleep(self.chance.uniform(1.0, 20.0))
        cluster.resume()
        self.at_outages.update(self._in_flight())

    def _in_flight(self) -> set[str]:
        """Deliveries that arrived and are not recorded (yet): of the one that died, and a few of the others."""
        sent = set(self.scene.sent())
        for _ in range(60):
            try:
                return sent - recorded(self.scene.events())
            except (OSError, Refused):
                time.sleep(0.5)
        raise AssertionError("the API server does not come back")
