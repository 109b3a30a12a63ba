"""The stage that the demo and other tests play on."""

import pytest

from pipebell.demo import Stage, StageError
from pipebell.demo.files import objects, shipped

CONFIG = """
apiVersion: pipebell.io/v1alpha1
kind: NotificationConfig
metadata: {name: acme-corp}
spec: {orgSlug: acme_corp, email: {toEmails: [admin@acme.com]}}
"""
EVENT = """
apiVersion: pipebell.io/v1alpha1
kind: PipelineEvent
metadata: {name: failed}
spec: {orgSlug: acme_corp, event: pipeline_failure, pipelineId: nightly}
"""


def test_the_repositorys_files_are_found():
    for name in ("crds", "manifests/kustomization.yaml", "configs/notifications/config.json", "configs/samples"):
        assert shipped(name).exists()


def test_values_are_put_into_manifests_and_placeholders_stay():
    text = objects("organisations.yaml", smtp_port="2525")
    assert "smtpPort: 2525" in text
    assert "${SMTP_PASSWORD}" in text


def test_a_stage_without_a_start_has_nothing_to_end():
    with Stage() as stage, pytest.raises(StageError, match="no API server yet"):
        _ = stage.cluster


@pytest.mark.cluster
def test_the_operator_is_killed_and_started_again_and_works():
    with Stage() as stage:
        stage.start()
        stage.put_root(stage.root_json())
        stage.cluster.kubectl("create", "namespace", "acme")
        stage.operator.kill()
        assert not stage.operator.alive
        assert stage.operator.get("/healthz") == (0, "")
        stage.apply(CONFIG, namespace="acme")
        stage.apply(EVENT, namespace="acme")
        stage.operator.start()
        stage.until(lambda: stage.smtp.mails, "e-mail")
        with pytest.raises(StageError, match="runs already"):
            stage.operator.start()
        stage.operator.stop()
        assert '"msg": "stopped"' in stage.operator.log_text()
        with pytest.raises(StageError, match="the operator has ended; its log ends:\n"):
            stage.until(lambda: False, "wonder")
        directory = stage.cluster.directory
    assert not directory.exists()


@pytest.mark.cluster
def test_an_operator_that_cannot_start_says_why():
    with Stage(settings={"PIPEBELL_EVENT_MAX_AGE": "soon"}) as stage:
        with pytest.raises(StageError, match="PIPEBELL_EVENT_MAX_AGE='soon'"):
            stage.start()
        assert not stage.operator.alive
