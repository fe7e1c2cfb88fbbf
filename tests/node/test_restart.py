"""K3s restarts in the middle of things: sessions live on, the next build works."""

from __future__ import annotations

import time

import pytest

from tests.node.harness import Home

pytestmark = pytest.mark.node


def test_a_session_lives_through_a_restart_of_k3s_and_builds_work_again(home: Home, git: str) -> None:
    kept = home.launch(f"{git}/minimal.git", "--keep", "--run", "mark = 1; print('alive')").ok()
    url = kept.last["data"]["url"]
    pod = "jupyter-" + url.split("/user/")[1].strip("/")
    running = f"k3s kubectl get pod -n binder {pod} -o jsonpath='{{.status.startTime}} {{.status.phase}}'"
    before = home.ssh(running)
    assert before.endswith("Running")

    build = home.start("launch", f"{git}/slow.git", "-o", "json")
    time.sleep(6)
    home.ssh("systemctl stop k3s && systemctl start k3s")  # and what ends with it comes back with it
    build.communicate(timeout=400)

    assert home.ssh(running) == before
    code = f"curl -s -o /dev/null -w '%{{http_code}}' -H 'Host: hub.{home.name}.test' http://127.0.0.1"
    path = url.split("hub." + home.name + ".test", 1)[1]
    deadline = time.monotonic() + 90
    while home.ssh(f"{code}{path}api").strip() not in {"200", "403"}:
        assert time.monotonic() < deadline, "the session's server answers no more"
        time.sleep(2)

    fresh = home.new_repository(
        "after", {"Dockerfile": f"FROM docker.io/binder-node/base:1\nRUN echo {time.time()} > /tmp/after\n"}
    )
    assert home.launch(fresh, "--run", "print('built')", timeout=600).ok().last["data"]["output"] == "built\n"
    # Nobody waits for it any more, and BuildKit's next restart would.
    home.ssh("k3s kubectl delete pods -n binder -l component=binderhub-build --now")
