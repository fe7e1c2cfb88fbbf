"""Every component of a node upgraded in place while a user's server runs; what fails or is killed goes back.

Each test begins with a node at rest, whatever was before it: one alone can be run.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import tarfile
import time
import tomllib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from binder_node.artifacts.pins import Pin, load_pins
from binder_node.events import silent
from binder_node.upgrades.components import merged, written
from binder_node.upgrades.releases import turned
from tests.node.harness import PINS, Home, lent, make_home
from tests.node.test_upgrade import held, made_of, pinned, shown
from tests.testbed.build.stand_in import VERSION, Builder
from tests.testbed.world.host import RUN

pytestmark = [
    pytest.mark.node,
    pytest.mark.soak,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PINS, reason="its other versions of K3s and of the chart are made for the testbed"),
]

NEWER = VERSION.replace("v1.35.4", "v1.35.5")
OLD = {"registry": "v3.1.1", "buildkitd": "v0.33.0", "buildctl": "v0.33.0"}
CHART = "1.0.0-0.testbed"
# A session nobody looks at is culled after ten minutes, which are less than all of this takes.
VALUES = "jupyterhub: {cull: {every: 3600, timeout: 7200}}\n"
SECONDS = 1200


@pytest.fixture(scope="module")
def upsilon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A node of older releases, with a K3s of the testbed's usual number."""
    folder = tmp_path_factory.mktemp("upgrade")
    home = make_home(folder, "upsilon", "198.18.113", more="binderhub: {values: [patient.yaml]}")
    (home.inventory.parent / "patient.yaml").write_text(VALUES)
    pin(home, **{name: turned(usual(name), number) for name, number in OLD.items()})
    with lent(home):
        home.up(timeout=900).ok()  # the older releases are built
        home.world("up")
        yield home


@pytest.fixture(scope="module")
def session(upsilon: Home) -> str:
    """A user's server; the name of its pod."""
    done = upsilon.launch(f"{upsilon.git}/minimal.git", "--keep", "--run", "print('alive')").ok()
    return "jupyter-" + str(done.last["data"]["url"]).split("/user/")[1].strip("/")


@pytest.fixture
def node(upsilon: Home) -> Home:
    """Pinned is what it is made of, and nothing is held: there is nothing to upgrade."""
    pinned(upsilon).write_text(made_of(upsilon))
    upsilon.inventory.with_suffix(".held.toml").unlink(missing_ok=True)
    return upsilon


def usual(name: str) -> Pin:
    """The testbed's pin of that name."""
    return load_pins(Path(PINS)).entries[name]


def pin(home: Home, **pins: Pin) -> None:
    """Pin these besides, and in place of, what the node's own file pins; ``_`` in a name is ``-``."""
    file, entries = pinned(home), {name.replace("_", "-"): pin for name, pin in pins.items()}
    file.write_text(merged(file.read_text() if file.exists() else "", written(entries, {}, "#")))


def at(name: str, version: str, path: Path) -> Pin:
    """The testbed's pin of that name as this file."""
    file = {"path": path}
    return Pin.model_validate({**usual(name).model_dump(exclude={"file"}), "version": version, "file": file})


def other_k3s(version: str) -> dict[str, Pin]:
    """Pins of the testbed's K3s that says it is ``version``; its images are the same."""
    images = usual("k3s-images").file
    assert images is not None
    k3s = Builder(silent, version=version).k3s()
    return {"k3s": at("k3s", version, k3s), "k3s_images": at("k3s-images", version, images.path)}


def chart(folder: Path, number: int, *, broken: bool = False) -> Pin:
    """The testbed's chart with another number; a broken one has a template that Helm refuses."""
    version, source = f"{CHART}.{number}", usual("binderhub-chart").file
    assert source is not None
    out = folder / f"binderhub-{version}.tgz"
    with tarfile.open(source.path) as old, tarfile.open(out, "w:gz") as new:
        for member in old.getmembers():
            content = old.extractfile(member)
            assert content is not None
            data = content.read()
            if member.name.endswith("/Chart.yaml"):
                lines = [line for line in data.decode().splitlines() if not line.startswith("version:")]
                data = "\n".join([*lines, f"version: {version}", ""]).encode()
            if broken and member.name.endswith("/templates/binder.yaml"):
                data += b'{{ fail "this chart is broken" }}\n'
            member.size = len(data)
            new.addfile(member, BytesIO(data))
    return at("binderhub-chart", version, out)


