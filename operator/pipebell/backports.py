"""What Python 3.10 lacks. The SDK, the integrations and the plain commands run there; all else needs 3.11."""

from __future__ import annotations

import enum
import sys
from datetime import timezone
from typing import Final

__all__ = ["UTC", "StrEnum"]

UTC: Final = timezone.utc

if sys.version_info >= (3, 11):
    from enum import StrEnum
else:

    class StrEnum(str, enum.Enum):
        """As Python 3.11's: a member is its value, also as text."""

        __str__ = str.__str__
