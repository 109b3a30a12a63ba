"""What becomes of events: events/, configs/, shards/ and upkeep/. Owns the Protocols that it needs (`ports`)."""
