"""Layer ``registry``: who may push pushes, who may pull pulls, nobody else does either; by the name in every image."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from binder_node.layout import registry_name
from binder_node.lifecycle.opened import Opened
from binder_node.node import Access, Node
from binder_node.smoke import judge_registry as judge
from binder_node.smoke import registry
from binder_node.smoke.checks import check, expect
from binder_node.smoke.judge_versions import version
from binder_node.smoke.reserved import fresh_name, is_old
from binder_node.spec.model import Spec
from binder_node.upgrades.reported import Reported

PULL_SECONDS = 60.0


@pytest.fixture(scope="session")
def found(node: Node, access: Access) -> registry.Answers:
    """What both registries answered to every question that writes nothing."""
    return registry.ask(node, access, judge.SHALLOW)


@pytest.fixture(scope="session")
def image(node: Node, access: Access) -> Iterator[registry.Image]:
    """An image that is pushed under the reserved name, and gone from the bucket afterwards."""
    registry.sweep(node, access, lambda name: is_old(name, "/", time.time()))
    made = registry.fresh_image(fresh_name("/"), node.spec.machine.arch)
    yield made
    registry.sweep(node, access, lambda name: name == made.repository)


@check("registry.name", "on the node, the registry's public name leads to the node", needs="machine.ssh", guide=23)
def test_name(request: pytest.FixtureRequest, spec: Spec) -> None:
    expect(judge.name(request.getfixturevalue("found"), spec))


@check("registry.push-rights", "by that name, who may push gets in", needs=("registry.name", "storage.bucket"))
def test_push_rights(found: registry.Answers, spec: Spec) -> None:
    expect(judge.push_rights(found, spec))


@check("registry.pull-rights", "who may pull gets in", needs=("registry.name", "storage.bucket"))
def test_pull_rights(found: registry.Answers, spec: Spec) -> None:
    expect(*judge.pull_rights(found, spec))


@check("registry.refusals", "nobody else gets in, nor pushes", needs=("registry.push-rights", "registry.pull-rights"))
def test_refusals(found: registry.Answers, spec: Spec) -> None:
    expect(*judge.refusals(found, spec))


@pytest.fixture(scope="session")
def cached(node: Node, access: Access) -> registry.Answers:
    """What the cache of Docker Hub answered."""
    if not node.spec.hub_days:
        pytest.skip("there is no cache of Docker Hub (registry.cache_days)")
    return registry.ask(node, access, judge.CACHE)


@check("registry.cache", "the cache of Docker Hub answers, and takes no pushes", needs="storage.bucket")
def test_cache(cached: registry.Answers, spec: Spec) -> None:
    expect(*judge.cache(cached, spec))


@check("registry.cache-hub", "it gets answers from Docker Hub", needs="registry.cache", guide=30)
def test_cache_hub(cached: registry.Answers, spec: Spec) -> None:
    expect(judge.hub(cached, spec))


@check(
    "registry.version",
    "all are the registry that is pinned",
    needs=("registry.push-rights", "registry.pull-rights", "registry.cache"),
)
def test_version(running: Reported, opened: Opened, spec: Spec) -> None:
    expect(version(running, "registry", opened.pins.entries, spec.name))


@check(
    "registry.containerd",
    "containerd finds the registry by its public name, and gets in",
    needs=("registry.pull-rights", "k3s.containerd"),
    guide=23,
)
def test_containerd(host: Any, spec: Spec) -> None:
    wanted = f"{registry_name(spec.names.registry)}/{judge.NOWHERE}:none"
    done = host.run("k3s crictl pull %s", wanted, timeout=PULL_SECONDS)
    expect(judge.containerd(done.rc, done.stderr, wanted, spec))


@check(
    "registry.push",
    "an image is pushed with push rights",
    needs=("registry.push-rights", "registry.pull-rights"),
    guide=11,
    deep=True,
)
def test_push(node: Node, access: Access, image: registry.Image) -> None:
    expect(judge.pushed(registry.ask(node, access, (), image)["pushed"], node.spec))


@check("registry.pull", "it is pulled with pull rights, byte for byte", needs="registry.push", guide=19, deep=True)
def test_pull(node: Node, access: Access, image: registry.Image) -> None:
    expect(*judge.same(registry.ask(node, access, judge.pulls(image)), image))


@check(
    "registry.no-push",
    "with pull rights nobody pushes, to neither instance",
    needs=("registry.push", "registry.refusals"),
    deep=True,
)
def test_no_push(node: Node, access: Access, image: registry.Image) -> None:
    def tried(at: registry.Side) -> registry.Answer:
        return registry.ask(node, access, (), image, at, "pull")["pushed"]

    expect(
        judge.write_refused(tried("push"), "at the port for pushes, the pull login"),
        judge.write_refused(tried("pull"), "at the port for pulls, the pull login"),
    )


@check(
    "registry.containerd-pull",
    "containerd pulls it, by its public name and digest, though it never was on the node",
    needs=("registry.pull", "registry.containerd"),
    guide=(23, 30),
    deep=True,
)
def test_containerd_pull(host: Any, spec: Spec, image: registry.Image) -> None:
    wanted = f"{registry_name(spec.names.registry)}/{image.repository}@{image.digest}"
    with contextlib.ExitStack() as after:
        after.callback(host.run, "k3s crictl rmi %s", wanted)
        done = host.run("k3s crictl pull %s", wanted, timeout=PULL_SECONDS)
    expect(judge.pulled(done.rc, done.stderr, wanted, spec))
