"""50 organisations whose 1,000 pipelines fail and recover at random, and the receivers of what that comes to."""

from __future__ import annotations

import datetime as dt
import json
import random
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.e2e.harness import GROUP, Api, config, event, secret
from tests.soak.incidents.model import Key, Rules, Said, key_of, kind_of
from tests.soak.rig import begin, throttled_mail

from pipebell.sinks import Respond, SlackApiSink, running
from pipebell.sinks.slack import too_many
from pipebell.sinks.slack_api import too_many as api_too_many

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.harness import Operator
    from tests.e2e.world import World

    from pipebell.sinks import SmtpSink

PIPELINES, NAMESPACES = 1000, 10
RULES = {
    "hook": Rules(("slack",)),
    "thread": Rules(("slack",)),
    "mail": Rules(("email",)),
    "both": Rules(("email", "slack")),
    "third": Rules(("slack",), threshold=3),
    "owner": Rules(("slack",), by_owner=True),
    "cool": Rules(("slack",), cooldown=20),
}
_ORGS = {"hook": 14, "thread": 10, "mail": 8, "both": 4, "third": 5, "owner": 4, "cool": 5}  # 50
OWNERS = 4  # of the 20 pipelines of an organisation
_CREATORS = 4
_HOT = 0.1  # of the pipelines, for half of the events
_FAILS, _SYSTEM = 0.58, 0.03  # of the events; of the failures
_THROTTLED = 0.04  # of the requests
_MAILS_PER_SECOND = 3
_TIE = 1.1  # seconds between two events of a key within which their times of creation may be the same
TOKEN = "xoxb-soak-incidents"


