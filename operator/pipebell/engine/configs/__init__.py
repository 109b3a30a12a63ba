"""Configurations: which there are, which one serves an event, and whether each can be used."""
