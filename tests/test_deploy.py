"""Dashboard and alerts ask for metrics and labels that a server has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY

from locum.serve import metrics

DEPLOY = Path(__file__).parent.parent / "deploy"
OF_THE_SCRAPE = {"instance", "job", "le"}
OF_OTHERS = {"up", "vllm:num_requests_running", "vllm:num_requests_waiting"}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana" / "locum.json").read_text(encoding="utf-8"))
    return found


def expressions() -> list[str]:
    """All that dashboard and alerts ask for, with Grafana's variables filled in."""
    asked = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))
    alerts = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return [each.replace("$__rate_interval", "5m") for each in asked + alerts]


def labels_by_sample() -> dict[str, set[str]]:
    """Each sample that `/metrics` may have of Locum, with its labels."""
    found = {}
    for metric in vars(metrics).values():
        if type(metric).__module__.startswith("prometheus_client"):
            for name in REGISTRY._get_names(metric):
                found[name] = set(metric._labelnames)
    return found


def selectors(node: Any) -> Iterator[Any]:
    """The vector selectors in a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for child in ("expr", "lhs", "rhs", "vector_selector", "args"):
        below = getattr(node, child, None)
        for each in below if isinstance(below, list) else [below] if below is not None else []:
            yield from selectors(each)


@pytest.mark.parametrize("expression", expressions())
def test_an_expression_asks_for_samples_and_labels_that_there_are(expression: str) -> None:
    found = list(selectors(promql_parser.parse(expression)))
    assert found
    known = labels_by_sample()
    for selector in found:
        if selector.name in OF_OTHERS:
            continue
        assert selector.name in known
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= known[selector.name] | OF_THE_SCRAPE


def test_what_users_say_of_answers_has_a_panel() -> None:
    asked = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    [feedback] = [each for each in asked if "locum_feedback_total" in each]
    assert "by (domain, version, rating)" in feedback


def test_answers_that_lacked_a_notice_have_a_panel() -> None:
    asked = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    assert any('locum_notices_total{instance=~"$instance", domain=~"$domain", outcome="appended"}' in e for e in asked)


def test_panels_have_places_of_their_own_and_the_variables_that_they_use() -> None:
    board = dashboard()
    there_are = {variable["name"] for variable in board["templating"]["list"]} | {"__rate_interval"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"])))
    assert used <= there_are
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert max(x for x, _ in taken) < 24
