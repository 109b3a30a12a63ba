"""The part of YAML that kubeconfigs are written in.

Block and flow collections, plain, quoted and block scalars, comments. Every scalar is text; a plain `null`, `~` or
nothing is None. What is beyond that (anchors, tags, merge keys, several documents …) is refused by its line number,
never guessed at. YAML 1.2.2: https://yaml.org/spec/1.2.2/.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Final, NoReturn

_DEEPEST: Final = 30  # levels; a kubeconfig has six
_NULLS: Final = ("", "~", "null", "Null", "NULL")
_RESERVED: Final = "&*!%@`|>,]}"
_NAMES: Final = {"&": "an anchor", "*": "an alias", "!": "a tag", "%": "a directive", "?": "a complex key"}
_HEADER: Final = re.compile(r"([|>])([+-]?)([1-9]?)([+-]?)[ ]*(?:[ ]#.*)?$")
_KEY_END: Final = re.compile(r"[ ]*:(?=[ ]|$)")
_COMMENT: Final = re.compile(r"[ ]+#|^#")
_SINGLE: Final = re.compile(r"'((?:[^']|'')*)'")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BREAKS: Final = re.compile(r"[ \t]*\n[ \t]*(?:\n[ \t]*)*")
_ESCAPES: Final = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_SURROGATES: Final = range(0xD800, 0xE000)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)


class NotInSubsetError(ValueError):
    """YAML that this reader does not know, or no YAML. The message names the line and the reason, never its text."""


def parse(text: str) -> Any:  # noqa: ANN401  (a document may be anything)
    """The one document of `text`. Raises NotInSubsetError."""
    text = text.removeprefix("\ufeff")
    if text.lstrip()[:1] == "{":
        try:
            return _texts(json.loads(text), 0)
        except ValueError:
            pass  # YAML's flow style is a superset
        except RecursionError:
            raise NotInSubsetError("line 1: too deeply nested") from None
    return _Reader(text).document()


def _texts(value: Any, depth: int) -> Any:  # noqa: ANN401  (JSON)
    """JSON with its numbers and booleans as the text that they are in YAML."""
    if depth > _DEEPEST:
        raise NotInSubsetError("line 1: too deeply nested")
    if isinstance(value, dict):
        return {key: _texts(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_texts(item, depth + 1) for item in value]
    return value if value is None or isinstance(value, str) else json.dumps(value)


class _Reader:
    """Goes through the lines once; `row` is the line that is looked at next."""

    def __init__(self, text: str) -> None:
        self.lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.cut = bool(self.lines[-1])  # the last line has no break at its end
        if not self.cut:
            self.lines.pop()
        self.row = 0
        self.depth = 0

    def document(self) -> Any:  # noqa: ANN401
        self._skip()
        if not self._over() and re.fullmatch(r"---(?:[ ]+#.*|[ ]*)", self.lines[self.row]):
            self.row += 1
        value = self._block(-1)
        self._skip()
        if not self._over() and self.lines[self.row].rstrip() == "...":
            self.row += 1
            self._skip()
        if not self._over():
            self._refuse(
                "another document" if self.lines[self.row].startswith("---") else "an indentation that ends nothing"
            )
        return value

    def _refuse(self, what: str) -> NoReturn:
        raise NotInSubsetError(f"line {min(self.row, len(self.lines) - 1) + 1}: {what}")

    def _over(self) -> bool:
        return self.row >= len(self.lines)

    def _skip(self) -> None:
        """To the next line that says something."""
        while not self._over():
            stripped = self.lines[self.row].strip(" \t")
            if stripped and not stripped.startswith("#"):
                return
            self.row += 1

    def _indent(self) -> int:
        line = self.lines[self.row]
        indent = len(line) - len(line.lstrip(" "))
        if line[indent : indent + 1] == "\t":
            self._refuse("a tab in the indentation")
        if indent == 0 and re.match(r"(?:---|\.\.\.)(?:[ ]|$)", line):
            return -2  # a document's mark ends everything
        return indent

    def _block(self, parent: int) -> Any:  # noqa: ANN401
        """The node that begins on the next line that says something, if that is indented more than `parent`."""
        self._skip()
        if self._over() or (indent := self._indent()) <= parent:
            return None
        self.depth += 1
        if self.depth > _DEEPEST:
            self._refuse("too deeply nested")
        body = self.lines[self.row][indent:]
        if _is_item(body):
            value: Any = self._sequence(indent)
        elif self._key(body) is not None:
            value = self._mapping(indent)
        else:
            value = self._inline(parent, indent)
        self.depth -= 1
        return value

    def _sequence(self, indent: int) -> list[Any]:
        items: list[Any] = []
        while not self._over() and self._indent() == indent and _is_item(self.lines[self.row][indent:]):
            line = self.lines[self.row]
            rest = line[indent + 1 :]
            column = indent + 1 + len(rest) - len(rest.lstrip(" "))
            if _says_nothing(rest):
                self.row += 1
                items.append(self._block(indent))
            elif _is_item(line[column:]) or self._key(line[column:]) is not None:
                self.lines[self.row] = " " * column + line[column:]  # a collection that begins on the dash's line
                items.append(self._block(indent))
            else:
                items.append(self._inline(indent, column))
            self._skip()
        return items

    def _mapping(self, indent: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not self._over() and self._indent() == indent:
            line = self.lines[self.row]
            found = self._key(line[indent:])
            if found is None:
                self._refuse("a line that is no `key: value`")
            key, end = found
            if key == "<<":
                self._refuse("a merge key")
            if key in result:
                self._refuse("a key that was there already")
            result[key] = self._value(indent, indent + end)
            self._skip()
        if not self._over() and self._indent() > indent:
            self._refuse("an indentation that begins nothing")
        return result

    def _value(self, indent: int, column: int) -> Any:  # noqa: ANN401
        rest = self.lines[self.row][column:]
        if not _says_nothing(rest):
            return self._inline(indent, column + len(rest) - len(rest.lstrip(" ")))
        self.row += 1
        self._skip()
        if not self._over() and self._indent() == indent and _is_item(self.lines[self.row][indent:]):
            return self._sequence(indent)  # a sequence may stand at its key's own indentation
        return self._block(indent)

    def _key(self, body: str) -> tuple[str, int] | None:
        """A key at the beginning of a line, and where its colon ends; None when there is none."""
        if body[:1] in ("'", '"'):
            match = (_SINGLE if body[0] == "'" else _DOUBLE).match(body)
            end = _KEY_END.match(body, match.end()) if match else None
            return (self._unquoted(body[: match.end()]), end.end()) if match and end else None
        if body[:1] in _NAMES and not (body[:1] == "?" and body[1:2] not in ("", " ")):
            self._refuse(_NAMES[body[0]])
        if body[:1] in ("[", "{", "|", ">", "#", "@", "`", ",", "]", "}"):
            return None
        end = _KEY_END.search(body)
        if end is None or _COMMENT.search(body, 0, end.start() + 1):
            return None
        if end.start() == 0 or "\t" in body[: end.end()]:
            self._refuse("an empty key, or a tab in one")
        return body[: end.start()], end.end()

    def _inline(self, parent: int, column: int) -> Any:  # noqa: ANN401
        """A node that begins in the middle of the line; `parent` is the indentation that its further lines exceed."""
        first = self.lines[self.row][column]
        if first in ("|", ">"):
            return self._block_scalar(parent, column)
        if first in _RESERVED:
            self._refuse(_NAMES.get(first, "a reserved character"))
        if first in ("'", '"', "[", "{"):
            return self._flow_node(parent, column)
        return self._plain(parent, column)

    def _plain(self, parent: int, column: int) -> str | None:
        """A plain scalar; lines that are indented more belong to it, each break a space."""
        line = self.lines[self.row][column:]
        comment = _COMMENT.search(line)
        parts = [(line[: comment.start()] if comment else line).rstrip(" \t")]
        self.row += 1
        gap = 0
        while not self._over():
            stripped = self.lines[self.row].strip(" \t")
            if not stripped:
                gap += 1
            elif self._indent() <= parent or (comment and stripped.startswith("#")):
                break
            else:
                if comment or _COMMENT.search(stripped):
                    self._refuse("a comment within a text of several lines")
                parts.append(("\n" * gap if gap else " ") + stripped)
                gap = 0
            self.row += 1
        text = "".join(parts)
        if re.search(r":(?:[ \n]|$)", text):
            self._refuse("a colon within a text without quotes")
        if "\t" in text or (text[0] in "-?" and text[1:2] in ("", " ", "\n")):
            self._refuse("a tab, or a dash or question mark that begins nothing")
        return None if text in _NULLS else text

    def _block_scalar(self, parent: int, column: int) -> str:
        header = _HEADER.match(self.lines[self.row], column)
        if header is None or (header[2] and header[4]) or parent < 0:
            self._refuse("a block scalar's header")
        self.row += 1
        lines = self._block_lines(parent, max(parent, 0) + int(header[3]) if header[3] else 0)
        if header[1] == ">":
            if any(line[:1] in (" ", "\t") for line in lines):
                self._refuse("an indented line in a folded text")
            body = _folded(lines)
        else:
            body = "".join(f"{line}\n" for line in lines)
        if self.cut and self._over():
            body = body[:-1]
        kept = body.rstrip("\n")
        chomp = header[2] or header[4]
        if chomp == "+":
            return body
        return kept if chomp == "-" or not kept else body[: len(kept) + 1]

    def _block_lines(self, parent: int, indent: int) -> list[str]:
        """A block scalar's lines without their indentation, which the first one decides when `indent` is 0."""
        lines: list[str] = []
        while not self._over():
            line = self.lines[self.row]
            found = len(line) - len(line.lstrip(" "))
            if line[found:]:
                if found < indent or (not indent and found <= parent):
                    break
                if line[found] == "\t":
                    self._refuse("a tab at the beginning of a text")
                indent = indent or found
            elif not indent:
                self._refuse("a blank line at the beginning of a text")
            lines.append(line[indent:])
            self.row += 1
        return lines

    def _flow_node(self, parent: int, column: int) -> Any:  # noqa: ANN401
        """A quoted scalar or a flow collection, which may end on a later line."""
        last = self.row + 1
        while last < len(self.lines) and (
            not self.lines[last].strip() or len(self.lines[last]) - len(self.lines[last].lstrip(" \t")) > parent
            or self.lines[last].lstrip(" ")[:1] in ("]", "}")
        ):  # fmt: skip
            last += 1
        text = "\n".join(self.lines[self.row : last])
        flow = _Flow(text, column, self)
        value = flow.node(0)
        rest = text[flow.at :].split("\n", 1)[0]
        if not _says_nothing(rest):
            self._refuse("something behind a quoted text or a collection")
        self.row += text.count("\n", 0, flow.at) + 1
        return value

    def _unquoted(self, token: str) -> str:
        """A quoted scalar's text."""
        if token[0] == "'":
            return _BREAKS.sub(_fold, token[1:-1]).replace("''", "'")
        # A backslash at a line's end joins the lines, with no space.
        inner = re.sub(r"(?<!\\)((?:\\\\)*)\\\n[ \t]*", r"\1", token[1:-1])
        inner = _BREAKS.sub(_fold, inner)
        return _ESCAPE.sub(self._escape, inner)

    def _escape(self, match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        if code:
            number = int(code, 16)
            if number > sys.maxunicode or number in _SURROGATES:
                self._refuse("an impossible character")
            return chr(number)
        if match[4] not in _ESCAPES:
            self._refuse("an unknown escape")
        return _ESCAPES[match[4]]


class _Flow:
    """A flow node within `text`, from `at` on."""

    def __init__(self, text: str, at: int, reader: _Reader) -> None:
        self.text, self.at, self._reader = text, at, reader

    def node(self, depth: int) -> Any:  # noqa: ANN401
        if depth > _DEEPEST:
            self._refuse("too deeply nested")
        first = self.text[self.at : self.at + 1]
        if first == "{":
            return self._collection(depth, "}")
        if first == "[":
            return self._collection(depth, "]")
        if first in ("'", '"') and first:
            return self._quoted()
        plain = self._plain()
        return None if plain in _NULLS else plain

    def _refuse(self, what: str) -> NoReturn:
        self._reader.row += self.text.count("\n", 0, self.at)
        self._reader._refuse(what)  # noqa: SLF001  (its other half)

    def _quoted(self) -> str:
        pattern = _SINGLE if self.text[self.at] == "'" else _DOUBLE
        match = pattern.match(self.text, self.at)
        if match is None:
            self._refuse("a quote without its end")
        self.at = match.end()
        return self._reader._unquoted(match[0])  # noqa: SLF001

    def _plain(self) -> str:
        match = re.compile(r"[^\n,\[\]{}#]*").match(self.text, self.at)
        token = match[0] if match else ""
        colon = re.search(r":(?=[ ]|$)", token)
        if colon:
            token = token[: colon.start()]
        if token and (token[0] in _RESERVED or token[0] in "?'\"" or _is_item(token)):
            self._refuse(_NAMES.get(token[0], "a reserved character"))
        self.at += len(token)
        if self.text[self.at : self.at + 1] == "#":
            self._refuse("a # within a flow collection")
        return token.strip(" \t")

    def _space(self) -> None:
        while self.text[self.at : self.at + 1] in (" ", "\t", "\n") and self.at < len(self.text):
            self.at += 1
        if self.text[self.at : self.at + 1] == "#":
            self._refuse("a comment within a flow collection")

    def _collection(self, depth: int, end: str) -> Any:  # noqa: ANN401
        pairs: dict[str, Any] = {}
        items: list[Any] = []
        self.at += 1
        self._space()
        while self.text[self.at : self.at + 1] != end:
            if end == "}":
                self._pair(pairs, depth)
            else:
                items.append(self.node(depth + 1))
            self._space()
            sign = self.text[self.at : self.at + 1]
            if sign == ",":
                self.at += 1
                self._space()
            elif sign != end:
                self._refuse("a flow collection that does not end, or a mapping in a sequence")
        self.at += 1
        return pairs if end == "}" else items

    def _pair(self, pairs: dict[str, Any], depth: int) -> None:
        quoted = self.text[self.at : self.at + 1] in ("'", '"')
        key = self._quoted() if quoted else self._plain()
        self._space()
        if self.text[self.at : self.at + 1] != ":" or not (quoted or key):
            self._refuse("a flow mapping's key without a value")
        if key in pairs or key == "<<":
            self._refuse("a key that was there already, or a merge key")
        self.at += 1
        if not quoted and self.text[self.at : self.at + 1] not in (" ", "\n", ",", "}", ""):
            self._refuse("a colon without a space behind it")
        self._space()
        pairs[key] = None if self.text[self.at : self.at + 1] in (",", "}") else self.node(depth + 1)


def _is_item(body: str) -> bool:
    return body.startswith("- ") or body.rstrip(" ") == "-"


def _says_nothing(rest: str) -> bool:
    """Whether nothing but spaces and a comment stand there."""
    stripped = rest.strip(" \t")
    return not stripped or (stripped.startswith("#") and rest[:1] in (" ", "\t"))


def _fold(match: re.Match[str]) -> str:
    """Line breaks within a text: one is a space, each further one stays."""
    return "\n" * (match[0].count("\n") - 1) or " "


def _folded(lines: list[str]) -> str:
    """A folded block scalar's lines: single breaks are spaces, empty lines breaks."""
    text, gap = "", 0
    for line in lines:
        if not line:
            gap += 1
            continue
        text += ("\n" * gap if gap else " " if text else "") + line
        gap = 0
    return text + "\n" * (gap + bool(text))
