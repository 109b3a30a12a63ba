"""Characters that nobody sees and that terminals obey, as parts of patterns: text for people is rid of them."""

from __future__ import annotations

from typing import Final

# Zero-width characters and bidirectional overrides let text look like what it is not. Joiners (U+200C, U+200D) stay:
# Persian, Hindi and emoji are written with them. For use within brackets.
INVISIBLE: Final = r"\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
CONTROL_SEQUENCE: Final = r"\[[0-?]*[ -/]*[@-~]"  # ECMA-48's, such as colours: what follows the escape character
