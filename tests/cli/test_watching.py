"""Watching an event on its way."""


def test_deliveries_show_while_they_are_tried(on_stage, make_config, stage):
    make_config("acme", webhook="Tlive", retryConfig={"maxAttempts": 2, "initialDelaySeconds": 1})
    stage.slack.plan(500)
    done = on_stage("test", "acme")
    assert done.code == 0, done.err
    first, *_, last = [line for line in done.out.splitlines() if line.startswith("  slack")]
    assert "Pending after 1 attempt" in first
    assert "next at" in first
    assert last == "  slack: Delivered after 2 attempts to #pipeline-alerts"
