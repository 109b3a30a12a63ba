"""Free ports: a stage has some twenty, and one that is given out twice ends it."""

from __future__ import annotations

import socket

from pipebell.free_port import free_port


def test_no_port_is_given_out_twice():
    ports = [free_port() for _ in range(2_000)]
    assert len(set(ports)) == len(ports)


def test_a_port_somebody_listens_on_is_not_given_out(monkeypatch):
    with socket.socket() as taken, socket.socket() as other:
        taken.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        candidates = [taken.getsockname()[1], other.getsockname()[1]]
        other.close()
        monkeypatch.setattr("pipebell.free_port._RANGE", candidates)
        assert free_port() == candidates[1]


def test_ports_come_back_after_long(monkeypatch):
    monkeypatch.setattr("pipebell.free_port._RANGE", [free_port() for _ in range(3)])
    monkeypatch.setattr("pipebell.free_port._REMEMBERED", 1)
    monkeypatch.setattr("pipebell.free_port._given", {})
    assert len([free_port() for _ in range(20)]) == 20
