"""Pipebell's exceptions and how a wrong input is told to people.

- PipebellError
- - InvalidInput: a document breaks the rules; carries every problem, by path
- - SettingsError: an environment variable or flag cannot be used
- - NotReady: a configuration cannot be used for a destination, and why
- - Fenced: this replica may not send, for its leases ran out; nothing was sent
- - ApiError: the Kubernetes API did not do what was asked
- - - Conflict: 409, the object changed since it was read
- - - NotFound: 404, the object (or its namespace) is gone
- - - Rejected: other 4xx, asking again the same way will not help
- - - Unavailable: 5xx, 429, timeouts, broken connections; asking again later may help
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel, ValidationError

    from pipebell.core.vocabulary import NotReadyReason


class PipebellError(Exception):
    """Base of all errors that Pipebell raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `path` as the user wrote it (`email.smtp_port`), `message` with the mend."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidInput(PipebellError):  # noqa: N818  (it names the input's state)
    """A document breaks the rules."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class InvalidEvent(InvalidInput):
    """A stored PipelineEvent whose spec cannot be parsed; who it is, so that this can be recorded on it."""

    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        namespace: str,
        name: str,
        uid: str,
        resource_version: str,
        phase: str | None = None,
    ) -> None:
        super().__init__(problems)
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.resource_version = resource_version
        self.phase = phase  # what its status says so far


class SettingsError(PipebellError):
    """An environment variable or flag cannot be used."""


class NotReady(PipebellError):  # noqa: N818
    """A configuration cannot be used. `message` names the field or variable, never a value."""

    def __init__(self, reason: NotReadyReason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(f"{reason}: {message}")


class Fenced(PipebellError):  # noqa: N818  (it names what this replica is)
    """This replica may not send for this organisation (any more). Nothing was sent."""


class ApiError(PipebellError):
    """The Kubernetes API did not do what was asked. The message carries no credential."""


class Conflict(ApiError):  # noqa: N818
    """409: the object changed since it was read, or exists already."""


class NotFound(ApiError):  # noqa: N818
    """404: the object is gone."""


class Rejected(ApiError):  # noqa: N818
    """The request was refused: not permitted, or invalid."""


class Forbidden(Rejected):
    """403: this identity is not permitted to do that."""


class TooLong(ApiError):  # noqa: N818
    """The answer has more bytes than are wanted."""


class Gone(Rejected):
    """410: the resourceVersion or the list's snapshot is forgotten. `continue_token` goes on at the present state."""

    def __init__(self, message: str, continue_token: str | None = None) -> None:
        self.continue_token = continue_token
        super().__init__(message)


class Unavailable(ApiError):  # noqa: N818
    """The API server did not answer in time, or is overloaded. `retry_after` is seconds, when it named a time."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


_MENDS = {
    "string_pattern_mismatch": {
        "emails": "is not an e-mail address (name@host) or exactly ${VAR}",
        "email": "is not an e-mail address (name@host) or exactly ${VAR}",
        "helo": "is not a host name, such as mail.example.com, or an address literal, such as [192.0.2.1]",
        "host": "is not a host name, an IP address or exactly ${VAR}",
        "url": "must be an https:// URL or exactly ${VAR}",
        "slug": "must begin with a letter or digit and hold only letters, digits, '_', '.' and '-' (at most 63)",
        "users": "must be Slack IDs such as U123456 (users), W123456 or S123456 (groups)",
        "emoji": "must look like :robot_face:",
    },
}


def _segment(name: str) -> str:
    """The last word of a field's name, in either spelling: `to_emails` and `toEmails` are `emails`."""
    word = name.rpartition("_")[2]
    cut = max((index for index, letter in enumerate(word) if letter.isupper()), default=0)
    return word[cut:].lower()


def explain(error: ValidationError, model: type[BaseModel]) -> InvalidInput:
    """A pydantic error as problems that name the field, what is wrong and the mend; never the value."""
    problems = []
    for item in error.errors(include_url=False, include_input=False, include_context=True):
        location = [part for part in item["loc"] if part not in ("function-after", "constrained-str")]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
        words = [part for part in location if isinstance(part, str)]
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, location[:-1])
            near = get_close_matches(str(location[-1]), known, n=1)
            message = "unknown field" + (
                f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}" if known else ""
            )
        elif item["type"] in _MENDS and words:
            message = _MENDS[item["type"]].get(_segment(words[-1]), "has characters that are not allowed here")
        problems.append(Problem(path, message))
    return InvalidInput(problems)


def _fields_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Names of the fields that the model at `location` knows, in camelCase."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        current = next(
            (
                nested
                for name, info in current.model_fields.items()
                if part in (name, info.alias)
                for nested in _models_in(info.annotation)
            ),
            None,
        )
    return [info.alias or name for name, info in current.model_fields.items()] if current else []


def _models_in(annotation: object) -> list[type[BaseModel]]:
    from pydantic import BaseModel as Base  # noqa: PLC0415  (kept off the import path of the SDK)

    if isinstance(annotation, type) and issubclass(annotation, Base):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]
