"""Text from events is hostile: it is cleaned, kept to one line where one line is meant, and cut with a visible mark."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydantic_core import to_json

from pipebell.core.characters import CONTROL_SEQUENCE, INVISIBLE

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONTROLS: Final = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"
_ANSI: Final = re.compile(rf"\x1b(?:{CONTROL_SEQUENCE}|\][^\x07\x1b]{{0,256}}(?:\x07|\x1b\\))")
_LINE_ENDS: Final = re.compile("\r\n|[\r\x85\u2028\u2029]")
_INVISIBLE: Final = re.compile(f"[{INVISIBLE}]")
_UNPRINTABLE: Final = re.compile(f"[{_CONTROLS}\ud800-\udfff\ufffe\uffff]")
_GAPS: Final = re.compile(f"[{_CONTROLS}\\s]+")
_SPACE: Final = re.compile(r"\s")
_DEEPEST: Final = 60  # levels: what receivers and their parsers are known to take
TOO_LONG: Final = "\n… (cut off: too long to show in full)"


def clean(text: str) -> str:
    """Several lines of harmless text: line ends are LF, colour codes and invisible characters are gone.

    Other control characters and lone surrogates show as U+FFFD, so that the result can always be encoded.
    """
    if text.replace("\n", "").isprintable():
        return text
    text = _LINE_ENDS.sub("\n", _ANSI.sub("", text))
    return _UNPRINTABLE.sub("\ufffd", _INVISIBLE.sub("", text))


def cleaned(value: Any) -> Any:  # noqa: ANN401  (JSON)
    """A document whose texts are `clean`, keys too. Too deep a part of it becomes a mark."""
    return _cleaned(value, _DEEPEST)


def _cleaned(value: Any, left: int) -> Any:  # noqa: ANN401
    if isinstance(value, str):
        return clean(value)
    if not isinstance(value, (dict, list)):
        return value
    if not left:
        return "… (cut off: nested too deeply)"
    if isinstance(value, list):
        return [_cleaned(item, left - 1) for item in value]
    return {clean(str(key)): _cleaned(item, left - 1) for key, item in value.items()}


def one_line(text: str, limit: int) -> str:
    """One line of at most `limit` characters; line ends and control characters become spaces."""
    if not text.isprintable():
        text = clean(_GAPS.sub(" ", _ANSI.sub("", text[: 16 * limit])))
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def address(url: str) -> str:
    """A URL as one word: a space or line end of Unicode's would end the link, and what follows would be text."""
    return clean(_SPACE.sub(lambda space: quote(space[0]), url))


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, with a mark that says how many are missing."""
    if len(text) <= limit:
        return text
    kept = text[: limit - len(mark(len(text)))]
    return kept + mark(len(text) - len(kept))


def mark(missing: int) -> str:
    """What stands in the place of text that was cut off."""
    return f"\n… (cut off: {missing:,} more characters)"


def masked(text: str, *secrets: str | None, limit: int = 200) -> str:
    """What a server said: one line of at most `limit` characters, with every secret that it echoes struck out."""
    # Once more after cleaning: colour codes and invisible characters may have stood within a secret.
    return one_line(struck(one_line(struck(text, *secrets), 16 * limit), *secrets), limit)


def struck(text: str, *secrets: str | None) -> str:
    """The text with every secret struck out."""
    for secret in sorted((secret for secret in secrets if secret), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def listed(names: Sequence[str], more: str = "", limit: int = 200) -> str:
    """Names with commas, at most `limit` characters: as many as fit, and how many are missing; `more` at the end."""
    parts = [*names, *([more] if more else [])]
    text = ", ".join(parts)
    shown = len(names)
    while len(text) > limit and shown:
        shown -= 1
        missing = f"{len(names) - shown} more"
        text = ", ".join([*names[:shown], missing, *([more] if more else [])])
    return text


def pretty(details: dict[str, Any], limit: int) -> str:
    """Free-form details as indented JSON of at most `limit` bytes of UTF-8 (besides the mark that some is missing).

    Never raises: what JSON has no word for is shown by its `str`, and what cannot be walked through ends in a mark.
    """
    try:
        text, ending = to_json(details, indent=2).decode(), ""
    except Exception:  # noqa: BLE001  (anything may be in there)
        text, ending = _as_far_as_possible(details, limit)
    if len(text) > limit:
        text, ending = text[:limit], TOO_LONG
    text = clean(text)
    if len(text) * 3 > limit and len(encoded := text.encode()) > limit:
        text, ending = encoded[:limit].decode(errors="ignore"), ending or TOO_LONG
    return text + ending


def _as_far_as_possible(details: dict[str, Any], limit: int) -> tuple[str, str]:
    """Circular, too deep, a number too long, half a character: what comes before that, and a mark."""
    parts: list[str] = []
    size = 0
    try:
        for part in _ENCODER.iterencode(details):
            parts.append(part)
            size += len(part)
            if size > limit:
                break
    except Exception as error:  # noqa: BLE001
        return "".join(parts), f"\n… (cut off: cannot be shown, {type(error).__name__})"
    return "".join(parts), ""


def _as_text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  (a stranger's __str__)
        return f"<{type(value).__name__}>"


_ENCODER: Final = json.JSONEncoder(indent=2, ensure_ascii=False, skipkeys=True, default=_as_text)
