"""The file-based system's files and manifests, as `migrate` and `validate` read them."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st
from tests.fuzz.area import SECRET, keeps_secret, one_line, plain
from tests.fuzz.configurations import documents, spoil
from tests.fuzz.texts import deep, hostile, json_value, scalar, short, word

from pipebell.cli import manifests, migration, rules
from pipebell.core.errors import InvalidInput
from pipebell.core.models import NotificationConfigSpec, RootSpec

_PIECES = st.sampled_from(['"', "{", "}", "[", ",", ":", "\n", "\\", "\x00", "\ufeff", "9" * 5_000, "NaN", "1e999"])
_CHANGES = st.lists(st.tuples(st.integers(0, 3_000), _PIECES | short), max_size=1)
_org = documents(NotificationConfigSpec).map(json.dumps)
_root = documents(RootSpec).map(json.dumps)
_text = st.one_of(st.tuples(st.one_of(_org, _root), _CHANGES).map(lambda given: spoil(*given)), hostile(2_000), deep)
_folder = st.one_of(word, st.sampled_from(["acme_corp", "Acme", "acme-corp", "..", "a b", "_root", "notifications"]))
_files = st.dictionaries(
    st.one_of(st.just(migration.ROOT_FILE), _folder.map(lambda name: f"{name}/notifications.json")), _text, max_size=3
)
_env = st.dictionaries(st.sampled_from(["VAR", "SMTP_PASSWORD", "SLACK_WEBHOOK_URL"]), hostile(200), max_size=3)


def _check_migration(given):
    files, env = given
    for source in migration.read(files, env):
        for problem in source.problems:
            assert problem.message
            one_line(str(problem))
        keeps_secret(*source.problems, *source.notes, *source.inferred, *source.credentials)
        for name, objects in migration.manifests(source, "data", "pipebell-system").items():
            assert ".." not in Path(name).parts
            assert not Path(name).is_absolute()
            text = manifests.dump(objects)
            if objects[0]["kind"] == "Secret":
                assert all(objects[0]["stringData"].values())
            elif objects[0]["kind"] == "NotificationConfig":
                # What goes into a repository: the two credentials that the file-based system knows are moved out.
                spec = objects[0]["spec"]
                keeps_secret((spec.get("email") or {}).get("smtpPassword"), (spec.get("slack") or {}).get("webhookUrl"))
            assert rules.read(Path("x.yaml"), text)


_object = st.fixed_dictionaries(
    {"kind": st.sampled_from(["NotificationConfig", "PipelineEvent", "ConfigMap", "Secret", "Pod"]) | scalar},
    optional={
        "apiVersion": st.just("pipebell.io/v1alpha1") | scalar,
        "metadata": st.fixed_dictionaries({}, optional={"name": word | scalar, "generateName": scalar}) | scalar,
        "spec": documents(NotificationConfigSpec) | json_value,
        "data": st.fixed_dictionaries({}, optional={"config.json": _text, "config.yaml": _text, "k": scalar}) | scalar,
        "stringData": st.dictionaries(short, scalar, max_size=2) | scalar,
    },
)
_manifest = st.one_of(
    st.tuples(_object.map(lambda item: json.dumps(item)), _CHANGES).map(lambda given: spoil(*given)),
    _text,
)
_named = st.tuples(
    st.sampled_from(["x.json", "x.yaml", "notifications/config.json", "acme/notifications.json"]), _manifest
)


def _check_validation(given):
    name, text = given
    found = rules.read(Path(name), text)
    assert found
    root = next((item.spec for item in found if item.kind == "RootConfig"), None)
    secrets = {item.name: item.secret for item in found if item.secret is not None}
    for document in found:
        try:
            problems, notes = rules.usable(document, root, {"VAR": "value"}, secrets)
        except InvalidInput as error:
            problems, notes = list(error.problems), []
        keeps_secret(*document.problems, *problems, *notes, *document.notes)


assert SECRET  # what `documents` plants
AREAS = [
    plain("migration", 4_000, st.tuples(_files, _env), _check_migration),
    plain("validation", 3_000, _named, _check_validation),
]
