"""The image's recipe, as far as it can be judged without building it: tests/e2e_node builds and runs it."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "operator" / "Containerfile").read_text(encoding="utf-8")
LINES = [line.strip() for line in TEXT.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
STAGES = TEXT.split("\nFROM ")[1:]
# What the image has. None of it is a vendor's client: destinations are posted to by aiohttp, whichever kind they are.
PACKAGES = frozenset(
    """
aiohappyeyeballs aiohttp aiohttp-retry aiosignal aiosmtplib annotated-types anyio attrs certifi
charset-normalizer click cronsim durationpy frozenlist h11 httpcore httpx idna iso8601 jinja2 jsonpatch
jsonpointer kopf kubernetes markdown-it-py markupsafe mdurl minijinja multidict oauthlib prometheus-client
propcache pydantic pydantic-core pygments python-dateutil python-json-logger pyyaml requests requests-oauthlib
rich structlog tenacity typing-extensions typing-inspection tzdata urllib3 websocket-client yarl
    """.split()  # noqa: SIM905  (read as words)
)
MOST = 120  # MB of these packages' files before they are compiled, 70 of them the official client's
LOCKS = ("requirements.lock", "requirements-operator.lock", "requirements-build.lock")


def pins(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))


def test_it_has_two_stages_on_a_base_that_can_be_chosen():
    assert LINES[0] == "ARG BASE=python:3.13-slim"
    assert [stage.split("\n")[0] for stage in STAGES] == ["${BASE} AS build", "${BASE}"]


def test_it_names_no_registry():
    assert not re.search(r"\w\.(io|com|org|dev|net)/", re.sub(r"org\.opencontainers\S*", "", TEXT))


def test_it_runs_as_a_user_that_kubernetes_knows_not_to_be_root():
    assert re.search(r"^USER 65532:65532$", STAGES[1], re.MULTILINE)
    assert "RUN " not in STAGES[1], "the last stage only takes what the first made"


def test_everything_is_installed_from_locks_by_hash():
    commands = [part for line in LINES if line.startswith("RUN ") for part in line.split(" && ")]
    installs = [part for part in commands if re.search(r"\bpip\b.* (install|wheel) ", part)]
    assert len(installs) == 4
    for command in installs:
        assert "--require-hashes" in command or "--no-deps" in command, command


def test_what_it_starts_is_what_the_package_has():
    pyproject = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^pipebell = "pipebell\.cli\.main:main"$', pyproject, re.MULTILINE)
    assert LINES[-2:] == ['ENTRYPOINT ["pipebell"]', 'CMD ["run"]']


def test_its_context_holds_what_it_copies_and_builds_from():
    lines = (REPOSITORY / ".containerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*", "everything is left out that is not named"
    named = {line[1:] for line in lines if line.startswith("!")}
    assert all((REPOSITORY / name).exists() for name in named)
    assert {"requirements-build.lock", "requirements-operator.lock"} <= named
    assert {"pyproject.toml", "README.md", "LICENSE", "operator", "crds", "manifests", "configs"} <= named
    assert (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines() == lines


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_by_hash_and_names_no_host(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    entries = re.split(r"\n(?=\w)", text.strip())
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_locks_agree_and_the_image_has_no_tools_of_developers():
    everything, operator, build = map(pins, LOCKS)
    assert operator.items() <= everything.items(), "run `make lock`"
    assert build.items() <= everything.items(), "run `make lock`"
    assert {"kopf", "aiohttp", "aiosmtplib", "jinja2", "prometheus-client"} <= set(operator)
    assert not {"pytest", "mypy", "ruff", "hatchling", "hypothesis", "aiosmtpd"} & set(operator)


def test_the_image_gets_no_package_more_unnoticed():
    new = set(pins("requirements-operator.lock")) - PACKAGES
    assert not new, "is it worth its weight in every image? then add it to PACKAGES"
    assert set(pins("requirements-operator.lock")) == PACKAGES


def test_its_packages_are_what_the_operator_needs_and_nothing_else():
    seen, asked = set(), [Requirement("pipebell[operator]")]
    while asked:
        requirement = asked.pop()
        for each in map(Requirement, metadata.requires(requirement.name) or ()):
            extras = requirement.extras or {""}
            wanted = each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras)
            if wanted and str(each) not in seen:
                seen.add(str(each))
                asked.append(each)
    assert {canonicalize_name(Requirement(each).name) for each in seen} - {"pipebell"} == PACKAGES


def test_its_packages_stay_as_light_as_they_are():
    files = [file for name in PACKAGES for file in metadata.files(name) or () if file.suffix != ".pyc"]
    assert sum(file.size or 0 for file in files) < MOST * 1_000_000
