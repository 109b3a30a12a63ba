"""What the digests' soak stands on: organisations with digests, their events, and an older release of the operator."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e.harness import config, event

from pipebell.cluster.client import Refused
from pipebell.core.digest import parse

if TYPE_CHECKING:
    import random

    from tests.e2e.harness import Operator
    from tests.e2e.world import World

ROOT = Path(__file__).parents[2]
NAMESPACES, ORGS, PIPELINES = 4, 10, 5
EVERY_SECONDS, SCHEDULE = 60, "* * * * *"  # half of the organisations each; digests by the schedule are due together
MEANT = {
    "pipeline_failure": ("email", "slack"),
    "data_quality_failure": ("email",),
    "system_error": ("slack",),
    "data_quality_warning": ("email",),  # and a webhook that is never ready: it waits in part, unfinished
}
_PARTLY = "data_quality_warning"
DELETED, SHORT_LIVED = 0.05, 0.1  # shares of the events that are deleted by hand, and by their time to live
_VANISHING = 0  # the organisation all of whose events are deleted by hand
_SHARDS = "operator/pipebell/core/shards.py"


@dataclass
class Batched:
    """Organisations that are told by digests, and what was created of them. `meant`: (event, destination) → org."""

    world: World
    chance: random.Random
    places: dict[str, str] = field(default_factory=dict)  # organisation → namespace
    meant: dict[tuple[str, str], str] = field(default_factory=dict)
    by_hand: set[str] = field(default_factory=set)
    began: threading.Event = field(default_factory=threading.Event)

    def furnish(self) -> None:
        """The namespaces, and a configuration for every organisation."""
        namespaces = [self.world.namespace() for _ in range(NAMESPACES)]
        for number in range(ORGS):
            org = f"batched-{number}"
            self.places[org] = namespaces[number % NAMESPACES]
            rhythm = {"schedule": SCHEDULE} if number % 2 else {"everySeconds": EVERY_SECONDS}
            spec = {
                "email": self.world.own_smtp(f"{org}@b.io"),
                "slack": {"webhookUrl": self.world.slack.webhook(f"Batched{number}")},
                "webhook": {"urlSecretRef": {"name": "nowhere", "key": "url"}},
                "eventTriggers": [
                    {
                        "event": kind,
                        "providers": [*names, "webhook"] if kind == _PARTLY else list(names),
                        "digest": {**rhythm, "maxItems": 500, "destinations": list(names)},
                    }
                    for kind, names in MEANT.items()
                ],
            }
            self.world.api.create(config(self.places[org], org, org, **spec))

    def create(self, count: int, seconds: float) -> None:
        """So many events over so many seconds, whatever the API server does; some are deleted by hand soon after."""
        began = time.monotonic()
        deletions: list[threading.Timer] = []
        for number in range(count):
            time.sleep(max(0.0, began + seconds * number / count - time.monotonic()))
            name, which = f"e{number:05}", self.chance.randrange(ORGS)
            org, kind = f"batched-{which}", self.chance.choice(list(MEANT))
            more = {"ttlSecondsAfterFinished": 1} if self.chance.random() < SHORT_LIVED else {}
            document = event(
                self.places[org], name, org, kind, **more, pipelineId=f"{org}-p{number % PIPELINES}", errorMessage=name
            )
            if which == _VANISHING or self.chance.random() < DELETED:
                self.by_hand.add(name)
            self.world.api.create_surely(document, 120.0)
            self.meant.update(dict.fromkeys(((name, destination) for destination in MEANT[kind]), org))
            self.began.set()
            if name in self.by_hand:
                deletions.append(threading.Timer(self.chance.uniform(0.0, 20.0), self._delete, (document,)))
                deletions[-1].start()
        for deletion in deletions:
            deletion.join()

    def _delete(self, document: dict[str, object]) -> None:
        with suppress(OSError, Refused):  # the API is away, or the event is gone
            self.world.api.delete(document)

    # ------------------------------------------------------------------ what became of it

    def events(self) -> dict[str, dict[str, object]]:
        """All events by uid."""
        found = (self.world.api.events(namespace) for namespace in sorted(set(self.places.values())))
        return {item["metadata"]["uid"]: item for items in found for item in items.values()}

    def sent(self) -> Counter[str]:
        """How often each delivery was accepted by a receiver, by its identity."""
        posts = Counter(post.headers["x-pipebell-delivery"] for post in list(self.world.slack.posts))
        return posts + Counter(str(mail.message["Message-ID"]) for mail in list(self.world.smtp.mails))

    def texts(self) -> list[tuple[str, str]]:
        """Each message that arrived: the organisation that got it, and all of what it says."""
        posts = [
            (f"batched-{post.path.rpartition('Batched')[2]}", post.body.decode()) for post in self.world.slack.posts
        ]
        return posts + [
            (mail.recipients[0].partition("@")[0], mail.message.get_body(("plain",)).get_content())
            for mail in self.world.smtp.mails
        ]


def digests(found: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """The digests among events, by uid."""
    return {uid: item for uid, item in found.items() if item["spec"].get("notice")}


def lines(digest: dict[str, object]) -> list[str]:
    """The events that a digest tells of, each by its name. Raises AssertionError for one that counts otherwise."""
    content = parse(digest["spec"]["notice"]["content"])
    assert content is not None
    names = [line.name for group in content.groups for line in group.lines]
    assert (content.omitted, content.total) == (0, len(names)), digest["metadata"]["name"]
    return names


# ---------------------------------------------------------------------------- the older release


def older_release(folder: Path) -> str:
    """Unpack the operator as it was before what it writes was changed last; its revision. Raises LookupError."""

    def git(*arguments: str) -> bytes:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)
        if done.returncode:
            raise LookupError(done.stderr.decode().strip())
        return done.stdout

    found = git("log", "-1", "--format=%h", "-G^FORMAT: Final", "--", _SHARDS).decode().strip()
    if not found:
        raise LookupError("no change of the format is in this clone's history")
    with tarfile.open(fileobj=io.BytesIO(git("archive", f"{found}^", "operator"))) as archive:
        archive.extractall(folder, filter="data")
    return git("log", "-1", "--format=%h of %cs", f"{found}^").decode().strip()


def older_operator(world: World, folder: Path) -> Operator:
    """An operator of the unpacked release; not started yet."""
    names = ROOT / "tests" / "e2e" / "names"
    return world.operator(python=sys.executable, PYTHONPATH=os.pathsep.join((str(names), str(folder / "operator"))))
