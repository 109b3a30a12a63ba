"""What sinks remember: everything they were sent, with what they answered, in memory and perhaps in a file."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import os
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from pipebell.core.wire import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from email.message import EmailMessage
    from pathlib import Path


@dataclass(frozen=True)
class Mail:
    """One e-mail transaction. `time` is seconds since the epoch; `status` the final answer, "" when there was none."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    status: str
    user: str | None = None
    tls: bool = False
    helo: str | None = None
    time: float = field(default_factory=time.time)

    @property
    def accepted(self) -> bool:
        """Whether the sink took it over (it may have cut the connection instead of saying so)."""
        return self.status.startswith("2")

    @cached_property
    def message(self) -> EmailMessage:
        """The parsed message."""
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    def as_json(self) -> dict[str, Any]:
        """For a file; bytes that are no UTF-8 survive."""
        return {
            "kind": "mail",
            "time": self.time,
            "status": self.status,
            "sender": self.sender,
            "recipients": list(self.recipients),
            "user": self.user,
            "tls": self.tls,
            "helo": self.helo,
            "raw": self.raw.decode("utf-8", "surrogateescape"),
        }


@dataclass(frozen=True)
class Post:
    """One request to a webhook. `status` is the HTTP status of the answer, 0 when there was none.

    `target` is the path with the query, byte for byte as it was asked for.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    time: float = field(default_factory=time.time)
    target: str = ""
    method: str = "POST"

    @property
    def accepted(self) -> bool:
        """Whether the sink took it over."""
        return 200 <= self.status < 300  # noqa: PLR2004  (RFC 9110, 15.3)

    @cached_property
    def payload(self) -> Any:  # noqa: ANN401  (JSON)
        """The body's JSON. Raises ValueError when it is none."""
        return json.loads(self.body)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "kind": "post",
            "time": self.time,
            "status": self.status,
            "path": self.path,
            "target": self.target,
            "method": self.method,
            "headers": dict(self.headers),
            "body": self.body.decode("utf-8", "surrogateescape"),
        }


def read(file: Path) -> tuple[list[Mail], list[Post]]:
    """What sinks wrote into this file so far."""
    mails, posts = [], []
    *lines, _ = file.read_bytes().split(b"\n")  # the last one is still being written
    for line in lines:
        document = json.loads(line)
        if document.pop("kind") == "mail":
            document["raw"] = document["raw"].encode("utf-8", "surrogateescape")
            mails.append(Mail(**document | {"recipients": tuple(document["recipients"])}))
        else:
            document["body"] = document["body"].encode("utf-8", "surrogateescape")
            posts.append(Post(**document))
    return mails, posts


class _Record(Protocol):
    @property
    def accepted(self) -> bool: ...

    def as_json(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=_Record)


class Journal(Generic[R]):
    """Records in the order of their arrival."""

    def __init__(self, file: Path | None = None) -> None:
        self.all: list[R] = []
        self.accepted: list[R] = []
        self._file = file
        self._open: int | None = None
        self._changed: set[asyncio.Event] = set()

    def add(self, record: R) -> None:
        """Remember one more; the sink's loop calls this."""
        self.all.append(record)
        if record.accepted:
            self.accepted.append(record)
        if self._file:
            if self._open is None:
                self._open = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            # A write for each line: a reader, and a sink that is killed, see whole lines only.
            os.write(self._open, encode(record.as_json()) + b"\n")
        for event in self._changed:
            event.set()

    async def arrived(self, count: int, seconds: float = 10.0, *, refused: bool = False) -> list[R]:
        """Wait, in the sink's loop, for this many accepted ones (with `refused`: any). Raises TimeoutError."""
        records = self.all if refused else self.accepted
        changed = asyncio.Event()
        self._changed.add(changed)
        try:
            async with asyncio.timeout(seconds):
                while len(records) < count:
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            raise TimeoutError(f"{len(records)} of {count} arrived within {seconds:g} s") from None
        finally:
            self._changed.discard(changed)
        return list(records)

    def wait(self, count: int, seconds: float = 10.0, *, refused: bool = False) -> list[R]:
        """The same for another thread than the sink's."""
        records = self.all if refused else self.accepted
        deadline = time.monotonic() + seconds
        while len(records) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(records)} of {count} arrived within {seconds:g} s")
            time.sleep(0.01)
        return list(records)

    def close(self) -> None:
        """Close the file, if it is open; another record opens it again."""
        if self._open is not None:
            os.close(self._open)
            self._open = None

    def clear(self) -> None:
        """Forget what is in memory."""
        self.all.clear()
        self.accepted.clear()


def by_path(posts: Iterable[Post]) -> dict[str, list[Post]]:
    """Requests of each webhook."""
    found: dict[str, list[Post]] = {}
    for post in posts:
        found.setdefault(post.path, []).append(post)
    return found
