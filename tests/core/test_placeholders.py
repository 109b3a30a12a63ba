"""Values that are no UTF-8 are named as such, and wait: a Secret made of a UTF-16 file, an environment in latin-1."""

import os

import pytest

from pipebell.core.errors import NotReady
from pipebell.core.fields import Fillable
from pipebell.core.placeholders import Environment, OrgSecrets, fill
from pipebell.core.vocabulary import NotReadyReason

BYTES = {
    "UTF-16 with a mark": "päss".encode("utf-16"),
    "UTF-16 without": "pass".encode("utf-16-le"),
    "latin-1": "päss".encode("latin-1"),
    "bytes": bytes(range(256)),
    "cut in a letter": "ä".encode()[:1],
}


@pytest.mark.parametrize("kind", BYTES)
@pytest.mark.parametrize("whose", ["root's environment", "a Secret"])
def test_what_is_no_text_is_named_without_its_value(kind, whose):
    text = os.fsdecode(BYTES[kind]) if whose == "root's environment" else BYTES[kind].decode("utf-8", "surrogateescape")
    source = Environment({"P": text}) if whose == "root's environment" else OrgSecrets("s", {"s": {"P": text}})
    with pytest.raises(NotReady, match=r"email.smtpPassword: the value of \$\{P\} is not UTF-8 text") as caught:
        fill("${P}", Fillable(), source, "email.smtpPassword")
    assert caught.value.reason is NotReadyReason.MISSING_VARIABLE, "looked at again, since it is somebody else's to fix"
    str(caught.value).encode()


@pytest.mark.parametrize("value", ["päss", "密码", "pass word", "🔑", "a\tb"])
def test_any_text_is_taken(value):
    assert fill("${P}", Fillable(), Environment({"P": value}), "email.smtpPassword") == value
