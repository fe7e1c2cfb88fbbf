"""``status`` of several nodes at once, as an operator runs it; of machines that were never made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from binder_node.cli.main import app
from binder_node.errors import StepError
from binder_node.federation.config import member_at
from binder_node.federation.rules import Answer, Attempt, judge
from binder_node.fleet import report
from binder_node.fleet.look import Look
from binder_node.lifecycle import looking
from tests.unit.fleet_samples import away, look

INVENTORY = """\
name: {name}
provider: {{kind: ssh, address: 203.0.113.7}}
machine: {{cpus: 8, memory: 32G, disk: 200G}}
names: {{binder: {name}.example.org}}
tls: {{mode: none}}
storage: {{kind: node}}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("BINDER_NODE_PINS", "BINDER_NODE_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("STATE", "CACHE", "IDENTITY", "LOCAL_DIR"):
        monkeypatch.setenv(f"BINDER_NODE_{name}", str(tmp_path / name.lower()))
    (tmp_path / "inventories").mkdir()
    for name in ("ovh", "bids"):
        (tmp_path / "inventories" / f"{name}.yaml").write_text(INVENTORY.format(name=name))
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["status", *words, "--source", "release"])


def seen(monkeypatch: pytest.MonkeyPatch, *rounds: list[Look]) -> list[list[str]]:
    """Have the looks be these, one round after the other; the nodes that were asked for, each time."""
    asked: list[list[str]] = []

    def look_at_all(wanted: looking.Asked, _report: Any) -> list[Look]:
        asked.append([Path(node).stem for node in wanted.nodes])
        return rounds[len(asked) - 1]

    monkeypatch.setattr(looking, "look_at_all", look_at_all)
    return asked


def test_all_of_them_and_what_is_wrong_with_each_is_in_its_line(home: Path) -> None:
    (home / "inventories/typo.yaml").write_text("name: typo\nmachin: {}\n")
    done = run("--all", "-o", "json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["ok"] is False
    nodes = {node["node"]: node for node in found["nodes"]}
    assert list(nodes) == ["bids", "ovh", "typo"]
    assert {node["state"] for node in nodes.values()} == {"not all seen"}
    assert "typo.yaml:1: " in nodes["typo"]["troubles"][0]
    assert any("there are no secrets yet" in trouble for trouble in nodes["bids"]["troubles"])
    assert "0 of 2 nodes well" in run("ovh", "bids").stderr
    assert not (home / "cache").exists()  # nothing is fetched for a node that was never made


def test_a_part_that_cannot_be_seen_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> dict[str, Any]:
        raise StepError("bids", "look at host", "sshd is away")

    monkeypatch.setattr(looking, "_stages", broken)
    monkeypatch.setattr(looking, "_served", lambda *_: {"inside": True, "pods": 3, "quota": 50, "answer": 0.1})
    monkeypatch.setattr(looking, "_sampled", broken)
    [node] = json.loads(run("bids", "--html", "page.html", "-o", "json").stdout)["nodes"]
    assert (node["pods"], node["inside"], node["well"]) == (3, True, False)
    assert node["troubles"] == ["look at host: sshd is away"]  # once


@pytest.mark.parametrize(("prime", "pods", "inside"), [("", 0, True), ("", 9, True), ("https://prime.test", 0, False)])
def test_who_is_no_member_keeps_no_pods_free_for_others(prime: str, pods: int, inside: bool) -> None:
    federation = looking._federation(member_at("bids", "https://bids.example.org", 1), prime)
    quota = {"service": "Pod quota", "ok": True, "total_pods": pods, "quota": 9}
    told = Attempt(Answer({"binderhub": "1"}), Answer({"ok": True, "checks": [quota]}))
    assert judge([told], None, federation.rules).inside is inside
    assert federation.prime.url == (prime or "https://bids.example.org")


def test_well_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = seen(monkeypatch, [look("bids"), look("ovh")])
    done = run("--all")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "2 of 2 nodes well" in done.stderr
    assert asked == [["bids", "ovh"]]


def test_watching_tells_an_event_a_node_and_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    seen(monkeypatch, [look("bids"), away("ovh")], [look("bids", 1), look("ovh", 1, changes={"host": 1})])
    # The looks are of long ago: the next one is due at once, and the third after the end.
    monkeypatch.setattr(looking, "look_at_all", until_interrupted(looking.look_at_all, 2))
    done = run("bids", "ovh", "--watch", "--every", "5", "-o", "json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(event["kind"], event["data"]["node"]) for event in events] == [
        ("done", "bids"),
        ("warn", "ovh"),
        ("done", "bids"),
        ("warn", "ovh"),
    ]
    assert events[3]["message"] == "ovh: 1 change wanted: `up` would change: host 1"
    assert done.exit_code == 1  # as the last look


def until_interrupted(look_at_all: Any, rounds: int) -> Any:
    """``look_at_all``, with Ctrl-C after so many rounds."""
    left = [rounds]

    def limited(*words: Any) -> Any:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return look_at_all(*words)

    return limited


def test_a_page_goes_on_from_the_last_and_is_never_somebody_elses(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = home / "nodes.html"
    seen(monkeypatch, [look("bids")], [look("bids", 5, pods=70)], [look("bids", 10)])
    monkeypatch.setattr("time.time", lambda: look("bids", 10).at)
    for count in (1, 2):
        assert run("bids", "--html", str(page)).exit_code == 0
        assert len(report.read(page.read_text())) == count
    assert "70 of 100" in page.read_text()
    page.write_text("<html>mine</html>")
    done = run("bids", "--html", str(page))
    assert (done.exit_code, page.read_text()) == (2, "<html>mine</html>")
    assert "--html: it is no page of `status --html`" in done.stderr
    done = run("bids", "--html", str(home / "nowhere/nodes.html"))
    assert done.exit_code == 2
    assert "cannot be written: No such file or directory" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "NODE: no node is named; say one, several, or --all"),
        (["--all", "bids"], "--all: has no meaning beside names"),
        (["bids", "--for", "10"], "--for: has no meaning without --watch"),
    ],
)
def test_what_does_not_go_together(words: list[str], says: str) -> None:
    done = run(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_folder_without_inventories(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "empty").mkdir()
    monkeypatch.chdir(home / "empty")
    done = run("--all")
    assert done.exit_code == 2
    assert "inventories/ has no inventory" in done.stderr
