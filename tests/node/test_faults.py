"""What goes wrong while a node is made: each time a clear error, then the same command completes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.harness import Home, Ran, lent, make_home

pytestmark = pytest.mark.node
IMPATIENT = """\
config:
  KubernetesBuildExecutor:
    repo2docker_extra_args: [--BuildctlEngine.push_seconds=20]
"""


@pytest.fixture(scope="module")
def beta(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A node of its own, to be broken. Its values shorten what the engine waits for a registry (180 s)."""
    folder = tmp_path_factory.mktemp("faults")
    made = make_home(folder, "beta", "198.18.42", more="binderhub: {values: [impatient.yaml]}")
    (made.inventory.parent / "impatient.yaml").write_text(IMPATIENT)
    with lent(made):
        yield made


def killed_when(home: Home, stage: str, kind: str, seconds: float = 300) -> list[dict[str, object]]:
    """Run ``up`` and SIGKILL it alone at the first event of ``kind`` of a stage that changes something."""
    process = home.start("up", "-o", "json")
    seen: list[dict[str, object]] = []
    deadline = time.monotonic() + seconds
    assert process.stdout is not None
    changing = False
    for line in process.stdout:
        event = json.loads(line)
        seen.append(event)
        changing = changing or (event["stage"] == stage and event["kind"] == "change")
        whole = kind != "done" or event["data"].get("whole")  # not one of its steps
        if changing and whole and event["stage"] == stage and event["kind"] == kind:
            os.kill(process.pid, signal.SIGKILL)
            break
        assert time.monotonic() < deadline, f"no {kind} of {stage}: {seen[-3:]}"
    _, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL, f"up ended by itself: {err}"
    return seen


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        ("machine", "start"),
        ("machine", "done"),
        ("host", "start"),
        ("host", "done"),
        ("storage", "done"),
        ("release", "start"),
    ],
)
def test_killed_at_a_stage_and_run_again(beta: Home, stage: str, kind: str) -> None:
    """In order, on one machine that is made meanwhile; the last test below sees it completed."""
    killed_when(beta, stage, kind)
    status = beta.run("status", "-o", "json")
    assert status.code in (0, 1), status.err


def test_after_all_those_kills_the_same_command_completes(beta: Home) -> None:
    done = beta.up().ok()
    assert done.last["data"]["changes"] >= 1
    assert beta.up().ok().last["data"]["changes"] == 0
    beta.world("up")
    assert beta.launch(f"{beta.git}/minimal.git", "--run", "print(1)").ok().last["data"]["output"] == "1\n"


def test_a_cut_connection_is_said_and_the_next_run_goes_on(beta: Home) -> None:
    """The machine's link goes down while K3s is changed; nothing answers any more."""
    text = beta.inventory.read_text()
    beta.inventory.write_text(text + "kubernetes: {max_pods: 41}\n")
    link = "vb-beta"
    process = beta.start("up", "-o", "json")
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["stage"] == "host" and event["kind"] == "change":
            subprocess.run(["ip", "link", "set", link, "down"], check=True)
            break
    _, err = process.communicate(timeout=240)
    subprocess.run(["ip", "link", "set", link, "up"], check=True)
    assert process.returncode in (1, 3)
    assert "beta" in err
    assert "Traceback" not in err
    beta.up().ok()
    assert beta.up().ok().last["data"]["changes"] == 0


def test_another_host_key_is_refused_at_once(beta: Home) -> None:
    beta.ssh(
        "cp -a /etc/ssh /root/ssh.kept && rm /etc/ssh/ssh_host_ed25519_key*"
        " && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key && systemctl restart ssh"
    )
    control = beta.folder / "state/beta"
    subprocess.run(["ssh", "-F", str(control / "ssh_config"), "-O", "exit", "beta"], capture_output=True, check=False)
    began = time.monotonic()
    refused = beta.up()
    assert refused.code == 1
    assert "another host key answers there" in refused.err
    assert time.monotonic() - began < 20
    machine = beta.folder / "machines/beta/root"
    subprocess.run(["cp", "-a", f"{machine}/root/ssh.kept/.", f"{machine}/etc/ssh/"], check=True)
    root = init_of(beta)
    subprocess.run(["nsenter", "-t", root, "-a", "systemctl", "restart", "ssh"], check=True)
    assert beta.up().ok().last["data"]["changes"] == 0


