"""Sending without waiting: what schedulers need."""

from __future__ import annotations

import os
import threading
import time

import pytest

from pipebell.integrations import courier as module
from pipebell.integrations.courier import Courier
from pipebell.integrations.events import Event


@pytest.fixture
def sent(monkeypatch):
    """What was sent, by a `send` that waits until it may."""
    sent, gate = [], threading.Event()

    def send(event, *, namespace, timeout):
        gate.wait(60)
        sent.append((event.pipeline, namespace))

    monkeypatch.setattr(module, "send", send)
    monkeypatch.setattr(module.atexit, "register", lambda function: None)
    return sent, gate


def event(number):
    return Event("acme_corp", "pipeline_failure", f"p{number}")


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_putting_does_not_wait_and_the_order_is_kept(sent):
    found, gate = sent
    courier = Courier()
    for number in range(100):
        courier.put(event(number), namespace="team-a")
    assert found == []  # nothing was sent: nobody waited for it
    gate.set()
    until(lambda: len(found) == 100)
    assert found == [(f"p{number}", "team-a") for number in range(100)]


def test_too_many_are_refused_loudly(sent, monkeypatch, caplog):
    monkeypatch.setattr(module, "_MAX_WAITING", 3)
    _, gate = sent
    courier = Courier()
    for number in range(10):
        courier.put(event(number))
    gate.set()
    assert "too many events wait to be sent: pipeline_failure of p9 is lost" in caplog.text


def test_the_end_of_the_process_sends_what_waits(sent, monkeypatch):
    found, gate = sent
    courier = Courier()
    monkeypatch.setattr(courier, "_ensure_running", lambda: None)
    courier.put(event(1))
    gate.set()
    courier._drain()
    assert found == [("p1", None)]


def test_a_forked_child_starts_its_own(sent):
    found, gate = sent
    gate.set()
    courier = Courier()
    courier.put(event(1))
    until(lambda: found)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        found.clear()
        courier.put(event(2))
        until(lambda: found)
        os.write(write, found[0][0].encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"p2"
