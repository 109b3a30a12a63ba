"""What the soak stands on: a real API server, good and bad destinations, organisations, and their events."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.e2e.harness import FINAL, GROUP, config, event, eventually, phase
from tests.soak.rig import begin, throttled_mail

from pipebell.sinks import DROP, HANG, Respond, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.world import World

    from pipebell.sinks import SmtpSink

NAMESPACES, PER_SECOND = 10, 5
_CREATORS = 4
_KINDS = (
    # name, organisations, share of the events
    ("good", 60, 0.60),
    ("cooling", 10, 0.08),
    ("slow", 10, 0.06),
    ("mail", 20, 0.20),
    ("refused", 4, 0.04),
    ("dropped", 3, 0.018),
    ("hanging", 1, 0.002),
)
ENDS = {
    "good": {"Delivered"},
    "cooling": {"Delivered", "Suppressed"},
    "slow": {"Delivered"},
    "mail": {"Delivered"},
    "refused": {"Failed"},
    "dropped": {"Failed"},
    "hanging": {"Failed"},
}


@dataclass
class Scene:
    """The stage while it stands."""

    world: World
    throttled: SmtpSink
    chance: random.Random
    places: dict[str, str] = field(default_factory=dict)  # organisation → namespace
    created: Counter[str] = field(default_factory=Counter)  # by namespace

    # ------------------------------------------------------------------ organisations

    def furnish(self) -> None:
        """The namespaces, and a configuration for every organisation."""
        namespaces = [self.world.namespace() for _ in range(NAMESPACES)]
        documents = []
        for kind, count, _ in _KINDS:
            for number in range(count):
                org = f"{kind}-{number}"
                self.places[org] = namespaces[len(self.places) % NAMESPACES]
                documents.append(config(self.places[org], org, org, **self._spec(kind, org)))
        self.world.api.create_all(documents)

    def _spec(self, kind: str, org: str) -> dict[str, object]:
        cooldown = 20 if kind == "cooling" else 0
        always = {"eventTriggers": [{"event": "pipeline_failure", "cooldownSeconds": cooldown}]}
        if kind == "mail":
            return {"email": self.world.own_smtp(f"{org}@b.io", port=self.throttled.port), **always}
        hook = org.title().replace("-", "")
        answers = {
            "slow": lambda _: Respond(wait=self.chance.uniform(0.5, 3.0)),
            "refused": lambda _: Respond(500, "no"),
            "dropped": lambda _: DROP,
            "hanging": lambda _: HANG,
        }
        self.world.slack.script(self.world.slack.webhook(hook)).always = answers.get(
            kind, lambda _: Respond(wait=self.chance.uniform(0.0, 0.2))
        )
        few = {"retryConfig": {"maxAttempts": 2, "initialDelaySeconds": 1}} if kind in _DEAD else {}
        return {**self.world.slack_only(hook), **few, **always}

    # ------------------------------------------------------------------ events

    @contextmanager
    def creating(self, count: int, seconds: float, stopped: threading.Event) -> Iterator[list[threading.Thread]]:
        """So many events over so many seconds, whatever the API server does; ends when all are there."""
        names = [kind for kind, _, _ in _KINDS]
        shares = [share for _, _, share in _KINDS]
        orgs = {kind: [f"{kind}-{number}" for number in range(number_of)] for kind, number_of, _ in _KINDS}
        chosen = [self.chance.choice(orgs[kind]) for kind in self.chance.choices(names, shares, k=count)]
        began, lock = time.monotonic(), threading.Lock()

        def create(first: int) -> None:
            for number in range(first, count, _CREATORS):
                if stopped.wait(max(0.0, began + seconds * number / count - time.monotonic())):
                    return
                org = chosen[number]
                namespace = self.places[org]
                self.world.api.create_surely(event(namespace, f"e{number:05}", org), 120.0)
                with lock:
                    self.created[namespace] += 1

        threads = [threading.Thread(target=create, args=(first,)) for first in range(_CREATORS)]
        for thread in threads:
            thread.start()
        try:
            yield threads
        except BaseException:
            stopped.set()
            raise
        finally:
            for thread in threads:
                thread.join()

    def finished(self, seconds: float) -> dict[str, dict[str, object]]:
        """Wait until every event has a final phase; all of them by uid."""
        unfinished = ",".join(f"status.phase%21%3D{name}" for name in sorted(FINAL))
        for namespace in set(self.places.values()):
            path = f"{GROUP}/namespaces/{namespace}/pipelineevents?fieldSelector={unfinished}&limit=1"
            eventually(
                lambda path=path: not self.world.api.request("GET", path)["items"],
                seconds,
                f"all events of {namespace} to be finished",
                every=1.0,
            )
        return self.events()

    def events(self) -> dict[str, dict[str, object]]:
        """All events by uid."""
        found = (self.world.api.events(namespace) for namespace in sorted(set(self.places.values())))
        return {item["metadata"]["uid"]: item for items in found for item in items.values()}

    # ------------------------------------------------------------------ what arrived

    def sent(self) -> Counter[str]:
        """How often each delivery was accepted by a receiver, by its identity."""
        posts = Counter(post.headers["x-pipebell-delivery"] for post in list(self.world.slack.posts))
        return posts + Counter(str(mail.message["Message-ID"]) for mail in list(self.throttled.mails))


_DEAD = ("refused", "dropped", "hanging")


def recorded(found: dict[str, dict[str, object]]) -> set[str]:
    """Identities of the deliveries that the resources know of."""
    return {
        delivery.get("messageId") or f"{uid}.slack"
        for uid, item in found.items()
        for delivery in item.get("status", {}).get("deliveries", [])
        if delivery["phase"] == "Delivered"
    }


def ended_wrongly(found: dict[str, dict[str, object]]) -> Counter[str]:
    """Events that did not end as their organisation's destination has it."""
    wrong: Counter[str] = Counter()
    for item in found.values():
        kind = item["spec"]["orgSlug"].partition("-")[0]
        if phase(item) not in ENDS[kind]:
            wrong[f"{kind}: {phase(item)}/{item.get('status', {}).get('reason')}"] += 1
    return wrong


@contextmanager
def scene(folder: Path, seed: int) -> Iterator[Scene]:
    """All of it, until the block ends."""
    with ExitStack() as stack:
        world = begin(stack, folder)
        throttled = throttled_mail(world, PER_SECOND)
        world.loop = stack.enter_context(running(world.smtp, world.slack, throttled))
        world.set_root(world.root_spec())
        yield Scene(world, throttled, random.Random(seed))
