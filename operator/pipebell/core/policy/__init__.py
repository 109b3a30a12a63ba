"""Pure rules that decide what becomes of an event."""
