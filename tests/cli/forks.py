"""Commands as processes that are forked from one that has imported everything: 20 ms of CPU time instead of 500.

`python -m tests.cli.forks SOCKET` is that process. Each connection is one command: a line of JSON with its arguments,
environment and folder, and the three descriptors that it reads and writes; the answer is its exit code.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pipebell.cli
from pipebell.cli import main as program

_PATIENCE = 120.0  # seconds until the process has imported everything on a busy machine
_LARGEST = 1_000_000  # bytes of a request
_NO_COMMANDS = ("generate", "render_manifests")


class Forks:
    """Runs commands as `subprocess.run` does; the process that they are forked from begins with the first of them."""

    def __init__(self):
        self._process = None

    def start(self):
        """Begin the process, unless that was done."""
        if self._process is not None:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="forks-")
        self._path = Path(self._folder.name, "s")
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("PIPEBELL_", "KUBE"))}
        command = [sys.executable, "-m", "tests.cli.forks", self._path]
        self._process = subprocess.Popen(command, env=environ, cwd=Path(__file__).parents[2], stdin=subprocess.PIPE)
        deadline = time.monotonic() + _PATIENCE
        while not self._path.exists():
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def close(self):
        """End it."""
        if self._process is not None:
            self._process.communicate()
            self._folder.cleanup()

    def run(self, arguments, *, env, stdin=None, cwd=None, timeout=90.0):
        """Exit code, standard output and standard error. Raises TimeoutExpired."""
        self.start()
        request = {"arguments": arguments, "env": env, "cwd": str(cwd or Path.cwd())}
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.settimeout(timeout)
            connection.connect(str(self._path))
            read, write = self._given(stack, stdin), [os.pipe() for _ in range(2)]
            outputs = [_Reader(end) for end, _ in write]
            descriptors = [read, *(end for _, end in write)]
            socket.send_fds(connection, [json.dumps(request).encode()], descriptors)
            for _, end in write:
                os.close(end)
            try:
                code = json.loads(connection.makefile("r").readline())
            except TimeoutError:  # the connection's end is the command's
                raise subprocess.TimeoutExpired(arguments, timeout) from None
        return (code, *(output.text(timeout) for output in outputs))

    def _given(self, stack, text):
        """A descriptor from which the command reads this."""
        read, write = (os.open(os.devnull, os.O_RDONLY), None) if text is None else os.pipe()
        if write is not None:
            threading.Thread(target=_write, args=(write, text.encode()), daemon=True).start()
        stack.callback(os.close, read)
        return read


def _write(descriptor, content):
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as file:  # noqa: PTH123  (a descriptor)
        file.write(content)


class _Reader(threading.Thread):
    """Reads to the end, so that nobody waits to write."""

    def __init__(self, descriptor):
        super().__init__(daemon=True)
        self._descriptor, self._content = descriptor, ""
        self.start()

    def run(self):
        with open(self._descriptor, encoding="utf-8") as file:  # noqa: PTH123  (a descriptor)
            self._content = file.read()

    def text(self, timeout):
        self.join(timeout)
        assert not self.is_alive(), "somebody whom the command began holds its output open"
        return self._content


def serve(path):
    """Take connections while whoever began this lives; return in the process of a command, with its arguments."""
    for module in pkgutil.iter_modules(pipebell.cli.__path__, "pipebell.cli."):
        if not module.name.endswith(_NO_COMMANDS):
            importlib.import_module(module.name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{path}.new")
        server.listen(16)
        Path(f"{path}.new").rename(path)
        while True:
            if sys.stdin in select.select([server, sys.stdin], [], [])[0]:
                os._exit(0)
            connection, _ = server.accept()
            if not os.fork():
                break
            connection.close()
    with connection:
        request, descriptors, _, _ = socket.recv_fds(connection, _LARGEST, 3)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        command = os.fork()
        if not command:
            _become(json.loads(request), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        _watch(command, connection)
    os._exit(0)


def _watch(command, connection):
    """Tell how it ended; end it when nobody waits for it any more."""

    def gone():
        connection.recv(1)
        with contextlib.suppress(ProcessLookupError):
            os.kill(command, signal.SIGKILL)

    threading.Thread(target=gone, daemon=True).start()
    _, status = os.waitpid(command, 0)
    with contextlib.suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(request, descriptors):
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(os.fdopen(number, mode, closefd=False), encoding="utf-8", line_buffering=number == 2)
        for number, mode in enumerate(("rb", "wb", "wb"))
    )
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = [program.__file__, *request["arguments"]]


def _command():
    """As `pipebell` would end, but for what the interpreter tidies up."""
    code = 1
    try:
        code = program.run(sys.argv[1:])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  (shown as Python shows it)
        sys.excepthook(*sys.exc_info())
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
    _command()
