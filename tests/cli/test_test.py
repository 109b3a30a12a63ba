"""`pipebell test`: a test event, watched until it is told."""


def test_test_marks_the_message_and_shows_deliveries_live(on_stage, make_config, stage):
    make_config("acme", webhook="Ttest", email=["data@acme.example"])
    for _ in range(2):  # neither obeys nor starts a cooldown
        done = on_stage("test", "acme")
        assert done.code == 0, done.err + done.out
        assert "email: Delivered" in done.out
        assert "slack: Delivered" in done.out
    assert "test" in stage.smtp.journal.wait(2)[0].message["Subject"].lower()


def test_test_tells_why_nothing_came(on_stage, make_config):
    make_config("acme", webhook="Toff")
    done = on_stage("test", "acme", "--event", "system_error")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "NoTrigger" in done.err
    assert "eventTriggers" in done.err


def test_an_unknown_organisation_is_not_told_by_root_unless_that_is_meant(on_stage, make_config, stage, place):
    make_config("acme-corp", webhook="Tknown")
    for command in ("test", "verify"):
        done = on_stage(command, "acme-crop")
        assert done.code == 1
        said = done.err + done.out
        assert f"no NotificationConfig names acme-crop for namespace {place} (did you mean acme-corp?)" in said
        assert "--allow-root" in said
    assert "(it has those of acme-corp)" in on_stage("test", "zzz").err
    assert stage.smtp.mails == stage.slack.posts == []
    assert not on_stage("history").out
    assert on_stage("test", "zzz", "--allow-root").code == 0
    assert on_stage("verify", "zzz", "--allow-root").code == 0


def test_who_may_not_read_configurations_may_test_all_the_same(on_stage, make_config, stage, place):
    make_config("acme", webhook="Tpipe")
    stage.cluster.kubectl("create", "serviceaccount", "etl", "-n", place)
    stage.cluster.kubectl(
        "create", "rolebinding", "etl", "-n", place, "--clusterrole=pipebell-pipeline", f"--serviceaccount={place}:etl"
    )
    kubeconfig = stage.cluster.kubeconfig_for_service_account(place, "etl")
    done = on_stage("test", "acme", "--kubeconfig", kubeconfig)
    assert done.code == 0, done.err
    assert "whether a configuration names acme is not known: not permitted" in done.err
