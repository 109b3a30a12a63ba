"""The handlers by `kopf run`, as kopf's own testing tools drive them."""

from __future__ import annotations

from pathlib import Path

import kopf
from kopf.testing import KopfRunner
from tests.e2e.harness import config, event, phase

HANDLERS = Path(__file__).parents[2] / "operator" / "pipebell" / "handlers.py"


def test_the_handlers_work_under_kopf_run(world, monkeypatch):
    world.set_root(world.root_spec())
    for name, value in world.operator()._environ.items():
        if name.startswith(("PIPEBELL_", "SMTP_", "DEFAULT_", "KUBECONFIG")):
            monkeypatch.setenv(name, value)
    namespace = world.namespace()
    # Other tests may have imported the module: its handlers must not be registered beside those of this file.
    default = kopf.get_default_registry()
    arguments = ["run", "--all-namespaces", "--standalone", str(HANDLERS)]
    with KopfRunner(arguments, timeout=60, registry=type(default)()) as runner:
        world.api.create(config(namespace, "c", "runner", **world.slack_only("Runner")))
        world.api.create_all(event(namespace, f"e{n}", "runner") for n in range(3))
        world.api.create(event(namespace, "root", "somebody-else"))
        found = world.api.finished(namespace, 4)
    kopf.set_default_registry(default)
    assert runner.exception is None
    assert runner.exit_code == 0
    assert sorted(phase(item) for item in found.values()) == ["Delivered", "Delivered", "Suppressed", "Suppressed"]
    assert len(world.posts_to("Runner")) == 1
    for item in found.values():
        assert set(item["metadata"].get("annotations", {})) == set(), "kopf leaves nothing on the resources"
        assert "finalizers" not in item["metadata"]
