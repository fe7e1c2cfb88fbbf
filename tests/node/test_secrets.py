"""No secret in anything that is shown: plan, logs, events, tracebacks, and processes' arguments during a run."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from binder_node.secrets.masked import Masked
from binder_node.secrets.store import SecretStore
from tests.node.harness import Home, make_home

pytestmark = pytest.mark.node


def secrets_of(home: Home, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Every secret of the node, in clear, by name; a private key by each of its lines."""
    for name, value in home.environment.items():
        if name.startswith("BINDER_NODE_"):
            monkeypatch.setenv(name, value)
    found: dict[str, str] = {}
    for name, value in SecretStore(home.inventory).load():
        if isinstance(value, Masked):
            for number, line in enumerate(value.reveal().splitlines()):
                if len(line) > 20 and not line.startswith("-----"):
                    found[f"{name}:{number}"] = line
    assert len(found) > 10
    return found


def arguments() -> set[bytes]:
    """The command lines of every process of this computer, the machines' included."""
    lines = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.add(path.read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return lines


def test_a_whole_run_shows_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home(tmp_path, "gamma", "198.18.43")
    try:
        shown = {"plan before": home.run("plan").shown}
        process = home.start("up", "-o", "json")
        lines: set[bytes] = set()
        while process.poll() is None:
            lines |= arguments()
            time.sleep(0.05)
        out, err = process.communicate()
        assert process.returncode == 0, err
        seen = b"\n".join(sorted(lines)).replace(b"\0", b" ").decode(errors="replace")
        shown |= {"arguments": seen, "events": out, "stderr": err}
        shown["plan after"] = home.run("plan", "-o", "json").shown
        # A plan that differs in files which hold secrets.
        home.ssh("truncate -s 0 /etc/binder-node/minio.env /etc/binder-node/registry-push.yaml")
        shown["plan of secret files"] = home.run("plan").shown
        home.ssh("truncate -s 0 /etc/rancher/k3s/registries.yaml && systemctl stop minio")
        monkeypatch.setenv("BINDER_NODE_DEBUG", "1")
        shown["failure with traceback"] = home.run("status").shown
        monkeypatch.delenv("BINDER_NODE_DEBUG")
        shown["status"] = home.run("status", "-o", "json").shown
        for component in ("k3s", "buildkit", "minio", "registry", "hub", "binder"):
            shown[f"logs {component}"] = home.run("logs", component).shown
        secrets = secrets_of(home, monkeypatch)
        leaked = sorted(
            (where, name) for where, text in shown.items() for name, value in secrets.items() if value in text
        )
        assert leaked == []
        assert all(shown[name].strip() for name in ("plan before", "events", "arguments", "plan of secret files"))
        assert json.loads(shown["plan after"])["count"] == 0
    finally:
        home.run("destroy", "--yes", home.name).ok()
