"""Environment files as people have them: quotes, exports, spaces, `$`, several lines."""

import pytest

from pipebell.cli.dotenv import parse
from pipebell.core.errors import InvalidInput

NASTY = r"""
# a comment
PLAIN=value
export EXPORTED=value
  export   SPACED  =   value with spaces
TRAILING=value   # a comment
HASH=pa#ss#word
EMPTY=
EMPTY_TOO= # nothing
DOUBLE="a \"quoted\" \\ value\n\$HOME"   # a comment
SINGLE='a "quoted" $HOME \n ${X}'
SINGLE_ESCAPED='it\'s'
BACKSLASH='C:\dir\'
BACKTICK=`it's "all" \n literal`
DOLLAR=pa$$word${NOT_FILLED}$
EQUALS=a=b==
JSON={"a": "b"}
KEY="-----BEGIN KEY-----
abc=

def
-----END KEY-----
"
SINGLE_LINES='one
two # no comment'
dotted.name-1=x
UMLAUT=pässwörd
TWICE=first
TWICE=second
QUOTES_INSIDE=it's "fine"
NO_END=last"""
FOUND = {
    "PLAIN": "value",
    "EXPORTED": "value",
    "SPACED": "value with spaces",
    "TRAILING": "value",
    "HASH": "pa#ss#word",
    "EMPTY": "",
    "EMPTY_TOO": "",
    "DOUBLE": 'a "quoted" \\ value\n$HOME',
    "SINGLE": 'a "quoted" $HOME \\n ${X}',
    "SINGLE_ESCAPED": "it's",
    "BACKSLASH": "C:\\dir\\",
    "BACKTICK": 'it\'s "all" \\n literal',
    "DOLLAR": "pa$$word${NOT_FILLED}$",
    "EQUALS": "a=b==",
    "JSON": '{"a": "b"}',
    "KEY": "-----BEGIN KEY-----\nabc=\n\ndef\n-----END KEY-----\n",
    "SINGLE_LINES": "one\ntwo # no comment",
    "dotted.name-1": "x",
    "UMLAUT": "pässwörd",
    "TWICE": "second",
    "QUOTES_INSIDE": 'it\'s "fine"',
    "NO_END": "last",
}


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_it_is_read_as_it_is_meant(ends, mark):
    assert parse(mark + NASTY.replace("\n", ends)) == FOUND


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("A=1\nS3cret\n", "line 2: is not NAME=value"),
        ("A='S3cret\nB=2\n", "line 1: A: its quote is never closed"),
        ('A=1\n\nB="S3cret', "line 3: B: its quote is never closed"),
        ('A="S3cret"x\n', "line 1: A: something follows its closing quote"),
        ("1A=S3cret", "line 1: is not NAME=value"),
        ("A B=S3cret", "line 1: is not NAME=value"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_without_its_value(text, said):
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert said in str(caught.value)
    assert "S3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n\n", "# only\n#comments", "   "])
def test_nothing_is_nothing(text):
    assert parse(text) == {}
