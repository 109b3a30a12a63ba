"""The promise to pipelines: told when possible, kept when not, never in the way."""

import asyncio
import inspect
import logging
import os
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from pipebell.core.event import PipelineEventSpec
from pipebell.core.vocabulary import EventType
from pipebell.sdk.access import Endpoint, find
from pipebell.sdk.api import Api
from pipebell.sdk.delivery import State, empty
from pipebell.sdk.factory import get_notification_service
from pipebell.sdk.record import make
from pipebell.sdk.sender import Sender
from pipebell.sdk.service import NotificationService

FAILURE = {
    "org_slug": "acme_corp",
    "pipeline_id": "daily-orders",
    "pipeline_logging_id": "run-17",
    "error_message": "table missing",
    "details": {"step": "load"},
}

# What pipelines say of themselves; the other types are told by monitors and by the operator.
OF_PIPELINES = [
    EventType.PIPELINE_FAILURE,
    EventType.PIPELINE_SUCCESS,
    EventType.PIPELINE_STARTED,
    EventType.DATA_QUALITY_FAILURE,
    EventType.DATA_QUALITY_WARNING,
    EventType.RATE_LIMIT_EXCEEDED,
    EventType.SYSTEM_ERROR,
]


async def test_a_call_in_the_seeds_shape_creates_the_event(fake, service_for):
    receipt = await service_for(fake.url).notify_pipeline_failure(**FAILURE)

    assert receipt.state is State.SENT
    ((method, path, body),) = fake.requests
    assert (method, path) == ("POST", "/apis/pipebell.io/v1alpha1/namespaces/team-a/pipelineevents")
    assert body["metadata"]["name"] == receipt.name
    spec = body["spec"]
    assert spec.pop("occurredAt").endswith("Z")
    assert spec == {
        "orgSlug": "acme_corp",
        "event": "pipeline_failure",
        "pipelineId": "daily-orders",
        "pipelineLoggingId": "run-17",
        "errorMessage": "table missing",
        "details": {"step": "load"},
    }
    assert fake.tokens == ["Bearer secret-token"]


@pytest.mark.parametrize("event", OF_PIPELINES)
async def test_each_type_has_its_method_in_both_twins(event, fake, service_for):
    service = service_for(fake.url)
    more = {"links": {"Run": "https://ci/1"}, "severity": "CRITICAL", "occurred_at": datetime(2026, 1, 2, tzinfo=UTC)}

    await getattr(service, f"notify_{event}")(**FAILURE, **more, timeout=5)
    await asyncio.to_thread(getattr(service.sync, f"notify_{event}"), **FAILURE, **more, timeout=5)

    first, second = (body for _, _, body in fake.requests)
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert first["spec"] == second["spec"]
    parsed = PipelineEventSpec.model_validate(first["spec"])
    assert (parsed.event, parsed.severity, parsed.occurred_at) == (event, "critical", more["occurred_at"])
    assert parsed.links[0].title == "Run"


def test_the_seeds_argument_order_holds_for_every_method():
    for event in OF_PIPELINES:
        names = list(inspect.signature(getattr(NotificationService, f"notify_{event}")).parameters)
        assert names[1:6] == ["org_slug", "pipeline_id", "pipeline_logging_id", "error_message", "details"]


async def test_while_the_api_server_is_away_calls_cost_no_time_and_are_kept(service_for, spool, caplog):
    service = service_for("http://127.0.0.1:1", longest_wait=0.1)
    with caplog.at_level(logging.WARNING, "pipebell"):
        began = time.monotonic()
        receipt = await service.notify_pipeline_failure(**FAILURE)
    assert time.monotonic() - began < 10, "half of what it may take"
    assert receipt.state is State.SPOOLED
    assert "refused the connection" in caplog.text
    assert len(spool) == 1


async def test_what_was_meant_for_one_cluster_never_reaches_another(fake, service_for, spool):
    await service_for("http://127.0.0.1:1", longest_wait=30).notify_pipeline_failure(**FAILURE)
    service = service_for(fake.url)
    receipt = await service.notify_pipeline_failure(**FAILURE)
    assert service.flush() == 1
    assert list(fake.events) == [receipt.name]


def find_endpoint(url):
    return Endpoint(url, "team-a", lambda: None)


