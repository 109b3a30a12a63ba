"""Resource versions, which the API server draws from one rising number (comparable as such by KEP-5504)."""

from __future__ import annotations


def as_number(resource_version: str) -> int:
    """For comparing; anything that is no number counts as oldest."""
    return int(resource_version) if resource_version.isdecimal() else 0
