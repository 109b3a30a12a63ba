"""`pipebell spool`: what waits is seen, sent to the right cluster, and dropped only when somebody says so."""

import json
import time

import pytest

from pipebell.sdk.record import make
from pipebell.sdk.spool import Spool


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


def keep(spool, pipeline, server="https://prod:6443", *, age=60, place=None):
    record = make("pipeline_failure", "acme_corp", created=time.time() - age, namespace="team", pipeline_id=pipeline)
    spool.put(record, server, place)
    return record.name


def test_an_empty_spool_says_so(cli):
    done = cli("spool", "ls")
    assert (done.code, done.out) == (0, "")
    assert "Nothing waits in" in done.err


def test_ls_shows_what_waits_and_for_whom(cli, spool):
    first, second = keep(spool, "daily\x1b[31m"), keep(spool, "hourly", None, age=7300)
    broken = spool.folder / "x.json"
    broken.write_text("{")
    done = cli("spool", "ls")
    assert done.code == 0
    header, older, newer = done.out.splitlines()
    assert header.split() == ["AGE", "NAMESPACE", "ORG", "EVENT", "PIPELINE", "CLUSTER", "NAME"]
    assert older.split() == ["2h", "team", "acme_corp", "pipeline_failure", "hourly", "unknown", second]
    assert newer.split()[0] == "1m"
    assert newer.endswith(first)
    assert "\x1b" not in done.out
    assert "1 set aside in" in done.err
    listed = cli("spool", "ls", "-o", "json").json
    assert [(item["name"], item["server"]) for item in listed] == [(second, None), (first, "https://prod:6443")]


def test_drop_asks_and_drops_what_is_named(cli, spool):
    first, second = keep(spool, "daily"), keep(spool, "hourly")
    refused = cli("spool", "drop", first)
    assert (refused.code, len(spool)) == (1, 2)
    assert "Say so with --yes" in refused.err
    assert cli("spool", "drop", first, "--yes").out == "1 dropped\n"
    assert [item.record.name for item in spool.waiting()] == [second]
    assert "no event nope in" in cli("spool", "drop", "nope", "-y").err
    assert cli("spool", "drop", "--all", "-y").code == 0
    assert len(spool) == 0


@pytest.mark.parametrize("wrong", [[], ["nope"], ["ls", "x"], ["drop"], ["drop", "x", "--all"], ["send", "x"]])
def test_wrong_usage(cli, wrong):
    done = cli("spool", *wrong)
    assert done.code == 2
    assert "Error:" in done.err


def test_nothing_goes_to_another_cluster_unless_somebody_says_so(on_stage, stage, place, spool):
    foreign, unknown = keep(spool, "foreign"), keep(spool, "unknown", None)
    mine = keep(spool, "mine", stage.cluster.url)
    for record in spool.waiting():  # they were meant for the fresh namespace
        document = json.loads(record.path.read_text())
        record.path.write_text(json.dumps(document | {"namespace": place}))

    done = on_stage("spool", "send")
    assert (done.code, done.out) == (1, "1 sent, 2 left\n")
    refused = on_stage("spool", "send", "--to-current-cluster")
    assert refused.code == 1
    assert "2 events that were meant for a cluster that was not known, https://prod:6443" in refused.err
    assert len(spool) == 2
    done = on_stage("spool", "send", "--to-current-cluster", "--yes")
    assert (done.code, done.out) == (0, "2 sent\n")
    found = {key for key in stage.items("pipelineevents") if key.startswith(f"{place}/")}
    assert found == {f"{place}/{name}" for name in (foreign, unknown, mine)}


def test_history_says_that_there_is_a_spool_here(on_stage, spool):
    assert "wait in the spool" not in on_stage("history").err
    keep(spool, "daily")
    done = on_stage("history", "acme_corp")
    assert done.code == 0
    assert "1 event waits in the spool of this machine" in done.err
    assert "pipebell spool ls" in done.err
