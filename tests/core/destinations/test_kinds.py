"""What every kind of destination has to have, whichever it is: forgetting a part fails here and says which."""

import importlib
import json
import os
import pkgutil
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from tests.core.destinations.huge import WIDE, huge
from tests.core.golden import compare
from tests.core.messages import CASES, make

from pipebell.core import destinations
from pipebell.core.destinations.base import Kind
from pipebell.core.destinations.http import HttpKind, Response
from pipebell.core.errors import NotReady
from pipebell.core.fields import templates, traits
from pipebell.core.hosts import HostPolicy
from pipebell.core.layers import Layer, Layers
from pipebell.core.models import KINDS, NotificationConfigSpec, RootSpec
from pipebell.core.outcome import Attempt
from pipebell.core.placeholders import Environment, OrgSecrets
from pipebell.core.render.email import email_content

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
HTTP = [name for name, kind in KINDS.items() if isinstance(kind, HttpKind)]


def org(spec):
    return Layer(NotificationConfigSpec.model_validate({"orgSlug": "acme", **spec}), OrgSecrets(None, {}))


def root(spec):
    return Layer(RootSpec.model_validate(spec), Environment({}), root=True)


def test_every_kind_that_has_a_file_is_registered():
    for module in pkgutil.iter_modules(destinations.__path__):
        found = vars(importlib.import_module(f"{destinations.__name__}.{module.name}"))
        for kind in found.values():
            if isinstance(kind, Kind):
                registered = KINDS.get(kind.name) is kind
                assert registered, f"core/models.py: add a line to Blocks for {kind.name}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_is_complete(kind):
    assert "${" not in json.dumps(KINDS[kind].example), f"{kind}: its example has values, no variables"
    target = Layers(org({kind: KINDS[kind].example}), None).target(kind)
    assert target.kind == kind, f'{type(target).__name__} needs `kind = "{kind}"`'
    assert not target.trusted
    assert Layers(None, root({kind: KINDS[kind].example})).target(kind).trusted
    named = org({"destinations": [{"name": "other", kind: KINDS[kind].example}]})
    assert Layers(named, None).target("other").endpoint == target.endpoint


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_settings_it_says_which_is_missing(kind):
    with pytest.raises(NotReady) as caught:
        Layers(org({}), None).target(kind)
    assert caught.value.message.startswith(f"{kind}.")


@pytest.mark.parametrize("kind", KINDS)
def test_every_secret_is_a_part_of_the_endpoint_and_stays_out_of_reprs(kind):
    model, example = KINDS[kind].spec, KINDS[kind].example
    target = Layers(org({kind: example}), None).target(kind)
    for trait in traits(model).values():
        if trait.fillable is not None and trait.fillable.secret:
            assert trait.endpoint, f"{kind}.{trait.camel} is a secret: annotate it with ENDPOINT"
            if isinstance(example.get(trait.camel), str):
                assert example[trait.camel] not in repr(target)


@pytest.mark.parametrize("kind", HTTP)
def test_an_organisation_may_have_its_example_reached(kind):
    target = Layers(org({kind: KINDS[kind].example}), None).target(kind)
    admitted = HostPolicy().admits_url(KINDS[kind], target.url)
    assert admitted, f"the Hosts of {kind} do not admit the host of its example"


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_a_template(kind):
    assert templates(KINDS[kind].spec), f"{KINDS[kind].spec.__name__} has no field for a template, such as textTemplate"


@pytest.mark.parametrize("kind", HTTP)
def test_its_limit_holds_the_largest_event(kind):
    limit = KINDS[kind].capabilities.limit
    target = Layers(org({kind: KINDS[kind].example}), None).target(kind)
    for sign in (WIDE, "x", '"', "\\"):
        size = len(KINDS[kind].request(huge(sign), target, Attempt("x", now=1.0)).body)
        assert limit is None or size <= limit, f"{kind} sends {size} bytes, more than its limit of {limit}"


@pytest.mark.parametrize(
    "kind", [name for name in HTTP if KINDS[name].capabilities.threads or KINDS[name].capabilities.edits]
)
def test_what_continues_threads_keeps_a_handle_of_a_success(kind):
    made = KINDS[kind]
    target = Layers(org({kind: made.example}), None).target(kind)
    if made.follows_up(target):
        status, body = made.success
        handle = made.receipt(Response(status, {}, body.encode()), target)
        assert handle, f"{kind} threads or edits: its receipt takes nothing from its own success"


@pytest.mark.parametrize("kind", HTTP)
def test_a_requests_repr_shows_no_part_of_it(kind):
    target = Layers(org({kind: KINDS[kind].example}), None).target(kind)
    made = KINDS[kind].request(make(), target, Attempt("uid.x", now=1.0))
    assert repr(made) == "HttpRequest(method='POST')"


