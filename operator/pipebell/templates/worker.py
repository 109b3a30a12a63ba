"""The process that templates run in: nothing is in it but the engine, and each job runs in a copy that ends with it.

Whatever a template does, its copy is killed by the kernel when it has used the CPU time of its job (milliseconds),
and gets no more memory than that allows (megabytes). Jobs and answers are lines of JSON. This module imports nothing of
Pipebell.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import select
import signal
import sys
from typing import Any, Final

FUEL: Final = 20_000  # instructions of MiniJinja's: a loop that does not end runs that many in a millisecond
CPU: Final = 0.05  # seconds of a job
MEMORY: Final = 32 << 20  # bytes of a job
PATIENCE: Final = 10.0  # seconds by the clock; only a machine that stands still needs as many
_ANSWER: Final = 4 << 20  # bytes
_MARK: Final = re.compile("\0([0-9]{1,6})\0")
_PLACE: Final = re.compile(r" \(in [^()]*\)$")
_DIED: Final = {
    signal.SIGPROF: f"takes more than {round(CPU * 1000)} ms",
    signal.SIGABRT: f"needs more than {MEMORY >> 20} MB",
    signal.SIGSEGV: "goes too deep",
    signal.SIGKILL: "does not come to an end",
}


def main() -> None:
    """Do jobs until nobody has any more."""
    import minijinja  # noqa: F401, PLC0415  (so that no copy has to)

    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(_in_a_copy(line) + b"\n")
        sys.stdout.buffer.flush()


def _in_a_copy(line: bytes) -> bytes:
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        _end_with(line, writes)
    os.close(writes)
    answer = _read(reads)
    os.close(reads)
    if answer is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if answer and os.WIFEXITED(status):
        return answer
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    words: dict[int, str] = {int(key): value for key, value in _DIED.items()}
    return json.dumps({"died": words.get(number, f"ended by signal {number}")}).encode()


def _read(pipe: int) -> bytes | None:
    """The whole answer; None when it does not come to an end."""
    parts: list[bytes] = []
    size = 0
    while True:
        ready, _, _ = select.select([pipe], [], [], PATIENCE)
        if not ready:
            return None
        part = os.read(pipe, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > _ANSWER:
            return None


def _end_with(line: bytes, pipe: int) -> None:
    """What the copy does: limits first. It never returns."""
    try:
        _limit()
        answer = json.dumps(work(json.loads(line)), default=str).encode()
        with os.fdopen(pipe, "wb") as file:
            file.write(answer)
    except MemoryError:
        os.abort()
    except BaseException:  # noqa: BLE001  (a copy of this process must not go on as if it were it)
        os._exit(1)
    os._exit(0)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.close(2)  # what Rust says of memory that it did not get
    os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):  # where there is no /proc, time alone is limited
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  (pathlib is not imported here)
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, CPU)


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Render each of the job's templates with each of its contexts.

    `job`: `templates` by name, `contexts`, `most` characters of a text, and `check` for samples: what is unknown in
    them is taken for granted. The answer has `names` by template (what it looks up), and `results` by context and
    template: a text with marks and the values, or an error with its line.
    """
    names: dict[str, list[str]] = {}
    broken: dict[str, dict[str, Any]] = {}
    environment, printed = _environment(lenient=not job.get("check"))
    for name, source in job["templates"].items():
        try:
            environment.add_template(name, source.replace("\0", ""))
            if job.get("check"):
                names[name] = sorted(environment.undeclared_variables_in_str(source, nested=True))
        except Exception as error:  # noqa: BLE001  (it says what is wrong with the template)
            broken[name] = _error(error)
    results = []
    for context in job["contexts"]:
        found = {}
        for name in job["templates"]:
            printed.clear()
            found[name] = broken.get(name) or _render(environment, name, context, job["most"])
            if "text" in found[name]:
                found[name]["values"] = list(printed)
        results.append(found)
    return {"names": names, "results": results}


def _render(environment: Any, name: str, context: dict[str, Any], most: int) -> dict[str, Any]:  # noqa: ANN401
    try:
        text = environment.render_template(name, **context)
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001  (a panic of Rust's is none of the usual)
        return _error(error)
    return {"text": text} if len(text) <= most else {"error": f"makes more than {most:,} characters", "line": None}


def _error(error: BaseException) -> dict[str, Any]:
    text = str(getattr(error, "message", None) or error or type(error).__name__)
    return {"error": _PLACE.sub("", text.splitlines()[0])[:300], "line": getattr(error, "line", None)}


def _environment(*, lenient: bool) -> tuple[Any, list[tuple[Any, str]]]:
    """The engine, in which each value that is printed leaves a mark; and the list that the values go to."""
    from minijinja import Environment, Markup  # noqa: PLC0415  (see `main`)

    environment = Environment(
        undefined_behavior="lenient" if lenient else "chainable",
        fuel=FUEL,
        auto_escape_callback=lambda _: True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    printed: list[tuple[Any, str]] = []

    def mark(value: Any, way: str) -> Any:  # noqa: ANN401
        printed.append((_resolved(value, printed), way))
        return Markup(f"\0{len(printed) - 1}\0")

    def finish(value: Any) -> Any:  # noqa: ANN401
        return value if isinstance(value, Markup) else mark(value, "")

    environment.finalizer = finish
    environment.remove_filter("safe")
    environment.remove_filter("format")
    for name in ("e", "escape"):
        environment.add_filter(name, lambda value: value)
    environment.add_filter("tojson", lambda value, *_, **__: mark(value, "json"))
    environment.add_filter("code", lambda value: mark(value, "code"))
    environment.add_filter("url", lambda value: mark(value, "url"))
    environment.add_filter("replace", lambda text, old, new: str(text).replace(str(old), str(new)))
    environment.add_filter("truncate", _truncate)
    return environment, printed


def _resolved(value: Any, printed: list[tuple[Any, str]]) -> Any:  # noqa: ANN401
    """A value with what it was made of in the place of marks: that is text like any other."""
    if isinstance(value, str):

        def said(mark: re.Match[str]) -> str:
            found = printed[int(mark[1])][0] if int(mark[1]) < len(printed) else None
            return found if isinstance(found, str) else "" if found is None else json.dumps(found, default=str)

        return _MARK.sub(said, value) if "\0" in value else str(value)
    if isinstance(value, (list, tuple)):
        return [_resolved(item, printed) for item in value]
    if isinstance(value, dict):
        return {str(key): _resolved(item, printed) for key, item in value.items()}
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _truncate(text: Any, length: int = 255, *_: object, **__: object) -> str:  # noqa: ANN401
    """At most `length` characters, as Jinja's filter; its other arguments are taken, and mean nothing."""
    whole = "" if text is None else str(text)
    return whole if len(whole) <= length else whole[: max(length - 1, 0)] + "…"


if __name__ == "__main__":
    main()
