"""Rotated secrets on a running node: the next `up` puts every one in force, and sessions live on."""

from __future__ import annotations

import json

import pytest

from binder_node.layout import PULL_PORT, PUSH_PORT
from binder_node.secrets.masked import Masked
from binder_node.secrets.model import Secrets
from binder_node.secrets.store import SecretStore
from tests.node.harness import PROGRAM, Home

pytestmark = pytest.mark.node

DOCKERFILE = "FROM docker.io/binder-node/base:1\nRUN echo {word} > /tmp/{word}\n"


def rotate(home: Home, *names: str) -> list[str]:
    """`binder-node secrets rotate`; the names that are other now."""
    done = home.call([PROGRAM, "secrets", "rotate", str(home.inventory), *names, "-o", "json"], timeout=60).ok()
    return [one["name"] for one in json.loads(done.out)["rotated"]]


def secrets_of(home: Home) -> Secrets:
    environ = {name: value for name, value in home.environment.items() if name.startswith("BINDER_NODE_")}
    return SecretStore(home.inventory, environ=environ).load()


def registry_says(home: Home, port: int, user: str, password: Masked) -> str:
    """The status of the registry's door for this password, as the node itself hears it."""
    login = f"user = {user}:{password.reveal()}"
    curl = "curl -s -o /dev/null -w '%{http_code}' --config -"
    return home.ssh(f"echo '{login}' | {curl} http://127.0.0.1:{port}/v2/").strip()


def doors(home: Home, secrets: Secrets) -> list[str]:
    return [
        registry_says(home, PUSH_PORT, "push", secrets.registry_push_password),
        registry_says(home, PULL_PORT, "pull", secrets.registry_pull_password),
    ]


def test_every_secret_that_can_be_is_rotated_and_in_force_after_one_up(home: Home) -> None:
    url = home.new_repository("rotated", {"Dockerfile": DOCKERFILE.format(word="before")})
    kept = home.launch(url, "--keep", "--run", "print('alive')").ok()
    pod = "jupyter-" + kept.last["data"]["url"].split("/user/")[1].strip("/")
    running = f"k3s kubectl get pod -n binder {pod} -o jsonpath='{{.status.startTime}} {{.status.phase}}'"
    session = home.ssh(running)
    assert session.endswith("Running")
    old = secrets_of(home)
    assert doors(home, old) == ["200", "200"]

    names = rotate(home)
    assert len(names) == 14
    new = secrets_of(home)
    plan = home.run("plan")
    hidden = [value.reveal() for one in (old, new) for value in one.hidden()]
    assert not [value for value in hidden if value in plan.shown]
    assert home.up().ok().last["data"]["changes"] > 0
    assert home.up().ok().last["data"]["changes"] == 0

    assert doors(home, new) == ["200", "200"]
    assert doors(home, old) == ["401", "401"]
    assert home.ssh(running) == session

    # Pushed with the new password; then, with the node's own copy gone, pulled with the new one.
    fresh = home.new_repository("after-rotation", {"Dockerfile": DOCKERFILE.format(word="after")})
    assert home.launch(fresh, "--run", "print('built')").ok().last["data"]["output"] == "built\n"
    removed = home.ssh("k3s crictl rmi $(k3s crictl images | awk '/after-2drotation/ {print $3}' | sort -u)")
    assert removed.strip()
    assert home.launch(fresh, "--run", "print('pulled')").ok().last["data"]["output"] == "pulled\n"
    assert "Successfully pulled image" in home.ssh("k3s kubectl get events -n binder | grep after-2drotation")
    # What was built before is there still: bucket and registry are the same.
    assert home.launch(url, "--run", "print('old image')").ok().last["data"]["output"] == "old image\n"


@pytest.mark.soak
@pytest.mark.parametrize("name", ["binder_api_token", "proxy_token", "s3_access_key"])
def test_one_alone_is_in_force_after_one_up(home: Home, git: str, name: str) -> None:
    """Those that two sides hold: rotated alone, one side could be left with the old one."""
    assert rotate(home, name) == [name]
    home.up().ok()
    assert home.up().ok().last["data"]["changes"] == 0
    assert home.launch(f"{git}/minimal.git", "--run", f"print('{name}')").ok().last["data"]["output"] == f"{name}\n"
