"""Whether the cluster serves this release's definitions. What an older release's lack is off, for the API drops it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from pipebell.core.errors import ApiError, NotFound
from pipebell.core.served import ABSENT, lacking
from pipebell.core.vocabulary import GROUP, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipebell.core.ports import Clock
    from pipebell.kube.client import ApiClient

EVERY: Final = 300.0  # seconds between two looks: definitions may be applied at any time
SOON: Final = 30.0  # seconds, while something is missing or could not be asked
_PATH: Final = f"/openapi/v3/apis/{GROUP}/{VERSION}"  # every user may read it

_log = structlog.get_logger(__name__)


class Definitions:
    """Looks at what is served, again and again. `missing` has the fields that are not, by kind."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self.missing: Mapping[str, Sequence[str]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self._clock.sleep(EVERY if await self.look() else SOON)

    async def look(self) -> bool:
        """Whether all that this release writes and reads is served."""
        try:
            document = await self._client.request("GET", _PATH)
        except NotFound:
            return False  # no kind is served at all: the watches say so
        except ApiError as error:  # an API server that is away, or does not say, is reported elsewhere
            _log.debug("definitions_not_read", error=str(error))
            return False
        missing = lacking((document.get("components") or {}).get("schemas") or {})
        if missing and missing != self.missing:
            _log.warning("definitions_of_another_release", missing=missing, hint="apply this release's definitions")
        self.missing = missing
        return not missing

    def serves(self, kind: str, path: str) -> bool:
        """Whether a kind's field, such as `status.catchUp`, is served, as far as is known."""
        return not {ABSENT, path, path.partition(".")[0]}.intersection(self.missing.get(kind, ()))

    def hold_incidents(self) -> bool:
        """Whether the served definitions can say what incidents need."""
        if "Incident" in self.missing:
            return False
        return not any(path.startswith("status.incident") for path in self.missing.get("PipelineEvent", ()))

    @property
    def remarks(self) -> list[str]:
        """In words, what is off."""
        return [
            f"off, for the served {kind} lacks it: {', '.join(paths)} (apply this release's definitions)"
            for kind, paths in self.missing.items()
        ]