@dataclass
class Scene:
    """The stage while it stands."""

    world: World
    throttled: SmtpSink
    threads: SlackApiSink
    chance: random.Random
    places: dict[str, str] = field(default_factory=dict)  # organisation → namespace
    said: list[Said] = field(default_factory=list)

    def operator(self) -> Operator:
        """A replica, not started."""
        names = {"slack.com": ("127.0.0.1", self.threads.port)}
        return self.world.operator(PIPEBELL_TEST_NAMES=json.dumps(names))

    # ------------------------------------------------------------------ organisations

    def furnish(self) -> None:
        """The namespaces, and a configuration for every organisation."""
        namespaces = [self.world.namespace() for _ in range(NAMESPACES)]
        orgs = [f"{kind}-{number}" for kind, count in _ORGS.items() for number in range(count)]
        self.places = {org: namespaces[number % NAMESPACES] for number, org in enumerate(orgs)}
        self.world.api.create_all([secret(name, "channels", TOKEN=TOKEN) for name in namespaces])
        self.world.api.create_all([config(self.places[org], org, org, **self._spec(org)) for org in orgs])
        self.threads.script().always = lambda _: self._answer(api_too_many)

    def _spec(self, org: str) -> dict[str, Any]:
        rules, kind = RULES[kind_of(org)], kind_of(org)
        triggers = [
            {"event": name, "providers": list(rules.destinations), "cooldownSeconds": rules.cooldown}
            for name in ("pipeline_failure", "system_error")
        ]
        incidents = {
            "enabled": True,
            "remindAfterSeconds": 0,
            "notifyAfterFailures": rules.threshold,
            "flapping": {"changes": 0},
            "storm": {"openings": 0},
            **({"groupBy": ["owner"]} if rules.by_owner else {}),
        }
        spec: dict[str, Any] = {"eventTriggers": triggers, "incidents": incidents}
        if "email" in rules.destinations:
            spec["email"] = self.world.own_smtp(f"{org}@b.io", port=self.throttled.port)
        if kind == "thread":
            return spec | {"secretRef": {"name": "channels"}, "slack": {"botToken": "${TOKEN}", "channel": "#data"}}
        if "slack" in rules.destinations:
            url = self.world.slack.webhook(org.title().replace("-", ""))
            self.world.slack.script(url).always = lambda _: self._answer(too_many)
            spec["slack"] = {"webhookUrl": url}
        return spec

    def _answer(self, throttle: Any) -> Respond | None:
        """Now and then it is too much; the rest is taken."""
        return throttle(self.chance.choice((1, 2))) if self.chance.random() < _THROTTLED else None

    # ------------------------------------------------------------------ events

    @contextmanager
    def creating(self, count: int, seconds: float) -> Iterator[threading.Event]:
        """So many events over so many seconds, whatever the API server does; ends when all are there.

        One thread creates all events of a key, each when the one before is there: so their order is known.
        """
        orgs = list(self.places)
        pipelines = [(orgs[number % len(orgs)], f"p{number}") for number in range(PIPELINES)]
        hot = self.chance.sample(pipelines, round(PIPELINES * _HOT))
        shares: list[list[tuple[int, str, str, random.Random]]] = [[] for _ in range(_CREATORS)]
        for number in range(count):
            org, pipeline = self.chance.choice(hot if self.chance.random() < 0.5 else pipelines)
            shares[orgs.index(org) % _CREATORS].append((number, org, pipeline, random.Random(self.chance.random())))
        began, stopped, lock = time.monotonic(), threading.Event(), threading.Lock()

        def create(share: list[tuple[int, str, str, random.Random]]) -> None:
            last: dict[Key, float] = {}
            for number, org, pipeline, chance in share:
                if stopped.wait(max(0.0, began + seconds * number / count - time.monotonic())):
                    return
                said = self._draw(number, org, pipeline, chance)
                key = key_of(said, RULES[kind_of(org)])
                tied = time.time() - last.get(key, 0.0) < _TIE
                self._create(said, chance, tied=tied)
                last[key] = time.time()
                with lock:
                    self.said.append(said)

        threads = [threading.Thread(target=create, args=(share,)) for share in shares]
        for thread in threads:
            thread.start()
        try:
            yield stopped
        except BaseException:
            stopped.set()
            raise
        finally:
            for thread in threads:
                thread.join()

    def _draw(self, number: int, org: str, pipeline: str, chance: random.Random) -> Said:
        kind, error = "pipeline_success", ""
        if chance.random() < _FAILS:
            kind = "system_error" if chance.random() < _SYSTEM else "pipeline_failure"
            error = f"error {number} of {pipeline}"
        owner = f"team{int(pipeline[1:]) // len(self.places) % OWNERS}"
        return Said(number, self.places[org], f"e{number:05}", org, kind, pipeline, owner, error)

    def _create(self, said: Said, chance: random.Random, *, tied: bool) -> None:
        """Some say when they occurred; whoever follows another one in the same second has to."""
        spec = {"pipelineId": said.pipeline, "owner": said.owner}
        if said.error:
            spec["errorMessage"] = said.error
        if tied or chance.random() < 0.5:
            spec["occurredAt"] = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        self.world.api.create_surely(event(said.namespace, said.name, said.org, said.event, **spec), 120.0)

    # ------------------------------------------------------------------ what there is afterwards

    def events(self) -> dict[str, dict[str, Any]]:
        """All events by uid."""
        return {item["metadata"]["uid"]: item for item in self._all("pipelineevents")}

    def incidents(self) -> list[dict[str, Any]]:
        """All Incidents."""
        return self._all("incidents")

    def _all(self, plural: str) -> list[dict[str, Any]]:
        api: Api = self.world.api
        paths = (f"{GROUP}/namespaces/{name}/{plural}" for name in sorted(set(self.places.values())))
        return [item for path in paths for item in api.request("GET", path)["items"]]

    def sent(self) -> Counter[str]:
        """How often each delivery was accepted by a receiver, by its identity."""
        posts = (*list(self.world.slack.posts), *list(self.threads.posts))
        found = Counter(post.headers["x-pipebell-delivery"] for post in posts)
        return found + Counter(str(mail.message["Message-ID"]) for mail in list(self.throttled.mails))


@contextmanager
def scene(folder: Path, seed: int) -> Iterator[Scene]:
    """All of it, until the block ends."""
    with ExitStack() as stack:
        world = begin(stack, folder)
        throttled = throttled_mail(world, _MAILS_PER_SECOND)
        names = ("localhost", "127.0.0.1", "slack.com")
        threads = SlackApiSink(tokens={TOKEN: ("data",)}, channels={"C0DATA": "data"}, trust=world.trust, names=names)
        world.loop = stack.enter_context(running(world.smtp, world.slack, throttled, threads))
        world.set_root(world.root_spec())
        yield Scene(world, throttled, threads, random.Random(seed))
