"""Definitions of another release are known by the fields that they lack."""

import copy

from pipebell.core.crds import RESOURCES, definition
from pipebell.core.served import lacking


def served():
    """What an API server publishes of this release's definitions."""
    schemas = {}
    for resource in RESOURCES:
        schema = copy.deepcopy(definition(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
        kind = {"group": "pipebell.io", "version": "v1alpha1", "kind": resource.kind}
        schemas[f"io.pipebell.v1alpha1.{resource.kind}"] = schema | {"x-kubernetes-group-version-kind": [kind]}
    return schemas


def test_nothing_is_lacking_of_its_own_release():
    assert lacking(served()) == {}


def test_the_uppermost_missing_field_is_named_also_below_lists():
    schemas = served()
    event = schemas["io.pipebell.v1alpha1.PipelineEvent"]["properties"]
    del event["status"]["properties"]["deliveries"]["items"]["properties"]["recipients"]
    del event["spec"]["properties"]["replayOf"]
    assert lacking(schemas) == {"PipelineEvent": ["spec.replayOf", "status.deliveries[].recipients"]}


def test_a_kind_that_is_not_there_at_all():
    schemas = served()
    del schemas["io.pipebell.v1alpha1.NotificationConfig"]
    assert lacking(schemas) == {"NotificationConfig": ["*"]}


def test_more_fields_of_a_later_release_do_not_matter():
    schemas = served()
    schemas["io.pipebell.v1alpha1.PipelineEvent"]["properties"]["spec"]["properties"]["later"] = {"type": "string"}
    assert lacking(schemas) == {}
