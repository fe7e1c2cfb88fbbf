"""``binder-node capacity`` as an operator runs it, on the documents of loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from binder_node.cli.main import app
from binder_node.load import result
from binder_node.load.result import Machine, Sample
from binder_node.load.visit import Visit

GB = 10**9
INVENTORY = """\
name: sat
provider: {kind: ssh, address: 192.0.2.9, fingerprint: "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
machine: {cpus: 2, memory: 12G, disk: 40G}
names: {binder: sat.test}
tls: {mode: none}
storage: {kind: node}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories/sat.yaml").write_text(INVENTORY)
    # Each session 100 MB over 1.4 GB, each launch a second of two cores; above one a second it is slow.
    for rate, ready in ((0.5, 3.0), (1.0, 6.0), (1.5, 40.0)):
        write(tmp_path / f"{rate}.json", rate, ready)
    return tmp_path


def write(path: Path, rate: float, ready: float, *, cpus: int = 2) -> None:
    count = int(rate * 60)
    visits = tuple(
        Visit(number=number, at=number / rate, path="git/x/HEAD", ready=ready, kind="cached", left=ready + 10)
        for number in range(count)
    )
    samples = tuple(
        Sample(at=at, cpu=0.1 + rate / 2, memory=1_400_000_000 + at * 100_000_000, disk=GB, users=at)
        for at in range(0, 60, 2)
    )
    machine = Machine(name="sat", cpus=cpus, memory=12 * GB, samples=samples)
    document = result.Result(
        tool="test", target="sat", url="http://sat.test", started="2026-11-21T19:00:00+00:00", seconds=70.0,
        arriving=60.0, stopped="plan", machines=(machine,), visits=visits,
    )  # fmt: skip
    result.write(document, path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["capacity", "sat", *arguments])


def test_what_a_node_holds_and_what_to_write() -> None:
    done = run("0.5.json", "1.0.json", "1.5.json", "--p95", "10s", "--stay", "10m", "-o", "json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fit"]["rate"] == 1.0
    assert found["fit"]["session"] == 100_000_000
    assert found["fit"]["launch"] == pytest.approx(1.0)
    # (12 - 1.4 - 2 builds of 2 GB) x 0.8 / 100 MB; the pods that the inventory allows allow less.
    assert found["limits"] == [
        {"what": "pods", "sessions": 10},
        {"what": "memory", "sessions": 52},
        {"what": "launches", "sessions": 600},
    ]
    assert found["proposal"]["quota"] == 49
    assert found["proposal"]["max_pods"] == 71
    assert {rule["key"]: rule["holds"] for rule in found["rules"]}["idle memory"] is True


def test_for_people() -> None:
    done = run("0.5.json", "1.0.json", "1.5.json", "--p95", "10s")
    assert done.exit_code == 0
    assert "1.00 launches a second were good\n" in done.stderr
    assert "memory: 1.4G idle, 100M a session" in done.stderr
    assert "binderhub: {quota: 49, build_limit: 2}" in done.stderr


def test_a_document_of_another_kind_or_machine_is_told_by_its_name(folder: Path) -> None:
    (folder / "other.json").write_text("{}")
    done = run("other.json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("other.json: kind:")
    write(folder / "big.json", 0.5, 3.0, cpus=48)
    done = run("0.5.json", "big.json")
    assert done.exit_code == 2
    assert "big.json: machines: is of a machine of another size" in done.stderr