def started(home: Home, pod: str) -> str:
    return home.ssh(
        f"k3s kubectl get pod -n binder {pod} -o jsonpath='{{.status.startTime}} {{.status.phase}} "
        "{.status.containerStatuses[0].restartCount}'"
    )


def runs(home: Home, name: str) -> str:
    return shown(home)[name]["runs"]


def test_every_component_moves_and_a_session_lives_through_it(node: Home, session: str, tmp_path: Path) -> None:
    assert (runs(node, "registry"), runs(node, "buildkit")) == ("v3.1.1", "v0.33.0")
    before = started(node, session)
    pin(node, **{name: usual(name) for name in OLD}, **other_k3s(NEWER), binderhub_chart=chart(tmp_path, 2))
    began = time.monotonic()
    done = node.run("upgrade", "-o", "json", timeout=SECONDS).ok().last["data"]["done"]
    print(f"{time.monotonic() - began:.0f} s: {done}")
    assert [(item["component"], item["old"], item["new"]) for item in done] == [
        ("registry", "v3.1.1", "v3.1.2"),
        ("buildkit", "v0.33.0", "v0.33.1"),
        ("k3s", VERSION, NEWER),
        ("chart", f"{CHART}.1", f"{CHART}.2"),
    ]
    assert {name: (row["runs"], row["why"]) for name, row in shown(node).items() if name != "minio"} == {
        "registry": ("v3.1.2", ""),
        "buildkit": ("v0.33.1", ""),
        "k3s": (NEWER, ""),
        "chart": (f"{CHART}.2", ""),
    }
    assert started(node, session) == before
    assert node.up().ok().last["data"]["changes"] == 0


def test_a_registry_that_fails_its_checks_goes_back_by_itself(node: Home, tmp_path: Path) -> None:
    """One that says the pinned version and lets nobody pull: it has the other instance's passwords."""
    version = runs(node, "registry")
    right = node.ssh("readlink /usr/local/bin/registry").strip()
    bad = tmp_path / "registry"
    env = "REGISTRY_AUTH_HTPASSWD_PATH=/etc/binder-node/registry-push.htpasswd"
    bad.write_text(f'#!/bin/sh\n[ $1 = serve ] && export {env}\nexec {shlex.quote(right)} "$@"\n')
    pin(node, registry=at("registry", version, bad))
    failed = node.run("upgrade", "registry", "-o", "json", "--settle", "20", timeout=SECONDS)
    assert failed.code == 1
    assert failed.last["data"]["failed"]["why"].startswith("registry.pull-rights: ")
    why = held(node)["registry"]["held"]
    assert why.startswith(f"{version} failed: registry.pull-rights: ")
    assert node.ssh("readlink /usr/local/bin/registry").strip() == right
    # Everybody keeps to it now: nothing to do for `up`, and the checks pass.
    assert node.up().ok().last["data"]["changes"] == 0
    node.run("smoke", "--only", "registry").ok()
    assert node.run("upgrade", "registry", "-o", "json").ok().last["data"]["left"] == {"registry": why}


def test_a_k3s_that_does_not_start_goes_back_and_the_session_lives_on(node: Home, session: str, tmp_path: Path) -> None:
    before, version = started(node, session), runs(node, "k3s")
    bad = tmp_path / "k3s"
    bad.write_text("#!/bin/sh\necho this is no K3s >&2\nexit 1\n")
    pin(node, k3s=at("k3s", "v1.35.6+k3s1", bad))
    failed = node.run("upgrade", "-o", "json", timeout=SECONDS)
    assert failed.code == 1, failed.shown[-3000:]
    outcome = failed.last["data"]["failed"]
    assert (outcome["component"], outcome["old"]) == ("k3s", version)
    assert "this is no K3s" in outcome["why"]
    assert runs(node, "k3s") == version
    assert started(node, session) == before
    node.run("smoke").ok()
    # Another version is pinned: what failed is forgotten.
    pinned(node).write_text(made_of(node))
    assert node.run("upgrade", "-o", "json").ok().last["data"]["done"] == []
    assert held(node) == {}


