"""Layer ``binder``: BinderHub and JupyterHub, asked from outside under their public names."""

from __future__ import annotations

from typing import Any

import pytest

from binder_node.binder.client import Binder
from binder_node.cluster import served
from binder_node.cluster.tls import trust
from binder_node.cluster.values import compose, read
from binder_node.lifecycle.opened import Opened
from binder_node.node import Node
from binder_node.smoke import judge_binder as judge
from binder_node.smoke.checks import check, expect
from binder_node.smoke.judge_versions import version
from binder_node.spec.model import Spec
from binder_node.upgrades.reported import Reported


@pytest.fixture(scope="session")
def hub(spec: Spec) -> str:
    """JupyterHub's public address, without a slash at its end."""
    return spec.url(spec.names.hub)


@pytest.fixture(scope="session")
def health(binder: Binder) -> dict[str, Any]:
    return binder.health()


@pytest.fixture(scope="session")
def shown(spec: Spec, address: str) -> list[served.Served]:
    """The certificates that the node shows for its names."""
    if spec.tls.mode == "none":
        pytest.skip("the node serves plain HTTP (tls.mode: none)")
    return served.look(spec, address, trust(spec))


@check("binder.certificates", "the world trusts the node's certificates", needs="machine.ssh")
def test_certificates(shown: list[served.Served]) -> None:
    expect(*judge.certificates(shown))


@check("binder.renewals", "they are renewed in time", needs="binder.certificates", guide=28)
def test_renewals(shown: list[served.Served]) -> None:
    expect(*judge.renewals(shown))


@pytest.fixture(scope="session")
def build_image(node: Node, address: str) -> str:
    """The build image that the release's values name, the operator's files included."""
    composed = compose(node, address, read(node.spec)).values
    return str(composed["config"]["KubernetesBuildExecutor"]["build_image"])


@check(
    "binder.versions",
    "/versions answers, with the build image that the values name",
    needs=("k3s.ingress", "binder.certificates"),
)
def test_versions(binder: Binder, build_image: str, spec: Spec) -> None:
    expect(judge.versions(binder.versions(), build_image, spec))


@check("binder.chart", "the release is of the chart that is pinned", needs=("binder.versions", "k3s.api"))
def test_chart(running: Reported, opened: Opened, spec: Spec) -> None:
    expect(version(running, "chart", opened.pins.entries, spec.name))


@check("binder.health", "/health answers", needs=("binder.versions", "k3s.dns"))
def test_health(request: pytest.FixtureRequest) -> None:
    expect(judge.health_form(request.getfixturevalue("health")))


@check("binder.hub-health", "JupyterHub answers through its proxy", needs=("k3s.ingress", "binder.certificates"))
def test_hub_health(binder: Binder, hub: str, spec: Spec) -> None:
    answer = binder.request("GET", f"{hub}/hub/api/health", "ask JupyterHub how it is")
    remedy = f"see `binder-node logs {spec.name} hub`, and proxy"
    expect(judge.status(f"{hub}/hub/api/health", answer.status_code, 200, remedy))


@check("binder.gone", "a server that is not there is 424: /user/doesntexist", needs="binder.hub-health")
def test_gone(binder: Binder, hub: str, spec: Spec) -> None:
    answer = binder.request("GET", f"{hub}/user/doesntexist", "ask for nobody's server", follow_redirects=True)
    remedy = f"values/base.yaml has JupyterHub say so: run `binder-node up {spec.name}`"
    expect(judge.status(f"{hub}/user/doesntexist", answer.status_code, 424, remedy))


@check("binder.other", "what is nowhere is 404: /other/", needs="binder.hub-health")
def test_other(binder: Binder, hub: str) -> None:
    answer = binder.request("GET", f"{hub}/other/doesntexist", "ask for a page that is not", follow_redirects=True)
    expect(judge.status(f"{hub}/other/doesntexist", answer.status_code, 404, "does something else answer there?"))


@check(
    "binder.registry",
    "BinderHub itself gets to the registry",
    needs=("binder.health", "registry.pull-rights", "k3s.address"),
    guide=23,
)
def test_registry(health: dict[str, Any], spec: Spec) -> None:
    expect(judge.registry(health, spec))


@check("binder.hub", "BinderHub itself gets to JupyterHub", needs=("binder.health", "binder.hub-health"))
def test_hub(health: dict[str, Any], spec: Spec) -> None:
    expect(judge.hub(health, spec))


@check("binder.quota", "there is room for launches", needs=("binder.health", "k3s.dead-pods"), guide=2)
def test_quota(health: dict[str, Any], spec: Spec) -> None:
    expect(judge.quota(health, spec))
