"""A MIME message in seven bits, by hand: RFC 5322 headers, RFC 2047 encoded words, RFC 2045 bodies.

`email` of the standard library can do this too, but parses and refolds every header for it (2.4 ms a message, eight
times as much as this), and writes an encoded word that stood in somebody's text as if it were its own.
"""

from __future__ import annotations

import base64
import binascii
import re
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Headers are stored the way they go out. While it writes a message, `email` parses each Content-Type again and again.
POLICY: Final = SMTP.clone(
    cte_type="7bit", refold_source="none", header_factory=lru_cache(maxsize=16)(HeaderRegistry().__call__)
)

_WORD_BYTES: Final = 36  # 60 characters as encoded word: with a header's name less than RFC 2047's 76 a line
_FOLD: Final = re.compile(r"(.{40,60}?) (?=\S)")
_BOUNDARY: Final = "=_pipebell"  # "=_" occurs neither in quoted-printable nor in base64


def message(headers: Mapping[str, str], text: str, html: str) -> EmailMessage:
    """A multipart/alternative message. `headers` are raw: made by `words`, `mailboxes`, or plainly harmless."""
    root = _node({**headers, "MIME-Version": "1.0", "Content-Type": f'multipart/alternative; boundary="{_BOUNDARY}"'})
    root.set_payload([_body("plain", text), _body("html", html)])
    return root


def wire(made: EmailMessage) -> bytes:
    """The message as it goes over the wire. `as_bytes` gives the same, in 0.2 ms more: it looks at every line."""
    lines = _written(made).replace("\r\n", "\n").replace("\r", "\n")
    return lines.replace("\n", "\r\n").encode("ascii")


def _written(node: MIMEPart) -> str:
    head = "".join(f"{name}: {value}\n" for name, value in node.raw_items())
    if not node.is_multipart():
        return f"{head}\n{node.get_payload()}"
    parts = "".join(f"--{_BOUNDARY}\n{_written(part)}\n" for part in node.iter_parts())
    return f"{head}\n{parts}--{_BOUNDARY}--\n"


def words(text: str) -> str:
    """One line of text as a header's value, folded (RFC 5322, 2.2.3)."""
    if text.isascii() and text.isprintable() and "=?" not in text:
        return _FOLD.sub("\\1\n ", text)
    return "\n ".join(f"=?utf-8?b?{base64.b64encode(chunk).decode()}?=" for chunk in _chunks(text))


def mailbox(name: str | None, address: str) -> str:
    """An address with the name to show (RFC 5322, 3.4)."""
    if not name:
        return address
    if name.isascii() and name.isprintable() and "=?" not in name:
        shown = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        shown = words(name)
    return f"{shown}\n <{address}>"


def mailboxes(addresses: Iterable[str]) -> str:
    """A list of addresses, one a line."""
    return ",\n ".join(addresses)


def _chunks(text: str) -> Iterable[bytes]:
    """UTF-8 in pieces that each hold whole characters (RFC 2047, 5)."""
    chunk = b""
    for letter in text:
        encoded = letter.encode(errors="replace")
        if len(chunk) + len(encoded) > _WORD_BYTES:
            yield chunk
            chunk = b""
        chunk += encoded
    yield chunk


def _body(subtype: str, text: str) -> EmailMessage:
    """Quoted-printable, which people can read in a message's source; base64 where most of it is not ASCII."""
    raw = text.encode(errors="replace")
    if len(raw) * 5 < len(text) * 6:
        encoding, payload = "quoted-printable", binascii.b2a_qp(raw, istext=True)
    else:
        encoding, payload = "base64", base64.encodebytes(raw)
    part = _node({"Content-Type": f'text/{subtype}; charset="utf-8"', "Content-Transfer-Encoding": encoding})
    part.set_payload(payload.decode("ascii"))
    return part


def _node(headers: Mapping[str, str]) -> EmailMessage:
    node = EmailMessage(POLICY)
    for name, value in headers.items():
        node.set_raw(name, value)
    return node
