"""The process that templates run in: what they can do to it, and what becomes of those that try."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

DOUBLE = "{% set n.a = n.a ~ n.a %}"
HOSTILE = {
    "a loop that does not end": "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
    "a text that doubles": "{% set n = namespace(a='x') %}{% for i in range(60) %}" + DOUBLE + "{% endfor %}",
    "a text that is repeated": "{{ 'a' * 2000000000 }}",
    "a width": "{{ '{:>999999999}'.format(1) }}",
    "a template that calls itself": "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "brackets": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "blocks within blocks": "{% if 1 %}" * 800,
    "ten megabytes": "{% for i in range(5000) %}" + "x" * 4000 + "{% endfor %}",
    "a list of lists": "{{ range(9999) | batch(1) | list | join(range(9999) | join) }}",
    "a walk to classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a walk from a function": "{{ range.__globals__['os'].environ }}",
    "a walk from the template": "{{ self.__init__.__globals__ }}",
    "a file": "{% include '/etc/passwd' %}",
    "an import": "{% import 'os' as os %}{{ os.environ }}",
    "a power": "{{ 9 ** 9 ** 9 }}",
    "a filter that unmarks": "{{ x | safe }}",
    "half a tag": "{{ x",
    "a tag that is none": "{% exec 'x' %}",
    "very many slices": "{{ [1, 2] | slice(1000000000) | list }}",
    "its own name": '{% include "t0" %}',
    "marks within marks": (
        "{% set n = namespace(x=x) %}{% for i in range(60) %}{% set n.x = (n.x ~ n.x) | tojson %}{% endfor %}{{ n.x }}"
    ),
    "nothing replaced": "{% set y = range(3000) | join %}{{ y | replace('', y) | replace('', y) }}",
    "a long value a thousand times": (
        "{% set y = range(3000) | list %}{% for i in range(1000) %}{{ y | tojson }}{% endfor %}"
    ),
}


@pytest.fixture(scope="module")
def ask():
    """Asks one process, as the operator does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipebell.templates.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
    )

    def ask(*sources, contexts=({"x": "<b>"},), **more):
        job = {"templates": {f"t{n}": text for n, text in enumerate(sources)}, "contexts": contexts, "most": 100_000}
        process.stdin.write(json.dumps(job | more).encode() + b"\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    ask.process = process
    yield ask
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()


def test_each_value_leaves_a_mark(ask):
    (found,) = ask("a {{ x }} {{ y }}{{ x | tojson }}{{ x | code }}{{ 3 }}")["results"]
    assert found["t0"]["text"] == "a \0" + "0\0 \0" + "1\0\0" + "2\0\0" + "3\0\0" + "4\0"
    assert found["t0"]["values"] == [["<b>", ""], [None, ""], ["<b>", "json"], ["<b>", "code"], [3, ""]]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_fails_by_itself(ask, name):
    answer = ask(HOSTILE[name])
    if "died" in answer:
        assert answer["died"].startswith(("takes more than", "needs more than", "goes too deep"))
    else:
        assert "error" in answer["results"][0]["t0"], answer
    assert ask("{{ x }}")["results"][0]["t0"]["values"] == [["<b>", ""]], "nobody else is concerned"


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_takes_50_ms_of_a_processor_at_most(ask, name):
    """Counted by the kernel for the copies that have ended: time by the clock says nothing on a busy machine."""
    before = _spent(ask.process.pid)
    ask(HOSTILE[name])
    assert _spent(ask.process.pid) - before <= 0.05 + 0.05  # for copying the process, on a slow machine


def _spent(pid):
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")  # cutime, cstime


def test_time_is_taken_from_what_the_engine_does_not_count(ask):
    slow = (
        "{{ x | replace('a', 'aa') | replace('a', 'aaaaaaaa') | replace('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab', 'c') }}"
    )
    answer = ask(*[slow] * 200, contexts=[{"x": "a" * 300_000}])
    assert answer["died"].startswith(("takes more than", "needs more than"))


def test_a_value_made_of_values_is_a_text_like_any_other(ask):
    (found,) = ask("{% set y %}<i>{{ x }}</i>{% endset %}{{ y }} {{ y.upper() }} {{ [y] }}")["results"]
    values = found["t0"]["values"]
    assert "<i>\0" + "0\0</i>" in found["t0"]["text"]
    assert [value for value, _ in values] == ["<b>", "<I><b></I>", ["<i><b></i>"]]


@pytest.mark.parametrize(
    "source",
    [
        "{% autoescape false %}{{ x }}{% endautoescape %}",
        "{% set y %}i{% endset %}{{ y | replace('i', x) }}",
        "{% filter replace('a', x) %}a{% endfilter %}",
        "{% filter upper %}{{ x }}{% endfilter %}",
        "{{ x | e }}{{ x | escape }}",
        "{{ [x, x] | join('<i>') }}",
        "{{ x ~ '<i>' }}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(x) ~ x }}{{ m(x) | lower }}",
        "{{ {'<u>': x} }}",
    ],
)
def test_no_value_gets_into_the_text_unmarked(ask, source):
    (found,) = ask(source)["results"]
    assert "<b>" not in found["t0"]["text"].lower()
    assert any("<b>" in json.dumps(value).lower() for value in found["t0"]["values"])


def test_errors_have_a_line(ask):
    (found,) = ask("a\n{{ 1 / 0 }}", "{% if %}")["results"]
    assert found["t0"] == {"error": "invalid operation: unable to calculate 1 / 0", "line": 2}
    assert found["t1"]["line"] == 1


def test_what_samples_lack_is_taken_for_granted_when_templates_are_checked(ask):
    source = "{{ x.a.b.c }}{{ event.pipeline }}{% for y in z %}{{ y.q }}{% endfor %}"
    answer = ask(source, check=True)
    assert answer["names"]["t0"] == ["event.pipeline", "x.a.b.c", "z"]
    assert "text" in answer["results"][0]["t0"]
    assert "error" in ask(source)["results"][0]["t0"]


def test_a_template_sees_nothing_of_the_process(ask):
    answer = ask("{{ debug() }}", contexts=[{"x": 1}])
    assert "PATH" not in json.dumps(answer)


def test_it_ends_with_whoever_asks(ask):
    assert ask.process.poll() is None
    other = subprocess.Popen([sys.executable, "-m", "pipebell.templates.worker"], stdin=subprocess.PIPE)
    other.stdin.close()
    deadline = time.monotonic() + 60
    while other.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert other.poll() == 0
