"""Alerts and dashboard speak of metrics that exist, by labels that these have, in PromQL that parses."""

import json
import re

import promql_parser
import pytest
import yaml
from tests.chart.helm import CHART, REPOSITORY

from pipebell.metrics import Metrics

ALERTS = [
    rule
    for group in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [rule["expr"] for rule in ALERTS] + [target["expr"] for panel in PANELS for target in panel["targets"]]
RUNBOOKS = REPOSITORY / "docs" / "runbooks"
SCRAPED = {"job", "instance", "namespace", "pod"}  # what Prometheus adds


class Nothing:
    """Stands for the running parts, whose values do not matter here."""

    def __getattr__(self, name):
        return self

    def __call__(self, *_):
        return 0

    def __len__(self):
        return 0

    def __float__(self):
        return 0.0


def metrics():
    """Every series' name with its labels."""
    built = Metrics(lambda *_: True)
    built.watch(Nothing(), Nothing(), Nothing(), Nothing(), Nothing())
    built.watch_incidents(Nothing())
    built.watch_silences(Nothing(), Nothing())
    found = {}
    for collector in set(built.registry._names_to_collectors.values()):
        labels = set(collector._labelnames)
        for name in built.registry._collector_to_names[collector]:
            found[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return {name: labels for name, labels in found.items() if not name.endswith("_created")}


METRICS = metrics()


def selectors(node):
    """All vector selectors of an expression, with the labels that are asked of each."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name, {matcher.name for matcher in node.matchers.matchers}
        return
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs", "param"):
        inner = getattr(node, name, None)
        if type(inner).__name__ in {"VectorSelector", "MatrixSelector"} or isinstance(inner, promql_parser.Expr):
            yield from selectors(inner)
    for argument in getattr(node, "args", None) or ():
        yield from selectors(argument)


def parsed(query):
    return promql_parser.parse(query.replace("$__rate_interval", "5m"))


@pytest.mark.parametrize("query", QUERIES)
def test_it_parses_and_asks_for_what_exists(query):
    asked = list(selectors(parsed(query)))
    assert {name for name, _ in asked} == set(re.findall(r"pipebell_\w+", query)), "every selector was found"
    for name, labels in asked:
        assert name in METRICS
        assert labels <= METRICS[name] | SCRAPED
    for group in re.findall(r"by \(([^)]*)\)", query):
        wanted = {label.strip() for label in group.split(",")}
        assert all(wanted <= METRICS[name] | SCRAPED for name, _ in asked)


def test_a_query_for_something_else_would_be_noticed():
    assert list(selectors(parsed('rate(pipebell_gone_total{a="b"}[5m]) / sum(x) > 1'))) == [
        ("pipebell_gone_total", {"a"}),
        ("x", set()),
    ]


def test_every_metric_but_the_python_processs_is_shown_or_alerted_on():
    shown = {name for query in QUERIES for name in re.findall(r"pipebell_\w+", query)}
    bases = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRICS}
    # `_total` counters are known by two names, and a histogram's base name is no series.
    unseen = {base for base in bases if not any(name.startswith(base) for name in shown)}
    assert unseen == set()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_means_and_has_a_runbook(rule):
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description"}
    page = (RUNBOOKS / f"{rule['alert']}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {rule['alert']}\n")
    assert rule["expr"] in page
    assert "## What to do" in page
    used = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
    kept = {label.strip() for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in group.split(",")}
    assert used <= kept


def test_there_is_no_runbook_for_an_alert_that_is_gone():
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in ALERTS} | {"README"}


def test_runbooks_name_only_reasons_values_and_pages_that_exist():
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert (RUNBOOKS / target).is_file(), f"{page.name}: {target}"
        for key in re.findall(r"`settings\.(\w+)`", text):
            assert f"  {key}:" in values


def test_panels_have_a_place_of_their_own():
    cells = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not mine & cells, panel["title"]
        cells |= mine
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identifiers) == len(set(identifiers))
