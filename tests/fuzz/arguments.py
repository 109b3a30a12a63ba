"""Command lines of every command, without a cluster: they end with 0, 1 or 2, soon, and never with a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import strategies as st
from tests.core.messages import make
from tests.fuzz.area import SECRET, Area
from tests.fuzz.texts import hostile, short, word

from pipebell.cli import main

_NEVER_ENDING = ("run", "demo", "cluster")  # what they start is no input's business: only how they refuse
_OPTIONS = (
    *("--namespace", "-n", "--kubeconfig", "--context", "-o", "--output", "--timeout", "--since", "--limit", "--phase"),
    *(
        "--org",
        "--pipeline",
        "--run",
        "--event",
        "--config",
        "--env-file",
        "--to",
        "--all",
        "--check",
        "--wait",
        "--name",
    ),
    *(
        "--owner",
        "--label",
        "--attempt",
        "--max-attempts",
        "--link",
        "--dedup-key",
        "--severity",
        "--message",
        "--help",
    ),
    *(
        "--details",
        "--detail",
        "--occurred-at",
        "--test",
        "--root",
        "--root-namespace",
        "--force",
        "--file",
        "--absolute",
    ),
    *(
        "--pipeline-id",
        "--logging-id",
        "--error",
        "--tail",
        "--no-such-option",
        "-h",
        "--",
        "--save",
        "--all-namespaces",
    ),
)
_FILES = (
    "config.yaml",
    "event.json",
    "root.json",
    "broken.yaml",
    "empty",
    "env",
    "binary",
    "configs",
    "no-such-file",
    "-",
)
_VALUES = (
    "json",
    "text",
    "table",
    "yaml",
    "acme_corp",
    "pipeline_failure",
    "10",
    "0",
    "-1",
    "1e9",
    "nan",
    "5m",
    "a=b",
    "x",
)
_COMMANDS = tuple(name for name in main.COMMANDS if name not in _NEVER_ENDING)
_word = st.one_of(
    st.sampled_from(_OPTIONS),
    st.sampled_from(_OPTIONS),
    st.sampled_from(_VALUES),
    st.sampled_from(_FILES),
    st.tuples(st.sampled_from(_OPTIONS), st.sampled_from(_VALUES) | short).map("=".join),
    word,
    hostile(3_000),
).map(lambda text: text.replace("/", "_").replace("\x00", "").encode("utf-8", "replace").decode()[:3_000])
_given = st.one_of(
    st.tuples(st.sampled_from(_COMMANDS), st.lists(_word, max_size=7)),
    st.tuples(st.sampled_from(_COMMANDS), st.lists(_word, max_size=7)),
    st.tuples(
        st.sampled_from(_NEVER_ENDING),
        st.just(["--help"]) | st.lists(_word, max_size=3).map(lambda words: [*words, "--no-such-option"]),
    ),
    st.tuples(_word, st.just([])),
)
_GOOD = {
    "apiVersion": "pipebell.io/v1alpha1",
    "kind": "NotificationConfig",
    "metadata": {"name": "acme"},
    "spec": {"orgSlug": "acme_corp", "email": {"smtpHost": "127.0.0.1", "smtpPort": 9, "smtpPassword": SECRET}},
}
_KUBECONFIG = {
    "current-context": "a",
    "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "a", "user": {"token": SECRET}}],
    "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
}


def _furnish(folder: Path) -> None:
    """Files that command lines name, and a kubeconfig of a cluster that refuses connections."""
    event = {"orgSlug": "acme_corp", "event": "pipeline_failure", "errorMessage": make().event.spec.error_message}
    files = {
        "config.yaml": json.dumps(_GOOD),
        "event.json": json.dumps(_GOOD | {"kind": "PipelineEvent", "spec": event}),
        "root.json": json.dumps({"email": _GOOD["spec"]["email"]}),
        "broken.yaml": f"a: [{SECRET}",
        "empty": "",
        "env": f"SMTP_PASSWORD={SECRET}\n",
        "kubeconfig": json.dumps(_KUBECONFIG),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "binary").write_bytes(bytes(range(256)))
    (folder / "configs" / "notifications").mkdir(parents=True)
    (folder / "configs" / "notifications" / "config.json").write_text(files["root.json"])
    (folder / "programs").mkdir()  # PATH: nothing that a word could name


class _Terminal(io.TextIOWrapper):
    """Standard output or input of one command."""

    def __init__(self, text: bytes = b"") -> None:
        super().__init__(io.BytesIO(text), encoding="utf-8", errors="surrogateescape")

    @property
    def shown(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode("utf-8", "replace")


def _execute(argv: list[str]) -> tuple[int, str]:
    out, err, given = _Terminal(), _Terminal(), _Terminal(b'{"a": 1}\n')
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.object(sys, "stdin", given):
        code = main.run(argv)
    return code, out.shown + err.shown


@contextlib.contextmanager
def _in_a_folder():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with tempfile.TemporaryDirectory(prefix="pipebell-fuzz-") as top:
        folder = Path(top, "a", "b")
        folder.mkdir(parents=True)
        _furnish(folder)
        environ = {
            "HOME": str(folder),
            "PATH": str(folder / "programs"),
            "KUBECONFIG": str(folder / "kubeconfig"),
            "PIPEBELL_SPOOL_DIR": str(folder / "spool"),
            "PIPEBELL_TIMEOUT": "0.2",
            "COLUMNS": "100",
        }

        def check(given):
            command, words = given
            code, shown = _execute([command, *words])
            # `exec` and `dbt` end as the command that they run; that there is no such program is 127.
            assert code in ((0, 1, 2, 126, 127) if command in ("exec", "dbt") else (0, 1, 2)), (code, shown[-500:])
            assert "Traceback" not in shown, shown[-3_000:]
            assert SECRET not in shown or command in ("secret", "migrate"), shown[-2_000:]

        with mock.patch.dict(os.environ, environ, clear=True), contextlib.chdir(folder):
            yield check
    for number, handler in handlers.items():
        signal.signal(number, handler)


AREAS = [Area("arguments", 3_000, _given, _in_a_folder, batch=200)]
