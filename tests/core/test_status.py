"""What is written on resources."""

from __future__ import annotations

from pipebell.core.status import clip


def test_texts_are_clipped_visibly():
    assert clip("x" * 1025).endswith(" …")
    assert len(clip("x" * 5000)) == 1024
