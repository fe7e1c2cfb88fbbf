"""The workflow that offers newer versions each week: its commands run here, on a repository of their own.

GitHub itself is a folder that is pushed to, and `gh` a script that writes down what it was asked.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from binder_node.cli.main import app

WORKFLOW = Path(__file__).parents[2] / "docs/examples/newer-versions.yml"
GH = """\
#!/usr/bin/env python3
import json, os, sys
with open(os.environ["ASKED"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[2] == "list" and os.environ.get("OPEN"):
    print(os.environ["OPEN"])
"""


@pytest.fixture(scope="module")
def steps() -> dict[str, Any]:
    [job] = YAML(typ="safe").load(WORKFLOW.read_text(encoding="utf-8"))["jobs"].values()
    return {step["name"]: step for step in job["steps"] if "name" in step}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone with a pins file, and `gh` beside it."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", "origin"], cwd=tmp_path, check=True)
    subprocess.run(["git", "clone", "-q", "origin", "here"], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    here = tmp_path / "here"
    (here / "pins.toml").write_text('version = "v1"\n')
    git(here, "add", ".")
    git(here, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "-m", "pins")
    git(here, "push", "-q", "origin", "HEAD:main")
    return here


def git(here: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=here, check=True, capture_output=True, text=True).stdout


def opened(here: Path, step: dict[str, Any], **env: str) -> list[list[str]]:
    """Run the step as the runner does; what `gh` was asked."""
    asked = here.parent / "asked"
    asked.write_text("")
    subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=here,
        check=True,
        env={
            **os.environ,
            "PATH": f"{here.parent}:{os.environ['PATH']}",
            "ASKED": str(asked),
            "BRANCH": "newer-versions",
            "CHANGE": str(here.parent / "change.md"),
            **env,
        },
    )
    return [json.loads(line) for line in asked.read_text().splitlines()]


def test_what_it_runs_is_a_command_with_these_options(steps: dict[str, Any]) -> None:
    [words] = re.findall(r"binder-node (pins .*)", steps["look"]["run"])
    command = words.split()
    shown = CliRunner().invoke(app, [*command[:2], "--help"], env={"COLUMNS": "200"}).stdout
    assert all(word in shown for word in command[2:] if word.startswith("--"))
    assert steps["look"]["continue-on-error"] is True


def test_a_change_is_pushed_and_opened_and_later_brought_up_to_date(checkout: Path, steps: dict[str, Any]) -> None:
    for version, number in (("v2", ""), ("v3", "7")):
        git(checkout, "switch", "-q", "main") if number else None
        git(checkout, "branch", "-q", "-D", "newer-versions") if number else None
        (checkout / "pins.toml").write_text(f'version = "{version}"\n')
        (checkout.parent / "change.md").write_text(f"Newer versions: k3s {version}\n\nNotes\n")
        asked = opened(checkout, steps["open a change"], OPEN=number)
        there = git(checkout, "--git-dir", str(checkout.parent / "origin"), "show", "newer-versions:pins.toml")
        assert there == f'version = "{version}"\n'
        assert git(checkout, "log", "-1", "--format=%s").strip() == f"Newer versions: k3s {version}"
        assert git(checkout, "rev-list", "--count", "main..newer-versions").strip() == "1"
        wanted = ["edit", "7"] if number else ["create", "--head", "newer-versions"]
        assert asked[-1][1 : 1 + len(wanted)] == wanted
        assert f"Newer versions: k3s {version}" in asked[-1]


def test_where_nothing_is_newer_nothing_is_opened(checkout: Path, steps: dict[str, Any]) -> None:
    assert opened(checkout, steps["open a change"]) == []
    branches = git(checkout, "--git-dir", str(checkout.parent / "origin"), "branch", "--list")
    assert "newer-versions" not in branches
