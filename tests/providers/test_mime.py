import email
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipebell.core.render.text import one_line
from pipebell.providers import mime

lines = st.text(max_size=300).map(lambda text: one_line(text, 250)).filter(bool)
tricky = st.lists(st.sampled_from(["=?utf-8?q?=0d=0aBcc:_x?=", " ", "  ", "x" * 70, "é", "😀", '"', "\\", ","])).map(
    "".join
)


def reread(**headers):
    raw = mime.message({name.replace("_", "-"): value for name, value in headers.items()}, "t", "h").as_bytes()
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    return email.message_from_bytes(raw, policy=default)


@given(lines | tricky.map(lambda text: one_line(text, 250)).filter(bool))
def test_words_come_back_and_bring_no_header(text):
    message = reread(Subject=mime.words(text))
    assert str(message["Subject"]) == text
    assert message.keys() == ["Subject", "MIME-Version", "Content-Type"]


@given(lines | tricky.map(lambda text: one_line(text, 200)).filter(bool))
def test_names_come_back(name):
    message = reread(From=mime.mailbox(name, "a@example.com"))
    (address,) = message["From"].addresses
    assert address.addr_spec == "a@example.com"
    # To this parser runs of spaces are one, and two encoded words have a space between them.
    assert "".join(address.display_name.split()) == "".join(name.split())


def test_without_a_name():
    assert mime.mailbox(None, "a@example.com") == "a@example.com"


def test_many_addresses_on_lines_of_their_own():
    addresses = [f"{'x' * 60}{number}@{'y' * 60}.example.com" for number in range(100)]
    assert [address.addr_spec for address in reread(To=mime.mailboxes(addresses))["To"].addresses] == addresses


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain", "quoted-printable"),
        ("x" * 5000, "quoted-printable"),
        (".\n..\nFrom x\ntrailing \t\n=\n=_pipebell\n--=_pipebell--\n", "quoted-printable"),
        ("Größe der Tabelle " * 20, "quoted-printable"),
        ("خطأ " * 500, "base64"),
        ("😀" * 32_768, "base64"),
        ("\ud800", "quoted-printable"),
    ],
)
def test_bodies_come_back(text, encoding):
    raw = mime.message({}, text, text).as_bytes()
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 78
    message = email.message_from_bytes(raw, policy=default)
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    for part in message.iter_parts():
        assert part["Content-Transfer-Encoding"] == encoding
        assert part.get_content().replace("\r\n", "\n").rstrip("\n") == text.replace("\ud800", "?").rstrip("\n")


@given(st.text(max_size=2000))
def test_any_body_is_seven_bits_in_short_lines(text):
    raw = mime.message({}, text, text).as_bytes()
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 78


@given(lines, st.text(max_size=500).map("{}$".format), st.text(alphabet="a\r\n.= \t", max_size=60).map("{}$\n".format))
def test_what_goes_over_the_wire_is_what_the_standard_library_would_write(subject, text, html):
    made = mime.message({"Subject": mime.words(subject), "To": mime.mailboxes(["a@b.io", "c@d.io"])}, text, html)
    assert mime.wire(made) == made.as_bytes()
