"""Who does the work of the shards, and hears which ones are this replica's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class ShardFollower:
    """Hears of shards, and overrides what it cares for. Must not raise and must not wait."""

    def on_shards_acquired(self, shards: Collection[int]) -> None:
        """These are ours now; what was done for them before is in the API and nowhere else."""

    def on_shards_released(self, shards: Collection[int]) -> None:
        """These are not ours any more: begin nothing for them, and forget them once what is under way has ended."""

    def on_lease_renewed(self) -> None:
        """For a while nothing could be sent, because the Lease was not renewed; now it can."""

    @property
    def busy(self) -> Collection[int]:
        """Shards for which something is under way."""
        return ()
