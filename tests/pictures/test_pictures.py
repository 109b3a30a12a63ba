"""The pictures of docs/destinations show what is sent now; no browser is needed to know that."""

import json
import re
import struct
import zlib

import pytest
from tests.pictures.pages import IMAGES, PICTURED, RECORD, ROOT, WIDTH, fingerprint, page
from tests.pictures.png import smaller

from pipebell.core.models import KINDS

MOST = 40_960  # bytes of a picture: a clone carries them for good


@pytest.mark.parametrize("kind", PICTURED)
def test_each_kinds_page_has_its_picture(kind):
    text = (ROOT / f"docs/destinations/{kind}.md").read_text(encoding="utf-8")
    shown = re.findall(r"!\[([^\]]+)\]\(\.\./images/([\w.]+)\)", text)
    assert [file for _, file in shown] == [f"{kind}.png"]
    assert len(shown[0][0].split()) >= 5, "the picture's words for those who do not see it"


@pytest.mark.parametrize("kind", PICTURED)
def test_no_picture_shows_what_is_not_sent_any_more(kind):
    recorded = json.loads(RECORD.read_text(encoding="utf-8"))
    assert recorded.get(kind) == fingerprint(kind), f"docs/images/{kind}.png is out of date: run `make screenshots`"


@pytest.mark.parametrize("kind", PICTURED)
def test_a_picture_is_one_and_is_small(kind):
    png = (IMAGES / f"{kind}.png").read_bytes()
    assert len(png) <= MOST
    width, height, depth, colour = struct.unpack_from(">IIBB", png, 16)
    assert (png[:8], width, depth, colour) == (b"\x89PNG\r\n\x1a\n", WIDTH, 8, 3)
    assert 50 < height < 1600


def test_there_are_no_others():
    assert {file.stem for file in IMAGES.glob("*.png")} == set(PICTURED)


@pytest.mark.parametrize("kind", PICTURED)
def test_a_page_has_everything_that_there_is_to_read(kind):
    for part in ("nightly-orders-load", "acme_corp", "load_orders"):
        assert part in page(kind).replace("\\\\_", "_")


def test_no_page_shows_a_secret():
    for kind in PICTURED:
        for value in map(str, KINDS[kind].example.values()):
            assert not value.startswith(("https://", "xoxb")) or value not in page(kind)
    assert KINDS["pagerduty"].example["routingKey"] not in page("pagerduty")


def _png(rows, filters, *, alpha=False):
    """A picture whose rows are lists of pixels, each filtered: 0 not at all, 1 by the left, 2 by what is above."""
    size, above, data = 4 if alpha else 3, None, b""
    for row, kind in zip(rows, filters, strict=True):
        flat = [value for pixel in row for value in (*pixel, 255)[:size]]
        above = above or [0] * len(flat)
        before = {0: [0] * len(flat), 1: [0] * size + flat, 2: above}[kind]
        data += bytes([kind, *((value - less) % 256 for value, less in zip(flat, before, strict=False))])
        above = flat
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 6 if alpha else 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


@pytest.mark.parametrize("alpha", [False, True])
def test_a_smaller_picture_is_the_same_one_without_its_empty_end(alpha):
    white, red, blue = (255, 255, 255), (200, 0, 0), (0, 0, 200)
    rows = [[white, red, blue], [red, red, white], [blue, white, red], *[[white] * 3] * 40]
    made = smaller(_png(rows, [0, 1, 2] + [2] * 40, alpha=alpha))
    assert struct.unpack_from(">II", made, 16) == (3, 3 + 16)
    palette = made[made.index(b"PLTE") + 4 :]
    at = made.index(b"IDAT")
    lines = zlib.decompress(made[at + 4 : at + 4 + struct.unpack_from(">I", made, at - 4)[0]])
    pixels = [[tuple(palette[3 * n : 3 * n + 3]) for n in lines[at + 1 : at + 4]] for at in range(0, len(lines), 4)]
    assert pixels == rows[: 3 + 16]


def test_what_no_browser_makes_is_refused():
    with pytest.raises(ValueError, match="not a picture"):
        smaller(smaller(_png([[(1, 2, 3)]], [0])))