async def test_what_is_spooled_knows_its_namespace(fake, service_for, spool):
    fake.reply = (503, {"message": "etcd is away"})
    await service_for(fake.url, longest_wait=30).notify_pipeline_failure(**FAILURE)
    (waiting,) = spool.waiting()
    assert (waiting.record.namespace, waiting.server) == ("team-a", fake.url)


async def test_what_was_spooled_goes_out_once_the_server_is_back(fake, start_fake, service_for, spool, eventually):
    fake.reply = (503, {"message": "etcd is away"})
    service = service_for(fake.url, longest_wait=0.1)
    receipt = await service.notify_pipeline_failure(**FAILURE)
    assert (receipt.state, len(spool)) == (State.SPOOLED, 1)
    assert "etcd is away" in receipt.reason

    fake.reply = None
    eventually(lambda: len(spool) == 0)
    assert list(fake.events) == [receipt.name]


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (
            403,
            {"message": 'pods is forbidden: User "x" cannot create resource "pipelineevents"', "reason": "Forbidden"},
        ),
        (403, {"message": "exceeded quota: events, requested: 1, used: 5, limited: 5", "reason": "Forbidden"}),
        (429, {"message": "too many requests"}),
        (500, {"message": "etcdserver: request timed out"}),
        (404, {"message": "the server could not find the requested resource"}),
        (401, {"message": "Unauthorized"}),
        (409, {"message": "Operation cannot be fulfilled on resourcequotas", "reason": "Conflict"}),
    ],
)
async def test_a_refusal_is_logged_with_its_reason_and_spooled(status, document, fake, service_for, spool, caplog):
    fake.reply = (status, document)
    with caplog.at_level(logging.WARNING, "pipebell"):
        receipt = await service_for(fake.url, longest_wait=30).notify_pipeline_failure(**FAILURE)
    assert receipt.state is State.SPOOLED
    assert len(spool) == 1
    expected = "install Pipebell's CRDs" if status == 404 else document["message"]
    assert expected in caplog.text
    assert "secret-token" not in caplog.text


async def test_what_the_api_server_will_never_take_is_set_aside_not_resent(fake, service_for, spool, caplog):
    fake.reply = (422, {"reason": "Invalid", "message": "spec.orgSlug: Invalid value"})
    receipt = await service_for(fake.url).notify_pipeline_failure(**FAILURE | {"org_slug": "no spaces please"})
    assert receipt.state is State.REJECTED
    assert not receipt
    assert len(spool) == 0
    assert len(list((spool.folder / "rejected").iterdir())) == 1
    assert "spec.orgSlug: Invalid value" in caplog.text


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_server_that_never_answers_holds_nobody_longer_than_the_timeout(silent, service_for, spool, blocking):
    service = service_for(silent, timeout=0.5)
    began = time.monotonic()
    if blocking:
        receipt = await asyncio.to_thread(service.sync.notify_pipeline_failure, **FAILURE)
    else:
        receipt = await service.notify_pipeline_failure(**FAILURE)
    assert time.monotonic() - began < 10
    assert receipt.state is State.SPOOLED
    assert len(spool) == 1


async def test_after_a_timeout_the_next_calls_are_spared_it(silent, service_for, spool):
    service = service_for(silent, timeout=0.5)
    await service.notify_pipeline_failure(**FAILURE)
    began = time.monotonic()
    for _ in range(20):
        await service.notify_pipeline_failure(**FAILURE)
    assert time.monotonic() - began < 5, "half of what 20 timeouts take"
    assert len(spool) == 21


async def test_a_name_lookup_that_hangs_holds_nobody(spool, monkeypatch):
    def hang(*_args, **_kwargs):
        time.sleep(3)
        raise OSError("no such host")

    monkeypatch.setattr("socket.getaddrinfo", hang)
    service = NotificationService(Sender(Api(lambda: find_endpoint("http://api.invalid")), spool), timeout=0.4)
    began = time.monotonic()
    receipts = await asyncio.gather(*(service.notify_pipeline_failure(**FAILURE) for _ in range(10)))
    assert time.monotonic() - began < 2.5
    assert {receipt.state for receipt in receipts} == {State.SPOOLED}
    assert len(spool) == 10