def init_of(home: Home) -> str:
    """The pid of the machine's init, as this computer sees it."""
    pid = json.loads((home.folder / "machines" / home.name / "machine.json").read_text())["pid"]
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]


def test_a_registry_that_is_down_fails_the_build_clearly_and_the_next_one_works(beta: Home) -> None:
    url = beta.new_repository("down", {"Dockerfile": "FROM docker.io/binder-node/base:1\nRUN echo down > /tmp/down\n"})
    beta.ssh("systemctl stop registry-push")
    try:
        failed = beta.launch(url)
    finally:
        beta.ssh("systemctl start registry-push")
    assert failed.code == 1
    assert said(failed, "the image was built, but the registry did not take it")
    pods = "k3s kubectl get pods -n binder -l component=binderhub-build -o name"
    deadline = time.monotonic() + 60
    while beta.ssh(pods).strip():  # BinderHub shows a build that is still there to whoever asks for the same one
        assert time.monotonic() < deadline, "the failed build's pod is never taken away"
        time.sleep(1)
    beta.launch(url, "--run", "print(2)").ok()


def said(ran: Ran, word: str) -> bool:
    """Whether any event's text has the word in it."""
    return any(word in (str(event["message"]) + str(event["data"])).lower() for event in ran.events)


def test_a_damaged_file_on_the_node_is_put_right(beta: Home) -> None:
    before = beta.ssh("sha256sum /etc/buildkit/buildkitd.toml")
    beta.ssh("echo '# by hand' >> /etc/buildkit/buildkitd.toml && rm /usr/local/bin/registry")
    done = beta.up().ok()
    whats = [event["message"] for event in done.events if event["kind"] == "change"]
    assert any("/etc/buildkit/buildkitd.toml" in what for what in whats)
    assert any("/usr/local/bin/registry" in what for what in whats)
    assert beta.ssh("sha256sum /etc/buildkit/buildkitd.toml") == before


def test_what_an_older_version_left_is_removed(beta: Home) -> None:
    """A unit and a file of ours that this version no longer wants, known by the list that lies on the machine."""
    unit = "/etc/systemd/system/binder-node-old.service"
    text = "[Service]\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"
    beta.ssh(f"printf '{text}' > {unit} && systemctl enable --now binder-node-old && echo old > /etc/binder-node/old")
    manifest = json.loads(beta.ssh("cat /etc/binder-node/manifest.json"))
    manifest["paths"] += [unit, "/etc/binder-node/old"]
    manifest["units"] += ["binder-node-old.service"]
    beta.ssh(f"cat > /etc/binder-node/manifest.json <<'JSON'\n{json.dumps(manifest)}\nJSON")

    done = beta.up().ok()
    deleted = [event["message"] for event in done.events if event["data"].get("action") == "delete"]
    assert any("binder-node-old.service" in what for what in deleted)
    assert any("/etc/binder-node/old" in what for what in deleted)
    left = beta.ssh(f"ls {unit} /etc/binder-node/old 2>/dev/null; systemctl is-active binder-node-old; true")
    assert left.split() == ["inactive"]
    assert beta.up().ok().last["data"]["changes"] == 0


def test_a_full_disk_is_said_and_the_next_run_goes_on(beta: Home) -> None:
    """No room for an upload: the machine's folders lie on a filesystem that is filled up for the test."""
    beta.ssh("mkdir -p /opt/binder-node/store && rm -f /opt/binder-node/store/minio-*")
    beta.ssh("mount -t tmpfs -o size=20m full /opt/binder-node/store")
    try:
        failed = beta.up()
    finally:
        beta.ssh("umount /opt/binder-node/store")
    assert failed.code == 1
    assert "no space" in failed.err.lower()
    assert "Traceback" not in failed.err
    beta.up().ok()
    assert beta.up().ok().last["data"]["changes"] == 0
