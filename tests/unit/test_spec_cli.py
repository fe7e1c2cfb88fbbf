"""``binder-node init`` and ``binder-node check`` as an operator runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from binder_node.cli.spec import app
from binder_node.spec.model import SshProvider


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("BINDER_NODE_DEBUG", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_from_nothing_to_a_checked_inventory() -> None:
    made = run("init", "bids-1", "--cpus", "24", "--memory", "192G", "--disk", "960G", "--binder", "bids.mybinder.org")
    assert (made.exit_code, made.stdout) == (0, "")
    assert made.stderr.splitlines() == ["wrote inventories/bids-1.yaml", "next: binder-node check bids-1"]
    checked = run("check", "bids-1")
    assert (checked.exit_code, checked.stdout) == (0, "")
    rows = [" ".join(row.split()) for row in checked.stderr.splitlines()]
    assert "kubernetes.max_pods 336" in rows
    assert "buildkit.cache 288G" in rows
    assert "binderhub.quota 300" in rows
    assert rows[-1] == "inventories/bids-1.yaml: ok (15 values computed)"


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_check_for_machines(output: str) -> None:
    key = SshProvider.model_fields["host_key"].examples
    assert key
    run("init", "node", "--provider", "ssh", "--storage", "s3", "--host-key", key[0])
    checked = run("check", "inventories/node.yaml", "-o", output)
    assert checked.exit_code == 0
    found: dict[str, Any] = json.loads(checked.stdout) if output == "json" else YAML(typ="safe").load(checked.stdout)
    assert found["ok"] is True
    assert found["spec"]["buildkit"]["cache"] == "12G"
    assert "buildkit.cache" in found["computed"]
    assert [(warning["path"], warning["line"]) for warning in found["warnings"]] == [
        ("provider.address", 16),
        ("provider.host_key", 19),
    ]


def test_a_wrong_inventory_ends_with_2_and_every_problem(folder: Path) -> None:
    (folder / "bad.yaml").write_text("name: bad\nkubernets: {}\n")
    checked = run("check", "bad.yaml")
    assert (checked.exit_code, checked.stdout) == (2, "")
    assert "bad.yaml:2: kubernets: unknown key; did you mean kubernetes?" in checked.stderr
    assert len(checked.stderr.splitlines()) == 6
    machine = run("check", "bad.yaml", "-o", "json")
    assert machine.exit_code == 2
    found = json.loads(machine.stdout)
    assert found["ok"] is False
    assert len(found["problems"]) == 6
    assert found["problems"][-1] == {
        "file": "bad.yaml",
        "line": 2,
        "path": "kubernets",
        "wrong": "unknown key",
        "right": "did you mean kubernetes?",
    }


def test_init_does_not_overwrite(folder: Path) -> None:
    run("init", "node")
    before = (folder / "inventories/node.yaml").read_text()
    again = run("init", "node", "--cpus", "8")
    assert again.exit_code == 2
    assert "there is such an inventory already" in again.stderr
    assert (folder / "inventories/node.yaml").read_text() == before


@pytest.mark.parametrize("name", ["Node", "../node", "a b", "1st"])
def test_init_refuses_a_name_that_is_none(folder: Path, name: str) -> None:
    made = run("init", name)
    assert made.exit_code == 2
    assert "write a name of at most 40 lower-case letters, digits and dashes" in made.stderr
    assert list(folder.rglob("*")) == []


def test_the_module_starts_without_the_heavy_ones() -> None:
    code = (
        "import sys, binder_node.cli.spec; "
        "print([m for m in ('pydantic', 'ruamel', 'pyrage', 'rich.console', 'cryptography') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
