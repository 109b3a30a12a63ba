"""Which organisations are this replica's."""