async def test_a_disk_that_hangs_holds_nobody(silent, service_for, spool, monkeypatch):
    monkeypatch.setattr(spool, "put", lambda *_: time.sleep(3))
    began = time.monotonic()
    receipt = await service_for(silent, timeout=0.4).notify_pipeline_failure(**FAILURE)
    assert time.monotonic() - began < 2.5
    assert receipt.state is State.PENDING


async def test_no_cluster_and_no_disk_is_said_but_not_raised(tmp_path, spool, caplog):
    spool.folder = tmp_path / "file"
    spool.folder.write_text("")
    sender = Sender(Api(lambda: find(environ={}, service_account=tmp_path, kubeconfig="/nowhere")), spool)
    receipt = await NotificationService(sender).notify_pipeline_failure(**FAILURE)
    assert receipt.state is State.LOST
    assert not receipt
    assert "is lost" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [{"org_slug": object()}, {"event": "no_such_event"}, {"links": 7}, {"severity": object()}, {"timeout": "soon"}],
)
async def test_wrong_arguments_raise_nothing(wrong, fake, service_for):
    arguments = {"event": "pipeline_failure", **FAILURE} | wrong
    receipt = await service_for(fake.url).notify(**arguments)
    assert isinstance(receipt.name, str)


async def test_a_thousand_concurrent_calls_finish_and_each_event_is_created_once(fake, service_for, spool, eventually):
    service = service_for(fake.url, timeout=2.0, longest_wait=0.2)
    began = time.monotonic()
    receipts = await asyncio.gather(*(service.notify_pipeline_failure(**FAILURE) for _ in range(1000)))
    elapsed = time.monotonic() - began
    assert elapsed < 20
    assert {receipt.state for receipt in receipts} <= {State.SENT, State.SPOOLED}
    eventually(lambda: len(spool) == 0 and len(fake.events) == 1000)
    assert set(fake.events) == {receipt.name for receipt in receipts}


async def test_an_answer_that_comes_too_late_makes_no_second_event(fake, service_for, spool, eventually):
    fake.delay = 0.4
    service = service_for(fake.url, timeout=0.2, longest_wait=0.2)
    receipt = await service.notify_pipeline_failure(**FAILURE)
    assert receipt.state is State.SPOOLED
    fake.delay = 0
    eventually(lambda: len(spool) == 0 and fake.events)
    assert list(fake.events) == [receipt.name]


async def test_two_events_of_one_run_stay_two(fake, service_for):
    service = service_for(fake.url)
    first = await service.notify_pipeline_failure(**FAILURE)
    second = await service.notify_pipeline_failure(**FAILURE)
    assert first.name != second.name
    assert len(fake.events) == 2


async def test_one_connection_serves_many_calls_with_one_request_each(fake, service_for):
    service = service_for(fake.url, workers=1)
    for _ in range(10):
        assert (await service.notify_pipeline_failure(**FAILURE)).state is State.SENT
    assert (len(fake.requests), len(fake.connections)) == (10, 1)


async def test_a_trickle_holds_nobody(fake, service_for, spool):
    fake.trickle = True
    began = time.monotonic()
    receipt = await service_for(fake.url, timeout=0.5).notify_pipeline_failure(**FAILURE)
    assert time.monotonic() - began < 4, "the whole answer takes five seconds"
    assert receipt.state is State.SPOOLED


async def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(fake, start_fake, service_for, spool):
    service = service_for(fake.url, workers=1)
    await service.notify_pipeline_failure(**FAILURE)
    fake.hang_up()
    receipt = await service.notify_pipeline_failure(**FAILURE)
    assert receipt.state is State.SENT
    assert len(spool) == 0


async def test_a_cancelled_caller_loses_nothing(silent, service_for, spool):
    service = service_for(silent, timeout=5)
    task = asyncio.create_task(service.notify_pipeline_failure(**FAILURE))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.flush(0.4) == 1


def test_clear_cache_stays_and_does_nothing(service_for):
    service = service_for("http://127.0.0.1:1")
    assert service.clear_cache("acme_corp") is None
    assert service.sync.clear_cache() is None


def test_everything_public_is_there():
    import pipebell  # noqa: PLC0415

    for name in pipebell.__all__:
        assert getattr(pipebell, name) is not None
    assert set(pipebell.__all__) <= set(dir(pipebell))
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        pipebell.nope  # noqa: B018


