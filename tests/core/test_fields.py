"""Types of fields that no resource tests by itself."""

from zoneinfo import available_timezones

import pytest
from pydantic import Field, ValidationError

from pipebell.core.explain import explain
from pipebell.core.fields import Spec, TimeZone
from pipebell.core.schema import structural

NAMES = ("UTC", "Europe/Berlin", "America/New_York", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "GMT0", "CET")
NO_NAMES = (
    *("", " ", "utc", "Europe", "Europe/berlin", "europe/Berlin", "Europe/Berlin ", "Europe/Berlin\n", "Mars/Olympus"),
    *("Local", "localtime", "+01:00", "01:00", "../../etc/passwd", "Europe/../UTC", "/UTC", "A" * 65, "${TZ}"),
)


class Zoned(Spec):
    """Something at a local time."""

    timezone: TimeZone | None = Field(None, description="A time zone.")


@pytest.mark.parametrize("name", NAMES)
def test_a_time_zone_is_an_iana_name(name):
    assert Zoned(timezone=name).timezone == name


def test_every_zone_of_the_database_has_a_name_that_is_taken():
    refused = available_timezones() - {"localtime"}  # this machine's own, if it has one there
    refused -= {name for name in refused if Zoned(timezone=name)}
    assert not refused


@pytest.mark.parametrize("name", NO_NAMES)
def test_another_name_is_refused(name):
    with pytest.raises(ValidationError) as caught:
        Zoned(timezone=name)
    (problem,) = explain(caught.value, Zoned).problems
    assert problem.path == "timezone"


@pytest.mark.cluster
def test_the_api_server_knows_the_same_zones(server):
    schema = {"type": "object", "properties": {"spec": structural(Zoned)}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "zones", "singular": "zone", "kind": "Zone", "listKind": "ZoneList"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "zones.trial.pipebell.io"},
        "spec": {"group": "trial.pipebell.io", "scope": "Cluster", "names": names, "versions": [version]},
    }

    def trial(name):
        item = {"apiVersion": "trial.pipebell.io/v1", "kind": "Zone", "metadata": {"name": "trial"}}
        return server.kubectl("create", "--dry-run=server", "-f", "-", document=item | {"spec": {"timezone": name}})

    try:
        made = server.kubectl("create", "-f", "-", document=definition)
        assert made.returncode == 0, made.stderr
        ready = server.kubectl("wait", "--for=condition=Established", "crd/zones.trial.pipebell.io", "--timeout=60s")
        assert ready.returncode == 0, ready.stderr
        for name in NAMES:
            done = trial(name)
            assert done.returncode == 0, (name, done.stderr)
        for name in NO_NAMES:
            done = trial(name)
            assert done.returncode == 1, name
            assert "spec.timezone" in done.stderr, name
    finally:
        server.kubectl("delete", "crd", "zones.trial.pipebell.io", "--ignore-not-found", "--wait=false")
