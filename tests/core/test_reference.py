"""docs/reference.md names every field of every resource and kind; `make check` holds the file to it."""

import pytest

from pipebell.core.fields import traits
from pipebell.core.models import KINDS, NotificationConfigSpec
from pipebell.core.reference import reference

PAGE = reference()


def section(title):
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_every_kind_has_a_row(kind):
    text = section(f"Kind `{kind}`: {KINDS[kind].title}")
    for trait in traits(KINDS[kind].spec).values():
        assert (f"| `{trait.camel}` |" in text) is not trait.root_only


def test_a_row_says_type_default_origin_limits_and_meaning():
    rows = section("Kind `email`: E-mail")
    assert "| `smtpPort` | number | 587 | endpoint | 1 to 65535 | SMTP port; 465 means TLS from the start. |" in rows
    assert "| `toEmails` | list of text |  | with the endpoint | 100 items, each 320 characters |" in rows
    assert "| `enabled` | true or false | yes | yes |  |" in rows


def test_what_is_never_inherited_says_so():
    rows = section("NotificationConfig")
    for name in ("orgSlug", "enabled", "secretRef", "eventNamespaces"):
        (row,) = [line for line in rows.splitlines() if line.startswith(f"| `{name}` |")]
        assert row.split(" | ")[3] == "no"


def test_every_field_of_a_configuration_is_there():
    rows = section("NotificationConfig")
    for trait in traits(NotificationConfigSpec).values():
        assert (f"| `{trait.camel}`" in rows) is (trait.camel not in KINDS)


def test_roots_own_fields_stand_by_themselves():
    assert "`recipientDomains`" in section("Root alone")
    assert "`namespaces`" in section("Root alone")
