"""Each e-mail, letter by letter."""

from pathlib import Path

import pytest
from tests.core.golden import compare
from tests.core.messages import CASES

from pipebell.core.render.email import email_content
from pipebell.core.vocabulary import EventType

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("case", CASES)
def test_email(case, notify):
    content = email_content(notify(**CASES[case]), "[CloudAct]")
    compare(GOLDEN / f"{case}.txt", f"Subject: {content.subject}\n\n{content.text}")
    compare(GOLDEN / f"{case}.html", content.html)


def test_every_type_of_event_has_its_golden_files():
    assert set(CASES) >= set(EventType)
