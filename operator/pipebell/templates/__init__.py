"""Runs organisations' templates in a process of their own, where they can neither see nor hold up anything."""
