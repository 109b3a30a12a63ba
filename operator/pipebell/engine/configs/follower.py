"""Who hears of configurations: whether they can be used, and whoever waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipebell.core.config import ConfigObject
    from pipebell.core.errors import NotReady


class ConfigFollower:
    """Hears of changes, and overrides what it cares for. Must not raise and must not wait."""

    def on_config_change(self, old: ConfigObject | None, new: ConfigObject | None) -> None:
        """A configuration is there, was edited or is gone. A changed status alone is not reported."""

    def on_verify_requested(self, config: ConfigObject) -> None:
        """Its annotation asks for a check of its destinations, by another token than before; its spec is the same."""

    def on_root_change(self) -> None:
        """Root changed, from which everybody inherits."""

    def on_config_ready(self, config: ConfigObject) -> None:
        """This configuration can be used, as far as one can know."""

    def on_config_refused(self, config: ConfigObject, error: NotReady) -> None:
        """A configuration turned out not to be usable while an event wanted it."""


class Followers(ConfigFollower):
    """Tells everybody who has subscribed, in that order."""

    def __init__(self) -> None:
        self._all: list[ConfigFollower] = []

    def subscribe(self, *followers: ConfigFollower) -> None:
        """Tell these too."""
        self._all += followers

    def on_config_change(self, old: ConfigObject | None, new: ConfigObject | None) -> None:
        """See `ConfigFollower`."""
        for follower in self._all:
            follower.on_config_change(old, new)

    def on_verify_requested(self, config: ConfigObject) -> None:
        """See `ConfigFollower`."""
        for follower in self._all:
            follower.on_verify_requested(config)

    def on_root_change(self) -> None:
        """See `ConfigFollower`."""
        for follower in self._all:
            follower.on_root_change()

    def on_config_ready(self, config: ConfigObject) -> None:
        """See `ConfigFollower`."""
        for follower in self._all:
            follower.on_config_ready(config)

    def on_config_refused(self, config: ConfigObject, error: NotReady) -> None:
        """See `ConfigFollower`."""
        for follower in self._all:
            follower.on_config_refused(config, error)
