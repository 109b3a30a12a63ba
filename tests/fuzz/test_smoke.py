"""The campaign's areas work, each by a few inputs. `make fuzz` is the campaign."""

import itertools

import pytest
from tests.fuzz.area import Hang, bounded
from tests.fuzz.campaign import AREAS, FULL, attempt

INPUTS = 4


@pytest.mark.parametrize("name", AREAS)
def test_a_few_inputs_do_no_harm(name):
    batch = attempt(name, 1, INPUTS)
    assert not batch.failure
    assert 1 <= batch.inputs <= INPUTS


def test_a_full_run_has_enough_inputs():
    assert sum(area.quota for area in AREAS.values()) >= FULL


def test_what_hangs_is_found():
    with pytest.raises(Hang, match="CPU"), bounded(cpu=0.05):
        sum(1 for _ in itertools.count())


def test_a_failure_is_told_with_its_seed_and_fails_the_run(monkeypatch):
    monkeypatch.setitem(AREAS, "YAML subset", AREAS["HTTP answers"])
    assert not attempt("YAML subset", 1, INPUTS).failure
    monkeypatch.setattr("tests.fuzz.replies.judge_outcome", lambda *_: pytest.fail("it shows"))
    batch = attempt("YAML subset", 1, INPUTS)
    assert "it shows" in batch.failure
    assert batch.seed == 1