def test_a_chart_that_helm_refuses_goes_back(node: Home, tmp_path: Path) -> None:
    version = runs(node, "chart")
    pin(node, binderhub_chart=chart(tmp_path, 3, broken=True))
    failed = node.run("upgrade", "chart", "-o", "json", timeout=SECONDS)
    assert failed.code == 1, failed.shown[-3000:]
    assert "this chart is broken" in failed.last["data"]["failed"]["why"]
    assert held(node)["binderhub-chart"]["version"] == runs(node, "chart") == version
    assert node.up().ok().last["data"]["changes"] == 0


def test_killed_before_it_was_proven_the_next_run_goes_back_first(node: Home) -> None:
    """SIGKILL while the checks run on the other registry: that is not what the node says that it is made of."""
    version = runs(node, "registry")
    other = OLD["registry"] if version != OLD["registry"] else usual("registry").version
    pin(node, registry=turned(usual("registry"), other))
    process = node.start("upgrade", "registry", "-o", "json")
    assert process.stdout is not None
    moved = False
    for line in process.stdout:
        event = json.loads(line)
        moved = moved or (event["stage"], event["kind"], event["data"].get("to")) == ("upgrade", "start", other)
        if moved and event["stage"] == "smoke":
            os.kill(process.pid, signal.SIGKILL)
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, err
    assert runs(node, "registry") == other
    assert tomllib.loads(made_of(node))["registry"]["version"] == version
    pinned(node).write_text(made_of(node))
    why = f"registry-push is {other}, registry-pull is {other}; the pins say {version}"
    assert shown(node)["registry"]["why"] == why
    assert node.run("upgrade", "-o", "json", timeout=SECONDS).ok().last["data"]["done"] == []
    assert runs(node, "registry") == version


def test_outside_of_its_window_k3s_is_left_alone_and_held(node: Home) -> None:
    """A window that was open an hour ago stays shut for the test's length."""
    hour, inventory, version = (time.gmtime().tm_hour - 1) % 24, node.inventory.read_text(), runs(node, "k3s")
    other = VERSION if version == NEWER else NEWER
    pin(node, **other_k3s(other))
    window = f"daily {hour:02}:00-{hour:02}:01"
    node.inventory.write_text(f"{inventory}kubernetes: {{upgrade_window: '{window}'}}\n")
    try:
        left = node.run("upgrade", "-o", "json").ok().last["data"]["left"]
        assert left["k3s"].startswith(f"it waits for its window, {window}")
        assert node.up().ok().last["data"]["changes"] == 0
        assert runs(node, "k3s") == version
        done = node.run("upgrade", "--now", "-o", "json", timeout=SECONDS).ok().last["data"]["done"]
        assert [(item["component"], item["old"], item["new"]) for item in done] == [("k3s", version, other)]
    finally:
        node.inventory.write_text(inventory)


def test_a_builder_proven_by_a_branch_that_nobody_has_built(node: Home) -> None:
    version = runs(node, "buildkit")
    other = OLD["buildkitd"] if version != OLD["buildkitd"] else usual("buildkitd").version
    pin(node, **{name: turned(usual(name), other) for name in ("buildkitd", "buildctl")})
    where = RUN / node.name / "git/minimal.git"
    asked = ("--repository", f"{node.git}/minimal.git", "--push-to", str(where))
    done = node.run("upgrade", "buildkit", *asked, "-o", "json", timeout=SECONDS).ok()
    assert [(item["component"], item["new"]) for item in done.last["data"]["done"]] == [("buildkit", other)]
    assert runs(node, "buildkit") == other
    assert [event for event in done.events if event["stage"] == "smoke" and "left out" in event["message"]] == []
