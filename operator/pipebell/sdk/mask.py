"""Secrets out of text that goes to people: by the shapes that credentials have, and by what the environment holds.

Whatever the text, the time is in proportion to its length: no pattern can begin at many places and run far from each.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pipebell.core.characters import CONTROL_SEQUENCE, INVISIBLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MASK: Final = "***"
_NAME: Final = (  # what people call credentials
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|authorization"
    r"|(?:api|access|secret|private|account|encryption|signing)[-_ ]?key|webhook[-_ ]?url|connection[-_ ]?string|dsn)"
)
_IS: Final = r"\\?[\"']?(?:\s{0,16}[:=]|\s{1,16}is\s)\s{0,16}"
_MIN_VALUE: Final = 6  # shorter values of the environment ("1", "true") occur everywhere

# Each pattern's group `keep`, where there is one, stays; the rest becomes the mask.
PATTERNS: Final = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        (r"(?P<keep>https://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/)[^\s\"'<>]+", re.IGNORECASE),
        (r"(?P<keep>\b(?:bearer|basic)\s{1,16})[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", 0),  # AWS access key id
        (r"\b(?:gh[opsur]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,})", 0),
        (r"\bxox[abeoprs]-[A-Za-z0-9-]{8,}", 0),  # Slack
        (r"\b(?:sk|rk)[-_][A-Za-z0-9_-]{16,}|\bSG\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}|\bAIza[A-Za-z0-9_-]{30,}", 0),
        # A quote that is not closed in its line was cut: all behind it goes.
        (rf"(?P<keep>{_NAME}{_IS})(?:\\?\"[^\"\n]+\"?|\\?'[^'\n]+'?|[^\s,;&\"'}}\])]+)", re.IGNORECASE),
    )
)  # fmt: skip
_NAMED: Final = re.compile(_NAME, re.IGNORECASE)
_VARIABLE: Final = re.compile(rf"{_NAME}|_KEY$|_PAT$", re.IGNORECASE)
# What stands before a name must be an option (`--db-password VALUE`), which `_is_option` looks back for.
_OPTION: Final = re.compile(rf"({_NAME}[ \t]{{1,16}})([^\s-]\S*)", re.IGNORECASE)
_OPTION_LENGTH: Final = 64
_KEY_MARK: Final = re.compile(r"-----(BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_LINE: Final = re.compile(r"[A-Za-z0-9+/=\\]*|[A-Za-z-]{1,40}: .{0,200}")  # of a key's body; of its headers
_WORD: Final = re.compile(r"[^\s\"']+")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_.-]+")
_TOKEN_HEAD: Final = 11  # characters; `{"alg":…` is longer
# Colour codes and characters that nobody sees: no message shows them, so what they stand within is one word there.
_UNSEEN: Final = re.compile(rf"\x1b(?:{CONTROL_SEQUENCE}|\][^\x07\x1b\n]{{0,256}}(?:\x07|\x1b\\))|[{INVISIBLE}]")
_GONE: Final = "\x00"  # stands for a line that a mask swallowed


def values_in(environ: Mapping[str, str]) -> list[str]:
    """Values of variables whose names say that they are secret, also as URLs hold them; the longest first."""
    found = {value for name, value in environ.items() if _VARIABLE.search(name) and len(value) >= _MIN_VALUE}
    found |= {quote(value, safe="") for value in found}
    return sorted(found, key=len, reverse=True)


def mask(text: str, values: Iterable[str] = (), patterns: Iterable[re.Pattern[str]] = ()) -> str:
    """`text` without `values`, without what has the shape of a credential, and without what `patterns` match."""
    return _mask(text, values, patterns, "")


def mask_command(words: Sequence[str], values: Sequence[str] = ()) -> list[str]:
    """The arguments of a command: what follows an option, or stands behind a `=`, whose name says that it is secret.

    By argument, since a shell's quotes would hide where a value ends.
    """
    found: list[str] = []
    secret = False
    for word in words:
        name, sign, value = word.partition("=")
        short = _NAMED.search(name[:_OPTION_LENGTH]) is not None
        if secret and not word.startswith("-"):
            found.append(MASK)
        elif sign and short and value:
            found.append(f"{mask(name, values)}={MASK}")
        else:
            found.append(mask(word, values))
        secret = short and not sign and word.startswith("-")
    return found


def mask_lines(
    lines: Sequence[str], values: Iterable[str] = (), patterns: Iterable[re.Pattern[str]] = ()
) -> list[str | None]:
    """The lines of one text, masked together: as many as before, None for those that a mask swallowed."""
    if not lines:
        return []
    masked = _mask("\n".join(line.replace(_GONE, " ") for line in lines), values, patterns, f"\n{_GONE}")
    found: list[str | None] = []
    for line in masked.split("\n"):
        rest = line.replace(_GONE, "")
        found.append(None if _GONE in line and not rest.strip() else rest)
    return found


def _mask(text: str, values: Iterable[str], patterns: Iterable[re.Pattern[str]], filler: str) -> str:
    """`filler` stands for each line break that a mask swallows."""
    values = tuple(values)

    def covered(match: re.Match[str]) -> str:
        keep = match.groupdict().get("keep") or ""
        swallowed = match[0].count("\n") - keep.count("\n")
        return keep + MASK + filler * swallowed

    def struck(text: str) -> str:
        for value in values:
            text = text.replace(value, MASK + filler * value.count("\n"))
        return text

    text = struck(text)
    if not text.isascii() or "\x1b" in text:
        text = struck(_UNSEEN.sub("", text))
    text = _keys(text, filler)
    text = _WORD.sub(lambda match: _addresses(match[0]) if "://" in match[0] else match[0], text)
    text = _TOKEN.sub(lambda match: _web_tokens(match[0]) if "eyJ" in match[0] else match[0], text)
    for pattern in PATTERNS:
        text = pattern.sub(covered, text)
    text = _OPTION.sub(lambda match: f"{match[1]}{MASK}" if _is_option(match) else match[0], text)
    for pattern in patterns:
        text = pattern.sub(covered, text)
    return text


def _keys(text: str, filler: str) -> str:
    """Private keys, also without their beginning (it was cut off) or their end."""
    marks = list(_KEY_MARK.finditer(text))
    if not marks:
        return text
    parts, at = [], 0
    for index, mark in enumerate(marks):
        if mark.start() < at:
            continue  # within what is masked already
        if mark[1] == "BEGIN":
            end = next((other.end() for other in marks[index + 1 : index + 2] if other[1] == "END"), None)
            if end is None:
                end = marks[index + 1].start() if index + 1 < len(marks) else len(text)
            begin = mark.start()
        else:
            begin, end = _body_begins(text, at, mark.start()), mark.end()
        parts += [text[at:begin], MASK, filler * text.count("\n", begin, end)]
        at = end
    return "".join([*parts, text[at:]])


def _body_begins(text: str, least: int, end: int) -> int:
    """Where the lines of a key begin that end before `end`; in JSON they are one line, its breaks escaped."""
    begin = end
    while begin > least:
        before = text.rfind("\n", least, begin - 1) + 1 or least
        line = text[before:begin].rstrip()
        if not _KEY_LINE.fullmatch(line.lstrip()):
            run = len(line)
            while run and (line[run - 1].isalnum() or line[run - 1] in "+/=\\"):
                run -= 1
            return before + run
        begin = before
    return begin


def _addresses(word: str) -> str:
    """The password of each `scheme://user:password@host` in a word."""
    parts, at = [], 0
    while (start := word.find("://", at)) >= 0:
        start += len("://")
        colon = next((index for index in range(start, len(word)) if word[index] in ":/@"), len(word))
        if colon == len(word) or word[colon] != ":":
            parts.append(word[at:colon])
            at = colon
            continue
        sign = word.find("@", colon + 1)
        if sign < 0:
            break  # nothing behind has a host either
        sign = _last_sign(word, sign)
        if sign > colon + 1:
            parts += [word[at : colon + 1], MASK]
        else:
            parts.append(word[at:sign])
        at = sign
    return "".join([*parts, word[at:]])


def _last_sign(word: str, sign: int) -> int:
    """The last @ before the path begins: passwords may hold one."""
    slash = word.find("/", sign)
    return word.rfind("@", sign, slash if slash >= 0 else len(word))


def _web_tokens(word: str) -> str:
    """JSON Web Tokens in a word: two or three parts between dots, of which the first begins with `eyJ`."""
    pieces = word.split(".")
    found: list[str] = []
    index = 0
    while index < len(pieces):
        piece, begin = pieces[index], pieces[index].find("eyJ")
        if begin >= 0 and len(piece) - begin >= _TOKEN_HEAD and "".join(pieces[index + 1 : index + 2]):
            found.append(piece[:begin] + MASK)
            index += 3
        else:
            found.append(piece)
            index += 1
    return ".".join(found)


def _is_option(match: re.Match[str]) -> bool:
    """Whether the name that was found ends an option."""
    text, start = match.string, match.start()
    least = max(start - _OPTION_LENGTH, 0)
    while start > least and (text[start - 1].isalpha() or text[start - 1] in "-_"):
        start -= 1
    return text[start : start + 1] == "-"
