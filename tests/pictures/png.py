"""Makes a browser's picture small: without the empty end of the page, and with at most 256 colours."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = {2: 3, 6: 4}  # by colour type: RGB, and RGB with alpha
_MARGIN: Final = 16  # rows that stay below the last one with anything on it
_MOST: Final = 256


def smaller(png: bytes) -> bytes:
    """The same picture. Raises ValueError for what a browser does not make (8 bits, RGB, not interlaced)."""
    width, rows = _pixels(png)
    background = rows[-1][:3]
    while len(rows) > 1 and rows[-1] == background * width:
        rows.pop()
    rows += [background * width] * _MARGIN
    for bits in range(8, 0, -1):  # what shades of grey text has is what there are most of
        table = bytes(_rounded(value, bits) for value in range(256))
        shades = [row.translate(table) for row in rows]
        colours = Counter(row[at : at + 3] for row in shades for at in range(0, len(row), 3))
        if len(colours) <= _MOST:
            break
    palette = {colour: number for number, (colour, _) in enumerate(colours.most_common())}
    lines = (bytes(palette[row[at : at + 3]] for at in range(0, len(row), 3)) for row in shades)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, len(rows), 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(palette)),
        (b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines), 9)),
        (b"IEND", b""),
    )
    return _SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def _rounded(value: int, bits: int) -> int:
    steps = (1 << bits) - 1
    return round(round(value * steps / 255) * 255 / steps)


def _pixels(png: bytes) -> tuple[int, list[bytes]]:
    """The width, and each row as RGB."""
    chunks = list(_chunks(png))
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if depth != 8 or colour not in _CHANNELS or interlaced:
        raise ValueError("not a picture as a browser makes one")
    data, size = zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT")), _CHANNELS[colour]
    rows, above, length = [], bytearray(width * size), width * size + 1
    for at in range(0, height * length, length):
        above = _unfiltered(data[at], bytearray(data[at + 1 : at + length]), above, size)
        rows.append(bytes(above) if size == 3 else b"".join(above[x : x + 3] for x in range(0, len(above), 4)))
    return width, rows


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12


def _unfiltered(kind: int, row: bytearray, above: bytearray, size: int) -> bytearray:
    """A row as it was before its filter (PNG specification, 9.2)."""
    for at in range(len(row) if kind else 0):
        left = row[at - size] if at >= size else 0
        corner = above[at - size] if at >= size else 0
        guess = (0, left, above[at], (left + above[at]) // 2, _nearest(left, above[at], corner))[kind]
        row[at] = (row[at] + guess) & 255
    return row


def _nearest(left: int, above: int, corner: int) -> int:
    distances = (abs(above - corner), abs(left - corner), abs(left + above - 2 * corner))
    return (left, above, corner)[distances.index(min(distances))]
