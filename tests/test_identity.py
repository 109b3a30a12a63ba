"""A name that no other living process has, and that a successor gets again, however its predecessor ended."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from pipebell.identity import claim

CHILD = """
import sys, time
from pipebell.identity import claim
print(claim("k", sys.argv[1]).name, flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


@pytest.fixture
def other(folder):
    """Another process that has claimed a name."""
    process = subprocess.Popen([sys.executable, "-c", CHILD, folder], stdout=subprocess.PIPE, text=True)
    process.claimed = process.stdout.readline().strip()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_successor_has_the_name_again(folder):
    first = claim("k", folder)
    first.close(keep=True)
    second = claim("k", folder)
    assert second.name == first.name
    second.close()


def test_whoever_has_given_everything_back_leaves_nothing(folder, tmp_path):
    claim("k", folder).close()
    assert list(tmp_path.iterdir()) == []


def test_two_at_the_same_time_never_share_one(folder, other):
    mine = claim("k", folder)
    assert other.claimed
    assert mine.name != other.claimed
    mine.close()


def test_a_process_that_is_killed_leaves_its_name_to_the_next_one(folder, other):
    other.kill()
    other.wait()
    mine = claim("k", folder)
    assert mine.name == other.claimed
    mine.close()


def test_another_cluster_has_other_names(folder):
    first, second = claim("a", folder), claim("b", folder)
    assert first.name != second.name
    first.close()
    second.close()


def test_the_name_fits_into_the_name_and_the_labels_of_a_lease(folder, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Some_Host." + "x" * 80)
    identity = claim("k", folder)
    assert re.fullmatch(r"some-host-x+-[0-9a-f]{6}", identity.name)
    assert len(identity.name) <= 63
    identity.close()


@pytest.mark.parametrize("written", [b"", b"\xff\xfe", b"Not/A/Name", b"x" * 200])
def test_a_file_that_holds_no_name_gets_one(folder, tmp_path, written):
    first = claim("k", folder)
    first.close(keep=True)
    (path,) = tmp_path.iterdir()
    path.write_bytes(written)
    again = claim("k", folder)
    again.close(keep=True)
    assert again.name != first.name
    last = claim("k", folder)
    assert last.name == again.name
    last.close()


def test_somebody_elses_link_is_not_followed(folder, tmp_path):
    first = claim("k", folder)
    first.close(keep=True)
    (path,) = tmp_path.iterdir()
    target = tmp_path / "target"
    path.unlink()
    path.symlink_to(target)
    assert claim("k", folder).lock is None
    assert not target.exists()


def test_without_a_folder_to_write_to_the_name_dies_with_the_process(tmp_path):
    one, two = (claim("k", str(tmp_path / "missing")) for _ in range(2))
    assert one.name != two.name
    assert one.lock is None
    one.close()
