"""Secrets out of text that goes to people: by the shapes that credentials have, and by what the environment holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASK: Final = "***"
_NAME: Final = (  # what people call credentials
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|authorization"
    r"|(?:api|access|secret|private|account|encryption|signing)[-_ ]?key|webhook[-_ ]?url|connection[-_ ]?string|dsn)"
)
_IS: Final = r"[\"']?\s*(?:[:=]|\s+is\s+)\s*"
_MIN_VALUE: Final = 6  # shorter values of the environment ("1", "true") occur everywhere

# Each pattern's group `keep`, where there is one, stays; the rest becomes the mask.
PATTERNS: Final = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        (r"(?P<keep>https://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)[^\s\"'<>]+", re.IGNORECASE),
        (r"(?P<keep>\b[a-z][a-z0-9+.-]*://[^\s/:@\"']*:)[^\s@\"']+(?=@)", re.IGNORECASE),  # user:password@host
        (r"(?P<keep>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
        (r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", 0),  # JSON Web Token
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", 0),  # AWS access key id
        (r"\b(?:gh[opsur]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,})", 0),
        (r"\bxox[abeoprs]-[A-Za-z0-9-]{8,}", 0),  # Slack
        (r"\b(?:sk|rk)[-_][A-Za-z0-9_-]{16,}|\bSG\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}|\bAIza[A-Za-z0-9_-]{30,}", 0),
        (rf"(?P<keep>{_NAME}{_IS})(?:\"[^\"\n]+\"|'[^'\n]+'|[^\s,;&\"'}}\])]+)", re.IGNORECASE),
        (rf"(?P<keep>--?[a-z-]*{_NAME}\s+)[^\s-][^\s]*", re.IGNORECASE),
    )
)  # fmt: skip
_VARIABLE: Final = re.compile(rf"{_NAME}|_KEY$|_PAT$", re.IGNORECASE)


def values_in(environ: Mapping[str, str]) -> list[str]:
    """Values of variables whose names say that they are secret; the longest first."""
    found = {value for name, value in environ.items() if _VARIABLE.search(name) and len(value) >= _MIN_VALUE}
    return sorted(found, key=len, reverse=True)


def mask(text: str, values: Iterable[str] = (), patterns: Iterable[re.Pattern[str]] = ()) -> str:
    """`text` without `values`, without what has the shape of a credential, and without what `patterns` match."""
    for value in values:
        text = text.replace(value, MASK)
    for pattern in (*PATTERNS, *patterns):
        text = pattern.sub(_replacement, text)
    return text


def _replacement(match: re.Match[str]) -> str:
    return (match.groupdict().get("keep") or "") + MASK
