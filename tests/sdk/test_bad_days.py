"""What pipelines do to the SDK on bad days: it never raises, never hangs beyond its timeout, never loses silently."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

from pipebell.sdk import factory, sanitise, sender
from pipebell.sdk.access import Endpoint
from pipebell.sdk.api import Api
from pipebell.sdk.delivery import State
from pipebell.sdk.factory import get_notification_service, make_service
from pipebell.sdk.run import DataQualityError, pipeline_run
from pipebell.sdk.sender import Sender
from pipebell.sdk.service import NotificationService
from pipebell.sdk.spool import Spool


class Slow:
    """Its text takes longer than anybody waits."""

    def __init__(self, seconds=4.0):
        self.seconds = seconds

    def __str__(self):
        time.sleep(self.seconds)
        return "a data frame, computed when shown"


class SlowError(Exception):
    __str__ = Slow.__str__

    def __init__(self):
        super().__init__()
        self.seconds = 4.0


# --- texts that take time


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        {"details": {"frame": Slow(), "rows": 7}},
        {"error_message": SlowError(), "details": {"rows": 7}},
        {"pipeline_id": Slow(), "details": {"rows": 7}},
        {"links": [(Slow(), "https://ci/1")], "details": {"rows": 7}},
        {"details": {"rows": 7, "deep": [{"x": (Slow(),)}]}},
    ],
)
async def test_a_text_that_takes_its_time_holds_nobody(given, blocking, fake, service_for):
    service = service_for(fake.url, timeout=1.0)
    began = time.monotonic()
    call = service.sync.notify_pipeline_failure if blocking else service.notify_pipeline_failure
    receipt = await asyncio.to_thread(call, "acme", **given) if blocking else await call("acme", **given)
    assert time.monotonic() - began < 3.5
    assert receipt.state is State.SENT
    assert fake.events[receipt.name]["spec"]["details"]["rows"] == 7


async def test_a_text_that_is_ready_in_time_is_told_whole(fake, service_for):
    receipt = await service_for(fake.url, timeout=4.0).notify_pipeline_failure("acme", details={"frame": Slow(0.2)})
    assert fake.events[receipt.name]["spec"]["details"] == {"frame": "a data frame, computed when shown"}


async def test_the_loop_goes_on_meanwhile(fake, service_for):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await service_for(fake.url, timeout=2.0).notify_pipeline_failure("acme", details={"frame": Slow(0.5)})
    ticking.cancel()
    assert ticks > 3


async def test_a_cancelled_caller_whose_texts_are_not_ready_loses_nothing(fake, service_for, eventually):
    service = service_for(fake.url, timeout=5)
    task = asyncio.create_task(service.notify_pipeline_failure("acme", details={"frame": Slow(0.5)}))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    eventually(lambda: fake.events)


@pytest.mark.parametrize(
    "huge",
    [
        {"big": [dict.fromkeys(range(3_000_000), "x")] * 50},
        {"empty": [[]] * 10_000_000},
        {"nested": [[[]] * 100_000] * 100_000},
        {"set": set(range(3_000_000))},
        {"bytes": b"x" * 200_000_000},
        {"number": 10**100_000},
    ],
    ids=["dicts", "empty", "nested", "set", "bytes", "number"],
)
def test_what_is_huge_is_cut_in_no_time(huge):
    began = time.process_time()
    text = json.dumps(sanitise.details(huge), ensure_ascii=False)
    assert time.process_time() - began < 3.0
    assert len(text) < 3 * sanitise.MAX_SIZE


def repr_of(value):
    return type(value).__name__


class OwnZone(tzinfo):
    def utcoffset(self, _):
        return timedelta(hours=1)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"a": [1, "x", None, 1.5, (True,)]}, True),
        (ValueError("x"), True),
        (UUID(int=1), True),
        (Decimal(1), True),
        (datetime(2026, 1, 1), True),  # noqa: DTZ001  (a pipeline's)
        (datetime(2026, 1, 1, tzinfo=OwnZone()), False),
        (Slow(), False),
        (ValueError(Slow()), False),
        (SlowError(), False),
        ({"a": [Slow()]}, False),
        ({Slow(): 1}, False),
        (10**10_000, False),
        (list(range(5_000)), False),
    ],
    ids=repr_of,
)
def test_whose_code_it_needs(value, plain):
    assert sanitise.is_plain(value) is plain


# --- arguments


@pytest.mark.parametrize(
    "wrong",
    [
        {"links": 5}, {"links": "x"}, {"links": [5, None, ("a",)]}, {"links": {1: 2}},
        {"occurred_at": datetime(1, 1, 1)},  # noqa: DTZ001  (a pipeline's)
        {"occurred_at": "yesterday"}, {"occurred_at": 7},
        {"timeout": "soon"}, {"timeout": float("nan")}, {"timeout": -1}, {"timeout": float("inf")}, {"timeout": []},
        {"severity": 7}, {"severity": []}, {"details": 5}, {"details": object()}, {"error_message": b"\xff"},
        {"pipeline_id": 7}, {"pipeline_id": object()}, {"dedup_key": object()}, {"dedup_key": 7}, {"wait": "yes"},
        {"nonsense": 1},
    ],
)  # fmt: skip
async def test_a_wrong_argument_costs_nothing_but_itself(wrong, fake, service_for, eventually):
    service = service_for(fake.url)
    for receipt in (
        await service.notify_pipeline_failure("acme", error_message=wrong.pop("error_message", "boom"), **wrong),
        await asyncio.to_thread(service.sync.notify_pipeline_failure, "acme", **wrong),
    ):
        assert receipt.state is State.SENT
        assert fake.events[receipt.name]["spec"]["orgSlug"] == "acme"


async def test_an_argument_that_there_is_not_is_said(fake, service_for, caplog):
    receipt = await service_for(fake.url).notify_pipeline_failure("acme", dedup_kee="x", ownr="y")
    assert receipt.state is State.SENT
    assert "dedup_kee, ownr left out: there are no such arguments" in caplog.text


def test_nor_do_a_services(tmp_path, monkeypatch):
    monkeypatch.setenv("PIPEBELL_SPOOL_DIR", str(tmp_path))
    for wrong in (
        {"timeout": "soon"},
        {"namespace": 5},
        {"kubeconfig": 5},
        {"context": []},
        {"spool": 5},
        {"timeout": []},
    ):
        service = get_notification_service(**({"spool": str(tmp_path), "kubeconfig": "/nowhere"} | wrong))
        assert service.sync.notify_pipeline_failure("acme", timeout=1).state in (State.SPOOLED, State.LOST)


@pytest.mark.parametrize("org", [None, ""])
async def test_an_event_of_nobody_is_said_and_kept(org, fake, service_for, spool, caplog, monkeypatch, eventually):
    monkeypatch.delenv("PIPEBELL_ORG", raising=False)
    service = service_for(fake.url)
    receipt = await service.notify_pipeline_failure(org, error_message="boom")
    assert (receipt.state, receipt.reason) == (State.REJECTED, "org_slug is missing: give it, or set PIPEBELL_ORG")
    assert receipt.reason in caplog.text
    eventually(lambda: spool.rejected() == 1)
    assert (fake.requests, len(spool)) == ([], 0)
    monkeypatch.setenv("PIPEBELL_ORG", "acme_corp")
    receipt = await service.notify_pipeline_failure(org)
    assert fake.events[receipt.name]["spec"]["orgSlug"] == "acme_corp"


async def test_a_namespace_is_escaped(fake, service_for):
    service = service_for(fake.url)
    service._namespace = "a/../b?c"
    await service.notify_pipeline_failure("acme")
    assert fake.requests[0][1] == "/apis/pipebell.io/v1alpha1/namespaces/a%2F..%2Fb%3Fc/pipelineevents"


# --- without waiting; the same event once


async def test_a_call_that_does_not_wait_at_all(fake, service_for, eventually):
    fake.delay = 2.0
    service = service_for(fake.url)
    began = time.monotonic()
    receipts = [
        await service.notify_pipeline_failure("acme", details={"frame": Slow(2.0)}, wait=False),
        service.sync.notify_pipeline_failure("acme", wait=False, timeout=5),
    ]
    assert time.monotonic() - began < 1.5
    assert [receipt.state for receipt in receipts] == [State.PENDING] * 2
    eventually(lambda: set(fake.events) == {receipt.name for receipt in receipts})


def test_what_nobody_waited_for_is_kept_at_the_programs_end(tmp_path, silent):
    config = tmp_path / "config"
    config.write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: a, namespace: team}}]\n"
        f"clusters: [{{name: a, cluster: {{server: '{silent}'}}}}]\n"
    )
    code = (
        "import sys, time\nfrom pipebell import get_sync_notification_service\n"
        "class Slow:\n    def __str__(self): time.sleep(30)\n"
        "service = get_sync_notification_service(kubeconfig=sys.argv[1], spool=sys.argv[2])\n"
        "service.notify_pipeline_failure('acme', 'one', wait=False)\n"
        "service.notify_pipeline_failure('acme', 'two', details={'x': Slow()}, wait=False)\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code, config, tmp_path / "spool"], check=True, timeout=60)
    assert time.monotonic() - began < 25, "and not the text's 30 s"
    kept = list(Spool(tmp_path / "spool").waiting())
    assert sorted(item.record.spec["pipelineId"] for item in kept) == ["one", "two"]
    assert {(item.server, item.record.namespace) for item in kept} == {(silent, "team")}


async def test_a_dedup_key_is_one_event(fake, service_for):
    service = service_for(fake.url)
    same = [await service.notify_pipeline_failure("acme", "p", f"r{n}", dedup_key="2026-01-01") for n in range(3)]
    assert {receipt.state for receipt in same} == {State.SENT}
    assert {receipt.name for receipt in same} == set(fake.events)
    others = [
        await service.notify_pipeline_failure("acme", "q", dedup_key="2026-01-01"),
        await service.notify_pipeline_failure("other", "p", dedup_key="2026-01-01"),
        await service.notify_pipeline_success("acme", "p", dedup_key="2026-01-01"),
        await service.notify_pipeline_failure("acme", "p", dedup_key="2026-01-02"),
        await service.notify_pipeline_failure("acme", UUID(int=1), dedup_key="2026-01-01"),
        await service.notify_pipeline_failure("acme", UUID(int=2), dedup_key="2026-01-01"),
    ]
    assert len(fake.events) == 1 + len(others)
    assert same[0].name == "acme-pipeline-failure-" + same[0].name[-12:]


# --- threads, signals, forks


def test_where_no_thread_can_be_started_events_are_on_disk(fake, service_for, spool, monkeypatch, eventually):
    real, allowed = sender._start_thread, [0]

    def start(name, work):
        if not allowed[0]:
            raise RuntimeError("can't start new thread")
        real(name, work)

    monkeypatch.setattr(sender, "_start_thread", start)
    service = service_for(fake.url, longest_wait=0.1, place="here").sync
    for given in ({}, {"details": {"x": Slow()}}):
        began = time.monotonic()
        receipt = service.notify_pipeline_failure("acme", **given)
        assert time.monotonic() - began < 3.5
        assert (receipt.state, "no thread can be started" in receipt.reason) == (State.SPOOLED, True)
    assert len(spool) == 2
    allowed[0] = 1
    service.notify_pipeline_failure("acme")
    eventually(lambda: len(fake.events) == 3 and len(spool) == 0)


@pytest.fixture
def everybodys():
    """A folder that another user reaches; above tmp_path, pytest's next process takes such rights away again."""
    with tempfile.TemporaryDirectory(prefix="pipebell-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_real_limit_of_processes(everybodys):
    code = (
        "import resource, sys, os\nfrom pipebell import get_sync_notification_service\n"
        "service = get_sync_notification_service(kubeconfig='/nowhere', spool=sys.argv[1])\n"
        "if os.getuid() == 0: os.setuid(65533)\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\n"
        "print(service.notify_pipeline_failure('acme').state)\n"
    )
    spool = everybodys / "spool"
    spool.mkdir()
    spool.chmod(0o777)
    os.chown(spool, 65533, -1) if os.getuid() == 0 else None
    command = [sys.executable, "-c", code, spool]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "spooled\n", done.stderr
    assert len(list(spool.glob("*.json"))) == 1


SIGNALLED = """
import os, signal, sys, time, threading
from pipebell import get_sync_notification_service
service = get_sync_notification_service(kubeconfig=sys.argv[1], spool=sys.argv[2], timeout=10)
told = []
def handler(*_):
    told.append(service.notify_pipeline_failure("acme", error_message="terminated").state)
signal.signal(signal.SIGTERM, handler)
def shoot():
    for _ in range(40):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.003)
threading.Thread(target=shoot).start()
mine = [service.notify_pipeline_failure("acme", error_message="mine").state for _ in range(60)]
time.sleep(0.2)
print(set(mine + told), len(told) > 0)
"""


def kubeconfig(url, path):
    path.write_text(
        "current-context: a\ncontexts: [{name: a, context: {cluster: a, namespace: team}}]\n"
        f"clusters: [{{name: a, cluster: {{server: '{url}'}}}}]\n"
    )
    return path


def test_a_signals_handler_may_notify_at_any_moment(fake, tmp_path):
    command = [sys.executable, "-c", SIGNALLED, kubeconfig(fake.url, tmp_path / "config"), tmp_path / "spool"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "{<State.SENT: 'sent'>} True\n", done.stderr


def test_a_handler_that_comes_while_threads_are_started(fake, service_for, monkeypatch):
    service = service_for(fake.url).sync
    told = []
    before = signal.signal(signal.SIGUSR1, lambda *_: told.append(service.notify_pipeline_failure("acme").state))
    real, fired = sender._start_thread, []

    def start(name, work):
        if not fired and name == "pipebell-keep":
            fired.append(True)
            os.kill(os.getpid(), signal.SIGUSR1)
        real(name, work)

    monkeypatch.setattr(sender, "_start_thread", start)
    try:
        assert service.notify_pipeline_failure("acme").state is State.SENT
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert told == [State.SENT]


def test_a_child_forked_while_a_service_is_made_makes_its_own(fake, tmp_path, monkeypatch):
    code = (
        "import os, sys, threading, time\nfrom pipebell.sdk import factory\nreal = factory.make_service\n"
        "def slow(**given): time.sleep(0.5); return real(**given)\nfactory.make_service = slow\n"
        "given = {'kubeconfig': sys.argv[1], 'spool': sys.argv[2]}\n"
        "threading.Thread(target=lambda: factory.get_notification_service(**given)).start()\ntime.sleep(0.1)\n"
        "child = os.fork()\n"
        "state = factory.get_notification_service(**given).sync.notify_pipeline_failure('acme', timeout=10).state\n"
        "if not child: os._exit(0 if state == 'sent' else 1)\n"
        "print(state, os.waitpid(child, 0)[1])\n"
    )
    command = [sys.executable, "-c", code, kubeconfig(fake.url, tmp_path / "config"), tmp_path / "spool"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "sent 0\n", done.stderr


def test_a_log_that_fails_harms_nobody(fake, service_for):
    class Broken(logging.Handler):
        def emit(self, _):
            raise RuntimeError("reentrant call")

    logger, handler = logging.getLogger("pipebell"), Broken()
    logger.addHandler(handler)
    try:
        receipt = service_for(fake.url).sync.notify_pipeline_failure("acme", severity="nonsense", timeout="soon")
    finally:
        logger.removeHandler(handler)
    assert receipt.state is State.SENT


def test_a_home_folder_that_hangs(silent, monkeypatch, caplog):
    monkeypatch.setattr(factory, "default_folder", lambda _: time.sleep(3))
    monkeypatch.setattr(factory, "find", lambda *_: time.sleep(3))
    began = time.monotonic()
    service = make_service(timeout=0.4)
    receipt = service.sync.notify_pipeline_failure("acme")
    assert time.monotonic() - began < 2.5
    assert receipt.state is State.PENDING
    service._sender.close(0.3)
    assert "is lost, or late: neither API server nor disk answered" in caplog.text


# --- runs


class QuietError(Exception):
    pass


@pytest.mark.parametrize("details", [None, 5, [1], "text", {"rows": 1}])
async def test_a_runs_details_may_be_anything(details, fake, service_for):
    async with pipeline_run("acme", "p", service=service_for(fake.url), on_success=True, details=details) as run:
        run.details = details
    (event,) = fake.events.values()
    assert event["spec"]["event"] == "pipeline_success"


@pytest.mark.parametrize("wrong", [{"timeout": "soon"}, {"links": 5}, {"pipeline_logging_id": 5}, {"details": 5}])
async def test_nothing_is_raised_into_a_run(wrong, fake, service_for):
    async def work():
        async with pipeline_run("acme", "p", service=service_for(fake.url), **wrong) as run:
            await run.data_quality(failed=5)
            await run.data_quality(failed="no_nulls", details=7)
            await run.data_quality(failed=None)
            raise QuietError

    with pytest.raises(QuietError):
        await work()
    events = [event["spec"]["event"] for event in fake.events.values()]
    assert events == ["data_quality_failure", "data_quality_failure", "pipeline_failure"]
    messages = [event["spec"]["errorMessage"] for event in fake.events.values()]
    assert messages[1] == "data quality checks failed: no_nulls"


async def test_a_run_ends_in_time_though_its_exceptions_text_does_not(fake, service_for):
    began = time.monotonic()
    with pytest.raises(SlowError):
        async with pipeline_run("acme", "p", service=service_for(fake.url, timeout=1.0)):
            raise SlowError
    assert time.monotonic() - began < 3.5
    (event,) = fake.events.values()
    assert event["spec"]["details"]["exception"].endswith("SlowError")


async def test_a_data_quality_error_with_odd_details(fake, service_for):
    error = DataQualityError("bad")
    error.details = 5
    with pytest.raises(DataQualityError):
        async with pipeline_run("acme", "p", service=service_for(fake.url)):
            raise error
    (event,) = fake.events.values()
    assert event["spec"]["errorMessage"] == "bad"


def test_many_threads_make_one_service(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(get_notification_service(spool=str(tmp_path)))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1


def test_a_namespace_and_place_from_the_environment(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPEBELL_NAMESPACE_FOR_EVENTS", "elsewhere")
    path = kubeconfig(fake.url, tmp_path / "config")
    service = get_notification_service(kubeconfig=str(path), spool=str(tmp_path / "spool"))
    service.sync.notify_pipeline_failure("acme", timeout=10)
    named = get_notification_service(kubeconfig=str(path), spool=str(tmp_path / "spool"), namespace="named")
    named.sync.notify_pipeline_failure("acme", timeout=10)
    assert [request[1].split("/")[5] for request in fake.requests] == ["elsewhere", "named"]


def test_a_token_with_a_line_break_inside_is_in_no_message(spool, caplog):
    endpoint = Endpoint("http://127.0.0.1:9", "team", lambda: "TOP\nSECRET")
    service = NotificationService(Sender(Api(lambda: endpoint), spool), timeout=1.0)
    with caplog.at_level(logging.DEBUG):
        receipt = service.sync.notify_pipeline_failure("acme")
    assert receipt.state is State.SPOOLED
    assert "SECRET" not in f"{receipt}{caplog.text}{endpoint!r}"
