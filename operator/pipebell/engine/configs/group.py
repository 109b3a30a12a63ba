"""What there is of configurations, as one value for whoever asks more than one part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipebell.engine.configs.resolver import Resolver
    from pipebell.engine.configs.root import RootStore
    from pipebell.engine.configs.store import ConfigStore


class Configs(NamedTuple):
    """Organisations' configurations, root's, and who finds which of them serves an event."""

    store: ConfigStore
    root: RootStore
    resolver: Resolver
