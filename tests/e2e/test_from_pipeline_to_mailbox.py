"""The whole way: a pipeline's call while the API server is away, and one e-mail once it is back."""

from __future__ import annotations

import asyncio
import time

from pipebell.demo import Stage
from pipebell.sdk.delivery import State
from pipebell.sdk.factory import make_service


def test_a_call_while_the_api_server_is_away_becomes_one_mail(tmp_path):
    with Stage() as stage:
        stage.start()
        stage.put_root(stage.root_json())
        kubeconfig, spool = str(stage.cluster.kubeconfig), tmp_path / "spool"
        service = make_service(kubeconfig=kubeconfig, namespace="default", spool=str(spool))
        first = service.notify_blocking("pipeline_started", "acme_corp", timeout=20)
        assert first.state is State.SENT, first.reason
        stage.cluster.kill()
        began = time.monotonic()
        receipt = asyncio.run(service.notify_pipeline_failure("acme_corp", "daily", "run-1", "boom"))
        assert time.monotonic() - began < 10, "its two seconds, and what a busy machine adds"
        assert receipt.state is State.SPOOLED
        stage.cluster.resume()
        stage.until(lambda: service.flush(1.0) == 0 and stage.smtp.mails, "an e-mail", 60)
        finished = f"default/{receipt.name}"
        stage.until(
            lambda: stage.items("pipelineevents")[finished].get("status", {}).get("phase") == "Delivered", "end"
        )
        assert [mail.message["Subject"] for mail in stage.smtp.mails] == [
            "[CloudAct] ERROR: Pipeline failed: daily (acme_corp)"
        ]
        assert len(stage.items("pipelineevents")) == 2
