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
