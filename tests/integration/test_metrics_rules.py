"""Each alert fires when it shall and is silent when it shall, by promtool's own tests; and what Prometheus and
Alertmanager read, they understand."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from binder_node.host.metrics.config import alertmanager_text, prometheus_text
from binder_node.host.metrics.dashboards import expressions
from binder_node.host.metrics.rules import GROUPS, rules_text
from binder_node.host.text import yaml_text
from tests.integration.binaries import binary
from tests.unit.host_samples import other_spec, sample_spec
from tests.unit.metrics_samples import whole_spec

ALERTS = Path(__file__).parents[1] / "alerts"
SPECS = {"whole": whole_spec, "plain": sample_spec, "other": other_spec}


def promtool(*words: str) -> str:
    done = subprocess.run([binary("promtool"), *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("group", GROUPS)
def test_alerts_fire_and_are_silent(group: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_bytes(rules_text(whole_spec()))
    shutil.copy(ALERTS / f"{group}.yaml", tmp_path)
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / f"{group}.yaml"))


def test_a_rule_that_never_fires_fails_its_test(tmp_path: Path) -> None:
    """The tests can fail."""
    text = rules_text(whole_spec()).decode()
    broken = text.replace("binder_node_unit_active == 0", "binder_node_unit_active == 7")
    assert broken != text
    (tmp_path / "rules.yaml").write_text(broken)
    shutil.copy(ALERTS / "machine.yaml", tmp_path)
    with pytest.raises(AssertionError, match="UnitDown"):
        promtool("test", "rules", str(tmp_path / "machine.yaml"))


@pytest.mark.parametrize("name", SPECS)
def test_the_configuration_is_understood(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]()
    (tmp_path / "rules.yaml").write_bytes(rules_text(spec))
    promtool("check", "rules", "--lint=all", "--lint-fatal", str(tmp_path / "rules.yaml"))
    (tmp_path / "prometheus.yaml").write_bytes(prometheus_text(spec))
    promtool("check", "config", "--syntax-only", str(tmp_path / "prometheus.yaml"))
    (tmp_path / "alerts.yaml").write_bytes(alertmanager_text(spec))
    said = subprocess.run(
        [binary("amtool"), "check-config", tmp_path / "alerts.yaml"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_watchdog_goes_to_the_switch_and_all_else_to_everybody(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_bytes(alertmanager_text(whole_spec()))

    def receiver(*labels: str) -> str:
        argv = [str(binary("amtool")), "config", "routes", "test", f"--config.file={tmp_path / 'alerts.yaml'}", *labels]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()

    assert receiver("alertname=Watchdog", "severity=none") == "deadman"
    assert receiver("alertname=DiskFull", "severity=critical") == "everybody"
    assert receiver("alertname=JobLate", "severity=warning") == "everybody"


def test_the_dashboards_questions_are_understood(tmp_path: Path) -> None:
    rules = [{"record": f"one:{number}", "expr": expr} for number, expr in enumerate(expressions())]
    (tmp_path / "asked.yaml").write_bytes(
        yaml_text(json.loads(json.dumps({"groups": [{"name": "a", "rules": rules}]})))
    )
    assert f"{len(rules)} rules found" in promtool("check", "rules", str(tmp_path / "asked.yaml"))
