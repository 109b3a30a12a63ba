"""The journey of one event: queue, resolution, cooldown, delivery, retry, record. Owns the Protocols it needs."""
