"""What the node's memory makes of nft's and Kubernetes' own JSON."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from binder_node.host.on_node import keep
from binder_node.host.on_node.watch import facts
from binder_node.host.on_node.watch.api import credentials
from binder_node.host.on_node.watch.journal import Journal, tidy_logs

# As nftables 1.0.6 prints them.
CUT: dict[str, Any] = {
    "nftables": [
        {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
        {"set": {"name": "too_many", "type": "ipv4_addr", "elem": [
            {"elem": {"val": "10.42.0.5", "expires": 199, "counter": {"packets": 7, "bytes": 99}}},
        ]}},
    ]
}  # fmt: skip
MET: dict[str, Any] = {
    "nftables": [
        {"set": {"name": "met", "elem": [{"elem": {"val": {"concat": ["10.42.0.5", "1.2.3.4", 80]}, "expires": 0}}]}},
    ]
}  # fmt: skip
BANNED: dict[str, Any] = {
    "nftables": [
        {"set": {"name": "banned_fetched", "elem": [
            "192.0.2.1", {"prefix": {"addr": "198.51.100.0", "len": 24}}, {"range": ["203.0.113.1", "203.0.113.6"]},
        ]}},
    ]
}  # fmt: skip
EMPTY: dict[str, Any] = {"nftables": [{"set": {"name": "met"}}]}


def session(**status: Any) -> dict[str, Any]:
    environment = [
        {"name": "BINDER_REPO_URL", "value": "https://github.com/o/r"},
        {"name": "BINDER_REF_URL", "value": "https://github.com/o/r/tree/abc"},
        {"name": "JUPYTERHUB_API_TOKEN", "valueFrom": {}},
    ]
    return {
        "metadata": {
            "namespace": "binder", "name": "jupyter-o-r-x", "uid": "u1", "labels": {"component": "singleuser-server"},
        },
        "spec": {"containers": [{"env": environment}]},
        "status": {"phase": "Running", "podIP": "10.42.0.5", **status},
    }  # fmt: skip


def build(name: str, repo: str = "https://github.com/o/r") -> dict[str, Any]:
    about = {
        "name": name,
        "uid": name,
        "labels": {"component": "binderhub-build"},
        "annotations": {"binder-repo": repo},
    }
    arguments = ["jupyter-repo2docker", "--ref", "abc", "--image", "i", repo]
    return {"metadata": about, "spec": {"containers": [{"args": arguments}]}, "status": {"phase": "Pending"}}


def test_what_sets_hold_is_put_back_as_it_was() -> None:
    assert keep.commands("too_many", CUT) == (
        "add element inet binder_node too_many { 10.42.0.5 counter packets 7 bytes 99 expires 199s }\n"
    )
    # One that ends within a second keeps one: without a time it would stay for good.
    assert keep.commands("met", MET) == "add element inet binder_node met { 10.42.0.5 . 1.2.3.4 . 80 expires 1s }\n"
    assert keep.commands("banned_fetched", BANNED) == (
        "add element inet binder_node banned_fetched { 192.0.2.1, 198.51.100.0/24, 203.0.113.1-203.0.113.6 }\n"
    )
    assert keep.commands("met", EMPTY) == ""


def test_elements_are_told_by_their_parts() -> None:
    assert facts.elements(CUT) == {("10.42.0.5",): (7, 199)}
    assert facts.elements(MET) == {("10.42.0.5", "1.2.3.4", "80"): (0, 0)}
    assert facts.elements(EMPTY) == {}


def test_a_session_is_known_by_its_environment_and_a_build_by_its_annotation() -> None:
    assert facts.pod(session()).who() == {
        "kind": "session",
        "pod": "jupyter-o-r-x",
        "repo": "https://github.com/o/r",
        "ref": "https://github.com/o/r/tree/abc",
    }
    found = facts.pod(build("build-1"))
    assert (found.kind, found.repo, found.ref, found.address) == ("build", "https://github.com/o/r", "abc", "")


def test_a_pod_on_the_hosts_network_has_no_address_of_its_own() -> None:
    found = session()
    found["spec"]["hostNetwork"] = True
    assert facts.pod(found).address == ""


def test_how_a_pod_is_says_who_ran_out_of_memory() -> None:
    ended = {"name": "notebook", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    waits = {"name": "notebook", "state": {"waiting": {"reason": "ErrImagePull"}}}
    assert facts.state(session()) == "Running"
    assert facts.state(session(phase="Failed", containerStatuses=[ended])) == "Failed; notebook: OOMKilled, exit 137"
    assert facts.state(session(phase="Failed", reason="Evicted")) == "Failed: Evicted"
    assert facts.state(session(phase="Pending", containerStatuses=[waits])) == "Pending; notebook: ErrImagePull"


def test_an_event_is_kept_when_it_is_a_pods() -> None:
    about: dict[str, Any] = {
        "involvedObject": {"kind": "Pod", "name": "p"},
        "reason": "Failed",
        "message": "no",
        "lastTimestamp": None,
        "eventTime": "2026-11-21T20:00:00.123456Z",
    }
    assert facts.event(about) == {
        "at": "2026-11-21T20:00:00Z", "kind": "event", "pod": "p", "reason": "Failed", "message": "no",
    }  # fmt: skip
    assert facts.event({**about, "involvedObject": {"kind": "Node", "name": "n"}}) is None


def test_of_several_builds_the_one_is_taken_whose_log_has_the_steps_command() -> None:
    one, other = facts.pod(build("one")), facts.pod(build("other"))
    system = facts.pod({"metadata": {"name": "hub"}})
    logs = {"one": "#9 RUN pip install numpy\n", "other": "#9 RUN python3 scan.py\n"}
    assert facts.builders([one, other, system], "python3 scan.py", logs) == [other]
    assert facts.builders([one, system], "python3 scan.py", {}) == [one]
    assert facts.builders([one, other], "", {}) == [one, other]
    assert facts.builders([one, other], "neither", logs) == [one, other]


def test_days_before_are_packed_and_old_ones_go(tmp_path: Path) -> None:
    journal, day = Journal(tmp_path, days=3), 86400.0
    start = 1_700_000_000.0  # 2023-11-14
    for count in range(6):
        journal.write({"kind": "met", "count": count}, start + count * day)
    journal.tidy(start + 5 * day)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "2023-11-16.jsonl.gz", "2023-11-17.jsonl.gz", "2023-11-18.jsonl.gz", "2023-11-19.jsonl",
    ]  # fmt: skip
    with gzip.open(tmp_path / "2023-11-16.jsonl.gz", "rt") as file:
        assert json.loads(file.read()) == {"at": "2023-11-16T22:13:20Z", "kind": "met", "count": 2}


def test_a_logs_folder_stays_bounded(tmp_path: Path) -> None:
    import os

    now = 1_700_000_000.0
    for name, age in (("old", 5), ("new", 1)):
        (tmp_path / f"{name}.log").write_text("x")
        os.utime(tmp_path / f"{name}.log", (now - age * 86400, now - age * 86400))
    tidy_logs(tmp_path, 3, now)
    assert [file.name for file in tmp_path.iterdir()] == ["new.log"]


def test_k3s_own_kubeconfig_is_read_without_a_yaml_library() -> None:
    text = (
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: QQ==\n"
        "    server: https://127.0.0.1:6443\n  name: default\nusers:\n- name: default\n  user:\n"
        '    client-certificate-data: "Qg=="\n    client-key-data: Qw==\n'
    )
    assert credentials(text) == {
        "server": "https://127.0.0.1:6443",
        "certificate-authority-data": "QQ==",
        "client-certificate-data": "Qg==",
        "client-key-data": "Qw==",
    }
