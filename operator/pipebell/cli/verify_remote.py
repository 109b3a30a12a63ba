"""Having the operator try a configuration's destinations, for people who may not read its Secrets."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from pipebell.cli import replicas
from pipebell.cli.client import CONFIGS
from pipebell.cli.standing import seconds
from pipebell.core.errors import PipebellError
from pipebell.core.finding import Finding
from pipebell.core.served import lacking
from pipebell.core.vocabulary import VERIFY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipebell.cli.client import Client
    from pipebell.core.status import ConfigReference

PATIENCE: Final = 90.0  # seconds: the operator gives itself 60 for all destinations of a configuration
_EVERY: Final = 60.0  # seconds between two checks of one configuration, which the operator keeps to
_POLL: Final = 0.5  # seconds


class Remote:
    """Asks the operator by an annotation and waits for its answer.

    `patience` is seconds to wait, besides the minute that has to pass after an earlier check; with 0 nobody is asked.
    What keeps the operator from answering one configuration keeps it from answering the next.
    """

    def __init__(
        self, client: Client, operator_namespace: str, patience: float, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._client, self._namespace, self._patience, self._tell = client, operator_namespace, patience, tell
        self._away: str | None = None

    def ask(self, config: ConfigReference) -> tuple[dict[str, Finding], str]:
        """What the operator found, by destination; and why there is nothing, or what should be known about it."""
        if config.kind != "NotificationConfig":
            return {}, "the operator tries an organisation's own configuration only, not root's"
        if self._away is None:
            self._away = self._absence(config.namespace)
        if self._away:
            return {}, self._away
        try:
            answer = self._answer(config)
        except PipebellError as error:
            return {}, f"the operator could not be asked to try it: {error}"
        if answer is None:
            self._away = (
                f"the operator did not answer within {self._patience:g} s: it is away, or older than this command"
            )
            return {}, self._away
        return _findings(answer), _remark(answer, config)

    def _absence(self, namespace: str) -> str:
        """Why asking makes no sense; "" when it may."""
        if self._patience <= 0:
            return "the operator was not asked (--timeout 0)"
        try:
            if "status.verification" in lacking(self._client.schemas()).get("NotificationConfig", ()):
                return "the operator cannot be asked: the cluster's definitions are of a release that does not know it"
            return replicas.look(self._client, self._namespace).trouble(namespace)
        except PipebellError as error:
            return f"whether there is an operator is not known: {error}"

    def _answer(self, config: ConfigReference) -> Mapping[str, Any] | None:
        token = secrets.token_hex(8)
        made = self._client.annotate(CONFIGS, config.name, {VERIFY: token}, config.namespace)
        before = _verification(made)
        earlier = seconds(before.get("time"))
        rest = min(max(earlier + _EVERY - time.time(), 0.0), _EVERY)
        more = f", and {rest:.0f} s more since it was asked a moment ago" if rest else ""
        self._tell(f"asking the operator, for up to {self._patience:.0f} s{more} …")
        end = time.monotonic() + self._patience + rest
        while time.monotonic() < end:
            item = self._client.get(CONFIGS, config.name, config.namespace)
            answer, wanted = _verification(item), (item["metadata"].get("annotations") or {}).get(VERIFY)
            # Somebody else may have asked after us: then theirs is the answer for both.
            if answer.get("token") in (token, wanted) and answer.get("token") != before.get("token"):
                return answer
            time.sleep(_POLL)
        return None


def _verification(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return (item.get("status") or {}).get("verification") or {}


def _findings(answer: Mapping[str, Any]) -> dict[str, Finding]:
    return {
        str(item.get("name")): Finding(
            "operator", item.get("ok") is True, str(item.get("message") or ""), "", str(item.get("reason") or "")
        )
        for item in answer.get("destinations") or ()
    }


def _remark(answer: Mapping[str, Any], config: ConfigReference) -> str:
    if answer.get("message"):
        return f"the operator tried nothing: {answer['message']}"
    tried = answer.get("observedGeneration")
    if tried and config.generation and tried != config.generation:
        return "the configuration was edited meanwhile: what the operator says is about another generation"
    return ""