def test_the_same_arguments_give_the_same_service(tmp_path):
    first = get_notification_service(spool=str(tmp_path))
    assert get_notification_service(spool=str(tmp_path)) is first
    assert get_notification_service(spool=str(tmp_path), namespace="other") is not first


def test_the_import_is_light():
    code = (
        "import time; began = time.process_time()\n"
        "from pipebell import get_notification_service\n"
        "get_notification_service()\n"
        "spent = time.process_time() - began\n"
        "import sys\n"
        "heavy = {'kopf', 'kubernetes', 'pydantic', 'aiohttp', 'asyncio', 'yaml', 'ssl', 'tenacity'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(spent)"
    )
    best = min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3))
    assert best < 0.2


PROGRAM = """
import os, sys
from pipebell import get_sync_notification_service
service = get_sync_notification_service(kubeconfig=sys.argv[1], spool=sys.argv[2])
def call(text):
    receipt = service.notify_pipeline_failure("acme_corp", "p", "r", text)
    print(receipt.state, flush=True)
call("first")
{rest}
"""


def kubeconfig_for(url, path):
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
        f"clusters: [{{name: here, cluster: {{server: '{url}'}}}}]\n"
        "users: [{name: me, user: {token: t0ken}}]\n"
        "contexts: [{name: here, context: {cluster: here, user: me, namespace: team-b}}]\n"
    )
    return path


def run_program(rest, fake, tmp_path):
    environ = os.environ | {"KUBECONFIG": ""}
    kubeconfig = kubeconfig_for(fake.url, tmp_path / "kubeconfig")
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{rest}", rest), kubeconfig, tmp_path / "spool"],
        env=environ, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip


def test_a_kubeconfig_says_where_who_and_which_namespace(fake, tmp_path):
    done = run_program("", fake, tmp_path)
    assert done.stdout == "sent\n"
    assert fake.requests[0][1] == "/apis/pipebell.io/v1alpha1/namespaces/team-b/pipelineevents"
    assert fake.tokens == ["Bearer t0ken"]


def test_the_end_of_the_program_sends_what_waits_and_holds_up_nobody(fake, tmp_path, spool):
    fake.reply = (503, {"message": "not yet"})
    done = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("{rest}", "sys.stdin.readline()"),
         kubeconfig_for(fake.url, tmp_path / "kubeconfig"), spool.folder],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert done.stdout.readline() == "spooled\n"
    fake.reply = None
    began = time.monotonic()
    done.communicate("\n", timeout=60)
    assert time.monotonic() - began < 30
    assert len(fake.events) == 1
    assert len(spool) == 0


def test_a_forked_child_tells_for_itself(fake, tmp_path):
    rest = "if (child := os.fork()) == 0:\n    call('child'); os._exit(0)\nos.waitpid(child, 0)\ncall('parent')"
    done = run_program(rest, fake, tmp_path)
    assert done.stdout.split() == ["sent"] * 3
    assert [body["spec"]["errorMessage"] for _, _, body in fake.requests] == ["first", "child", "parent"]


def test_emptying_reports_what_it_did(fake, spool):
    now = time.time()
    for age in (90_000, 10, 5):
        spool.put(make(EventType.PIPELINE_FAILURE, "acme", created=now - age), fake.url)
    spool.put(make(EventType.PIPELINE_FAILURE, "acme", created=now - 1), "https://another")
    spool.put(make(EventType.PIPELINE_FAILURE, "acme", created=now), None)
    api = Api(lambda: find_endpoint(fake.url))

    emptied = empty(spool, api, timeout=20)
    assert (emptied.sent, emptied.expired, emptied.left, spool.rejected()) == (2, 1, 2, 1)
    assert emptied.reason == "meant for https://another"
    emptied = empty(spool, api, timeout=20, anywhere=True)
    api.close()
    assert (emptied.sent, emptied.left) == (2, 0)


def test_an_event_that_no_parser_takes_does_not_spoil_the_answer(fake):
    deep = b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    fake.reply = 200, b'{"items":[{"spec":{"details":' + deep + b'},"status":{"phase":"Failed"}}]}'
    api = Api(lambda: find_endpoint(fake.url))
    (item,) = api.request("POST", "/", b"{}", timeout=20).document["items"]
    fake.reply = 200, b"[" * 5_000
    assert api.request("POST", "/", b"{}", timeout=20).document == {}
    api.close()
    assert item["status"] == {"phase": "Failed"}
