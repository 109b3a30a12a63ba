"""Options that all commands share."""


def test_json_output_is_nothing_but_json(on_stage, make_config):
    make_config("acme", webhook="Tjson")
    assert on_stage("test", "acme", "-o", "json").json["status"]["phase"] == "Delivered"
    assert on_stage("send", "--org", "acme", "--wait", "-o", "json").json["kind"] == "PipelineEvent"
    assert len(on_stage("history", "acme", "-o", "json").json["items"]) == 2


def test_the_cluster_may_be_named_before_the_command(cli, stage, place):
    done = cli("--kubeconfig", stage.cluster.kubeconfig, "-n", place, "history")
    assert (done.code, f"in namespace {place}" in done.err) == (0, True)
