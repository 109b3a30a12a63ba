r"""Variables in a file, as people keep them for shells and frameworks (`.env`, `.env.local`).

One NAME=value a line, `export` before it if you like. Without quotes a value ends with its line, or at ` #`. In double
quotes `\n`, `\r`, `\t`, `\"`, `\\` and `\$` mean what they mean in a shell; in single quotes and backticks everything
stands for itself, but `\'` for a quote where no other reading makes sense. A quoted value may have several lines. `$`
never means anything: what is filled in is not filled in again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pipebell.cli.documents import read_text
from pipebell.core.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from pathlib import Path

_NAME: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=")
_BLANK: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")  # an empty line, a comment, or what may follow a quote
_COMMENT: Final = re.compile(r"(?:^|[ \t]+)#.*")
_QUOTED: Final = {
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL),
    "'": re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL),
    "`": re.compile(r"`([^`]*)`"),
}
_IN_SINGLE_QUOTES: Final = re.compile(r"'([^'\n]*)'")
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_MEANING: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`", "\n": ""}


def read(path: Path) -> dict[str, str]:
    """The variables of a file. Raises InvalidInput that names the line, never its value."""
    return parse(read_text(path))


def parse(text: str) -> dict[str, str]:
    """The variables of a text; of one that stands there twice the last counts. Raises InvalidInput as `read`."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found: dict[str, str] = {}
    problems = []
    position = 0
    while position < len(text):
        if blank := _BLANK.match(text, position):
            position = blank.end() if blank.end() > position else position + 1
            continue
        line = text.count("\n", 0, position) + 1
        name = _NAME.match(text, position)
        if name is None:
            problems.append(Problem(f"line {line}", "is not NAME=value"))
            position = _next_line(text, position)
            continue
        value, position, wrong = _value(text, name.end())
        if wrong:
            problems.append(Problem(f"line {line}", f"{name[1]}: {wrong}"))
        else:
            found[name[1]] = value
    if problems:
        raise InvalidInput(problems)
    return found


def _value(text: str, position: int) -> tuple[str, int, str]:
    """The value that begins here, where the next line begins, and what is wrong with it ("": nothing)."""
    start = position
    while start < len(text) and text[start] in " \t":
        start += 1
    end = _next_line(text, position)
    quote = text[start : start + 1]
    if quote not in _QUOTED:
        raw = text[position:end].rstrip("\n")
        return _COMMENT.sub("", raw, count=1).strip(" \t"), end, ""
    quoted = _as_a_shell(text, start) or _QUOTED[quote].match(text, start)
    if quoted is None:
        return "", end, "its quote is never closed"
    after = _BLANK.match(text, quoted.end())
    if after is None:
        return "", _next_line(text, quoted.end()), "something follows its closing quote"
    return _unescaped(quoted[1], quote), after.end(), ""


def _as_a_shell(text: str, start: int) -> re.Match[str] | None:
    """Single quotes around a line's rest, in which a backslash is no escape, not even the last one."""
    plain = _IN_SINGLE_QUOTES.match(text, start)
    return plain if plain and _BLANK.match(text, plain.end()) else None


def _unescaped(text: str, quote: str) -> str:
    if quote == '"':
        return _ESCAPE.sub(lambda found: _MEANING.get(found[1], found[0]), text)
    return text.replace("\\'", "'") if quote == "'" else text


def _next_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1
