"""Which alerts a node has, what each stands for, and that each has a test that it fires and one of its silence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from binder_node.host.metrics import dashboards, describe
from binder_node.host.metrics.alert import kebab
from binder_node.host.metrics.itself import WATCHDOG
from binder_node.host.metrics.rules import GROUPS, alerts, rules_text
from tests.unit.host_samples import central_spec, other_spec, sample_spec
from tests.unit.metrics_samples import whole_spec

REPO = Path(__file__).parents[2]
TESTS = REPO / "tests" / "alerts"


def promtool_tests() -> list[dict[str, Any]]:
    found = []
    for group in GROUPS:
        found += YAML(typ="safe").load((TESTS / f"{group}.yaml").read_text())["tests"]
    return found


def test_the_rules_are_those_that_promtools_tests_are_run_on() -> None:
    """``python -m tests.unit.metrics_samples`` writes them anew."""
    assert (TESTS / "rules.yaml").read_bytes() == rules_text(whole_spec())


@pytest.mark.parametrize("alert", alerts(whole_spec()), ids=lambda alert: alert.name)
class TestEach:
    def test_has_a_test_in_which_it_fires_and_one_in_which_it_is_silent(self, alert: Any) -> None:
        asked = [one for test in promtool_tests() for one in test["alert_rule_test"] if one["alertname"] == alert.name]
        assert any(one["exp_alerts"] for one in asked)
        assert alert.name == WATCHDOG or any(not one["exp_alerts"] for one in asked)

    def test_has_a_page_that_begins_with_its_name_and_says_what_to_do(self, alert: Any) -> None:
        text = (REPO / "docs" / alert.page).read_text()
        assert text.startswith(f"# {alert.name}\n")
        assert "\n## What to do\n" in text
        assert alert.page in (REPO / "mkdocs.yml").read_text()

    def test_stands_for_failures_of_the_field_guide(self, alert: Any) -> None:
        assert alert.guide or alert.name == WATCHDOG
        assert all(1 <= number <= 33 for number in alert.guide)


def test_names_are_unique_and_pages_follow_from_them() -> None:
    names = [alert.name for alert in alerts(whole_spec())]
    assert len(names) == len(set(names))
    assert kebab("DiskFillsSoon") == "disk-fills-soon"


def test_thresholds_are_the_inventorys() -> None:
    spec = other_spec()
    text = rules_text(spec).decode()
    assert f"binder_node_pods_capacity != {spec.kubernetes.max_pods}\n" in text
    assert f"binder_node_state_size_bytes * 100 < {spec.buildkit.wait_below}\n" in text
    assert f"> {spec.kubernetes.image_gc_high + 5}\n" in text
    assert f"sum(binderhub_inprogress_builds) >= {spec.binderhub.build_limit}\n" in text


def test_a_node_has_the_alerts_of_what_it_has() -> None:
    def names(**said: Any) -> set[str]:
        return {alert.name for alert in alerts(sample_spec(**said))}

    everything = {alert.name for alert in alerts(whole_spec())}
    assert everything - names() == {"NoLaunches", "CertificateEnds"}
    assert "DriveOffline" not in {alert.name for alert in alerts(other_spec())}
    drained = names(federation={"member": "bids", "weight": 20}, binderhub={"quota": 0})
    assert "NoLaunches" not in drained


def test_a_central_deploy_measures_by_its_own_chart() -> None:
    assert not central_spec().measured
    assert not sample_spec(metrics={"enabled": False}).measured
    assert sample_spec().measured


def test_commands_that_an_alert_names_exist() -> None:
    known = (REPO / "docs/reference/cli.md").read_text()
    for alert in alerts(whole_spec()):
        for words in re.findall(r"binder-node ([a-z]+(?: [a-z]+)?) bids-1", alert.do):
            assert f"## {words}\n" in known, alert.name
        for command, option in re.findall(r"binder-node ([a-z]+) bids-1 (--[a-z]+)", alert.do):
            section = known.split(f"## {command}\n")[1].split("\n## ")[0]
            assert option in section, alert.name


def test_the_reference_and_the_dashboards_are_what_the_code_says() -> None:
    assert (REPO / "docs/reference/alerts.md").read_text() == describe.reference()
    for name in dashboards.DASHBOARDS:
        assert (REPO / "dashboards" / f"{name}.json").read_text() == dashboards.text(name)


def test_every_failure_of_a_member_has_its_alert_or_a_reason_for_none() -> None:
    told = {number for alert in alerts(describe.example()) for number in alert.guide}
    assert told.isdisjoint(describe.WITHOUT)
    assert told | set(describe.WITHOUT) == set(describe.FAILURES) == set(range(1, 34))


def test_commands_that_a_runbook_names_exist() -> None:
    known = (REPO / "docs/reference/cli.md").read_text()
    for page in sorted((REPO / "docs/runbooks").glob("*.md")):
        for words in re.findall(r"binder-node ([a-z]+(?: [a-z]+)?) NODE", page.read_text()):
            assert f"## {words}\n" in known, page.name