@pytest.mark.parametrize("kind", KINDS)
def test_it_has_a_page(kind):
    page = ROOT / "docs" / "destinations" / f"{kind}.md"
    assert page.is_file(), f"write docs/destinations/{kind}.md: set-up, fields, limits, what a duplicate means there"
    text = page.read_text(encoding="utf-8")
    for trait in traits(KINDS[kind].spec).values():
        if not trait.name.endswith("_secret_ref") and not trait.root_only and not trait.beside:
            assert f"`{trait.camel}`" in text, f"docs/destinations/{kind}.md does not say what {trait.camel} is"


def looks(kind):
    """A failure as it is read at the example's destination."""
    target = Layers(org({kind: KINDS[kind].example}), None).target(kind)
    attempt = Attempt(f"0b54f1c2.{kind}", now=1_795_407_343.0)
    if kind == "email":
        content = email_content(make(), None)
        return f"Subject: {content.subject}\n\n{content.text}"
    request = KINDS[kind].request(make(), target, attempt)
    if KINDS[kind].shows is not None:
        return "\n".join(KINDS[kind].shows(json.loads(request.body)))
    measured = KINDS[kind].measures(request)
    return measured.get("text") or json.dumps(json.loads(request.body), indent=2, ensure_ascii=False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_shows_what_a_message_looks_like(kind):
    """`PIPEBELL_WRITE_GOLDEN=1` writes it anew."""
    page = ROOT / "docs" / "destinations" / f"{kind}.md"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    found = re.search(r"^\*\*Example\.\*\* .*?^~~~text\n(.*?)^~~~$", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/destinations/{kind}.md: add **Example.** with a block ~~~text"
    shown = "\n".join(line.rstrip() for line in looks(kind).splitlines()).rstrip() + "\n"
    if os.environ.get("PIPEBELL_WRITE_GOLDEN"):
        page.write_text(text[: found.start(1)] + shown + text[found.end(1) :], encoding="utf-8")
        return
    assert found[1] == shown


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", [name for name in HTTP if KINDS[name].shows is not None])
def test_what_is_read_of_any_message_is_its_text(kind, case):
    """On a terminal, where a card would be JSON."""
    target = Layers(org({kind: KINDS[kind].example}), None).target(kind)
    made = KINDS[kind].request(make(**CASES[case]), target, Attempt("x", now=1_795_407_343.0))
    lines = KINDS[kind].shows(json.loads(made.body))
    assert all(isinstance(line, str) and "\n" not in line for line in lines)
    assert "acme" in "".join(lines)


def test_what_every_kind_has_is_said_once():
    page = (ROOT / "docs" / "destinations" / "README.md").read_text(encoding="utf-8")
    for trait in traits(KINDS["email"].spec).values():
        if trait.beside:
            assert f"`{trait.camel}`" in page, f"docs/destinations/README.md does not say what {trait.camel} is"


@pytest.mark.parametrize("kind", HTTP)
def test_a_rate_is_kept_at_the_vendors_own_hosts(kind):
    target = Layers(org({kind: KINDS[kind].example}), None).target(kind)
    rate = KINDS[kind].rate(target)
    assert (rate is None) is (KINDS[kind].capabilities.per_second is None)
    elsewhere = replace(target, url=f"https://chat.example.com/{target.url.partition('://')[2].partition('/')[2]}")
    assert KINDS[kind].rate(elsewhere) is None
    assert KINDS[kind].rate(replace(target, url="https://[")) is None


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", HTTP)
def test_each_request_letter_by_letter(kind, case):
    target = Layers(org({kind: KINDS[kind].example}), None).target(kind)
    request = KINDS[kind].request(make(**CASES[case]), target, Attempt(f"0b54f1c2.{kind}"))
    try:
        body = json.loads(request.body)
    except ValueError:
        body = request.body.decode()
    sent = {"method": request.method, "url": request.url, "headers": dict(request.headers), "body": body}
    compare(GOLDEN / kind / f"{case}.json", json.dumps(sent, indent=2, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("space", ["\u2028", "\u2029", "\x85", "\xa0", "\u3000"])
@pytest.mark.parametrize("kind", HTTP)
def test_where_a_link_leads_is_one_word(kind, space):
    """A line end would end the link, and what follows it would be text that mentions."""
    target = Layers(org({kind: KINDS[kind].example}), None).target(kind)
    links = [{"title": "x", "url": f"https://e.example/{space}@everyone"}] * 10
    sent = KINDS[kind].request(make(links=links), target, Attempt("x")).body.decode()
    shown = json.dumps(json.loads(sent), ensure_ascii=False) if sent.startswith(("{", "[")) else unquote_plus(sent)
    assert not re.search(r"https://e\.example/(\s|\\n)", shown)
