"""Why was nobody told? Each ordinary reason, and the one or two commands that lead to it."""

import json


def last(done):
    return done.out.splitlines()[-1]


def test_a_cooldown(on_stage, make_config):
    make_config("acme", webhook="Tcool")
    first = on_stage("send", "--org", "acme", "--pipeline", "p", "--wait").out.split()[0].partition("/")[2]
    second = on_stage("send", "--org", "acme", "--pipeline", "p", "--wait").out.split()[0].partition("/")[2]
    assert f"Cooldown by {first}" in last(on_stage("history", "acme", "-o", "wide"))
    why = on_stage("why", second).out
    assert "cooldown" in why
    assert "Suppressed/Cooldown (recorded)" in why


def test_a_trigger_that_is_disabled(on_stage, make_config):
    triggers = [{"event": "pipeline_failure", "enabled": False, "providers": ["slack"]}]
    make_config("acme", webhook="Ttrigger", eventTriggers=triggers)
    name = on_stage("send", "--org", "acme", "--wait").out.split()[0].partition("/")[2]
    assert "TriggerDisabled" in last(on_stage("history", "acme"))
    assert "eventTriggers" in on_stage("why", name).out


def test_a_wrong_password(on_stage, apply, stage):
    email = {
        "smtpHost": stage.smtp.host, "smtpPort": stage.smtp.port, "smtpUsername": "globex",
        "smtpPassword": "${SMTP_PASSWORD}", "fromEmail": "a@globex.example", "toEmails": ["b@globex.example"],
    }  # fmt: skip
    apply("Secret", "s", stringData={"SMTP_PASSWORD": "wrong"})
    apply("NotificationConfig", "globex", spec={"orgSlug": "globex", "email": email, "secretRef": {"name": "s"}})
    assert on_stage("send", "--org", "globex", "--wait").code == 1
    status = on_stage("status")
    assert "email of globex (" in status.out
    assert "pipebell verify globex" in last(status)
    assert "login: user name or password is wrong" in on_stage("verify", "globex").out


def test_an_event_in_the_spool(on_stage, make_config, tmp_path):
    make_config("acme", webhook="Tspool")
    away = tmp_path / "away.json"
    server = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {}}]
    document = {"current-context": "c", "clusters": [server], "contexts": [context], "users": users}
    away.write_text(json.dumps(document), encoding="utf-8")
    on_stage("send", "--org", "acme", "--spool", "--kubeconfig", away)
    assert "pipebell spool" in on_stage("history", "acme").err
    assert "acme" in on_stage("spool", "ls").out


def test_a_configuration_that_another_one_shadows(on_stage, make_config, apply, place):
    make_config("acme", webhook="Tfirst")
    apply("NotificationConfig", "later", spec={"orgSlug": "acme", "slack": {"enabled": False}})
    done = on_stage("status")
    assert done.code == 1
    assert "later (Conflict)" in done.out
    assert f"fix NotificationConfig {place}/later: " in last(done)
    assert "NotificationConfig acme serves acme in this namespace already" in last(done)


def test_a_shared_configuration_that_the_namespaces_own_shadows(on_stage, make_config, stage, place):
    spec = {"orgSlug": place, "eventNamespaces": {"from": "All"}, "slack": {"enabled": False}}
    shared = {"apiVersion": "pipebell.io/v1alpha1", "kind": "NotificationConfig", "metadata": {"name": place}}
    stage.apply(json.dumps(shared | {"spec": spec}), namespace="pipebell-system")
    try:
        make_config(place, webhook="Town")
        done = on_stage("send", "--org", place, "--wait")
        assert f"NotificationConfig {place}/{place}" in done.out
        assert f"{place}/{place}" in on_stage("history", "-o", "wide").out
    finally:
        stage.cluster.kubectl("delete", "nc", place, "-n", "pipebell-system")


def test_the_wrong_namespace_or_an_unknown_slug(on_stage, make_config, stage, place):
    make_config("acme", webhook="Twhere")
    assert "no NotificationConfig names acme for namespace default" in on_stage("test", "acme", namespace="default").err
    assert "did you mean acme?" in on_stage("test", "acne").err
    on_stage("send", "--org", "acne", "--wait")
    assert "RootConfig" in on_stage("history", "acne", "-o", "json").out


def test_a_namespace_that_is_not_there(on_stage, place):
    wrong = f"{place}x"
    said = f"there is no namespace {wrong} (did you mean {place}?)"
    status = on_stage("status", namespace=wrong)
    assert (status.code, said in last(status)) == (1, True)
    assert said in on_stage("history", namespace=wrong).err
    assert said in on_stage("why", "some-event", namespace=wrong).err


def test_an_event_that_is_in_another_namespace(on_stage, place):
    name = on_stage("send", "--org", place, "--pipeline", "p").out.split()[0].partition("/")[2]
    assert f"there are some in namespace {place}: -n {place}" in on_stage("history", place, namespace="default").err
    for command in ("why", "preview", "replay"):
        done = on_stage(command, name, namespace="default")
        assert done.code == 1
        assert f"there is one in namespace {place}: -n {place}" in done.err
    assert "namespace" not in on_stage("history", "nobody-at-all", namespace="default").err.partition("default.")[2]


def test_who_may_not_look_elsewhere_hears_as_much_as_before(on_stage, stage, place):
    stage.cluster.kubectl("create", "serviceaccount", "viewer", "-n", place)
    role = ("--clusterrole=pipebell-view", f"--serviceaccount={place}:viewer")
    stage.cluster.kubectl("create", "rolebinding", "viewer", "-n", place, *role)
    viewer = stage.cluster.kubeconfig_for_service_account(place, "viewer")
    done = on_stage("history", "acme", "--kubeconfig", viewer)
    assert (done.code, done.err) == (0, f"No such events of acme in namespace {place}.\n")
    done = on_stage("why", "some-event", "--kubeconfig", viewer)
    assert f"there is no PipelineEvent some-event in namespace {place}; `pipebell history` lists" in done.err
