"""Every component of a node upgraded in place while a user's server runs; what fails or is killed goes back."""

from __future__ import annotations

import json
import os
import signal
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from binder_node.artifacts.pins import load_pins
from binder_node.events import silent
from binder_node.upgrades.components import written
from binder_node.upgrades.releases import turned
from tests.node.harness import PINS, Home, make_home
from tests.node.test_upgrade import held, made_of, pinned, shown
from tests.testbed.build.stand_in import VERSION, Builder
from tests.testbed.world.host import RUN

pytestmark = [
    pytest.mark.node,
    pytest.mark.soak,
    pytest.mark.skipif(not PINS, reason="its other versions of K3s and of the chart are made for the testbed"),
]

NEWER = VERSION.replace("v1.35.4", "v1.35.5")
OLD = {"registry": "v3.1.1", "buildkitd": "v0.33.0", "buildctl": "v0.33.0"}
# A window that was open a minute ago: it stays shut for the test's length.
SHUT = "daily {}:00-{}:01"


@pytest.fixture(scope="module")
def upsilon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A node of older releases, with a K3s of the testbed's usual number."""
    home = make_home(tmp_path_factory.mktemp("upgrade"), "upsilon", "198.18.113")
    pins = load_pins(Path(PINS)).entries
    pinned(home).write_text(written({name: turned(pins[name], number) for name, number in OLD.items()}, {}, "# older"))
    try:
        home.up(timeout=900).ok()  # the older releases are built
        home.world("up")
        yield home
    finally:
        home.world("down")
        home.run("destroy", "--yes", home.name).ok()


@pytest.fixture(scope="module")
def session(upsilon: Home) -> str:
    """A user's server; the name of its pod."""
    done = upsilon.launch(f"{upsilon.git}/minimal.git", "--keep", "--run", "print('alive')").ok()
    return "jupyter-" + str(done.last["data"]["url"]).split("/user/")[1].strip("/")


def chart(folder: Path, version: str, *, broken: bool = False) -> Path:
    """The testbed's chart with another number; a broken one has a template that Helm refuses."""
    out = folder / f"binderhub-{version}.tgz"
    source = load_pins(Path(PINS)).entries["binderhub-chart"].file
    assert source is not None
    with tarfile.open(source.path) as old, tarfile.open(out, "w:gz") as new:
        for member in old.getmembers():
            content = old.extractfile(member)
            assert content is not None
            data = content.read()
            if member.name.endswith("/Chart.yaml"):
                lines = data.decode().splitlines()
                data = "".join(
                    f"version: {version}\n" if line.startswith("version:") else f"{line}\n" for line in lines
                ).encode()
            if broken and member.name.endswith("/templates/binder.yaml"):
                data += b'{{ fail "this chart is broken" }}\n'
            member.size = len(data)
            new.addfile(member, BytesIO(data))
    return out


def pin(home: Home, **files: tuple[str, Path]) -> None:
    """Pin these as files; all else is as the testbed has it."""
    tables = [
        f'[{name.replace("_", "-")}]\nversion = "{version}"\n'
        + ('kind = "chart"\nneeded = "operator"\n' if name == "binderhub_chart" else "")
        + ('kind = "images"\n' if name == "k3s_images" else "")
        + f'file = {{ path = "{path}" }}\n'
        for name, (version, path) in files.items()
    ]
    pinned(home).write_text("\n".join(tables))


def started(home: Home, pod: str) -> str:
    return home.ssh(
        f"k3s kubectl get pod -n binder {pod} -o jsonpath='{{.status.startTime}} {{.status.phase}} "
        "{.status.containerStatuses[0].restartCount}'"
    )


def test_every_component_moves_and_a_session_lives_through_it(upsilon: Home, session: str, tmp_path: Path) -> None:
    assert {name: row["runs"] for name, row in shown(upsilon).items() if name in ("registry", "buildkit")} == {
        "registry": "v3.1.1",
        "buildkit": "v0.33.0",
    }
    before = started(upsilon, session)
    images = load_pins(Path(PINS)).entries["k3s-images"].file
    assert images is not None
    newer = Builder(silent, version=NEWER).k3s()
    pin(
        upsilon,
        k3s=(NEWER, newer),
        k3s_images=(NEWER, images.path),
        binderhub_chart=("1.0.0-0.testbed.2", chart(tmp_path, "1.0.0-0.testbed.2")),
    )
    began = time.monotonic()
    done = upsilon.run("upgrade", "-o", "json", timeout=900).ok()
    print(f"{time.monotonic() - began:.0f} s: {done.last['data']['done']}")
    assert [(item["component"], item["old"], item["new"]) for item in done.last["data"]["done"]] == [
        ("registry", "v3.1.1", "v3.1.2"),
        ("buildkit", "v0.33.0", "v0.33.1"),
        ("k3s", VERSION, NEWER),
        ("chart", "1.0.0-0.testbed.1", "1.0.0-0.testbed.2"),
    ]
    assert {name: (row["runs"], row["why"]) for name, row in shown(upsilon).items() if name != "minio"} == {
        "registry": ("v3.1.2", ""),
        "buildkit": ("v0.33.1", ""),
        "k3s": (NEWER, ""),
        "chart": ("1.0.0-0.testbed.2", ""),
    }
    assert started(upsilon, session) == before
    assert upsilon.up().ok().last["data"]["changes"] == 0


def test_a_k3s_that_does_not_start_goes_back_and_the_session_lives_on(
    upsilon: Home, session: str, tmp_path: Path
) -> None:
    before, runs = started(upsilon, session), shown(upsilon)["k3s"]["runs"]
    bad = tmp_path / "k3s"
    bad.write_text("#!/bin/sh\necho this is no K3s >&2\nexit 1\n")
    text = pinned(upsilon).read_text()
    pin(upsilon, k3s=("v1.35.6+k3s1", bad))
    _, head, rest = text.partition("[k3s-images]")
    pinned(upsilon).write_text(f"{pinned(upsilon).read_text()}\n{head}{rest}")
    failed = upsilon.run("upgrade", "-o", "json", timeout=900)
    assert failed.code == 1
    outcome = failed.last["data"]
    assert (outcome["failed"]["component"], outcome["failed"]["old"]) == ("k3s", runs)
    assert "this is no K3s" in outcome["failed"]["why"]
    assert shown(upsilon)["k3s"]["runs"] == runs
    assert started(upsilon, session) == before
    upsilon.run("smoke").ok()
    pinned(upsilon).write_text(text)
    assert upsilon.run("upgrade", "-o", "json").ok().last["data"]["done"] == []
    assert held(upsilon) == {}


def test_a_chart_that_helm_refuses_goes_back(upsilon: Home, tmp_path: Path) -> None:
    text = pinned(upsilon).read_text()
    rest = text.partition("[binderhub-chart]")[0]
    pin(upsilon, binderhub_chart=("1.0.0-0.testbed.3", chart(tmp_path, "1.0.0-0.testbed.3", broken=True)))
    pinned(upsilon).write_text(rest + pinned(upsilon).read_text())
    failed = upsilon.run("upgrade", "chart", "-o", "json")
    assert failed.code == 1
    assert "this chart is broken" in failed.last["data"]["failed"]["why"]
    assert held(upsilon)["binderhub-chart"]["version"] == "1.0.0-0.testbed.2"
    assert upsilon.up().ok().last["data"]["changes"] == 0
    pinned(upsilon).write_text(text)
    upsilon.run("upgrade", "-o", "json").ok()
    assert held(upsilon) == {}


def test_killed_before_it_was_proven_the_next_run_goes_back_first(upsilon: Home) -> None:
    """SIGKILL while the checks run on the other registry: that is not what the node says that it is made of."""
    text = pinned(upsilon).read_text()
    pins = load_pins(Path(PINS)).entries
    pinned(upsilon).write_text(text + written({"registry": turned(pins["registry"], "v3.1.1")}, {}, "\n# other"))
    process = upsilon.start("upgrade", "registry", "-o", "json")
    assert process.stdout is not None
    moved = False
    for line in process.stdout:
        event = json.loads(line)
        moved = moved or (
            event["stage"] == "upgrade" and event["kind"] == "start" and "registry" in event["data"].values()
        )
        if moved and event["stage"] == "smoke":
            os.kill(process.pid, signal.SIGKILL)
            break
    process.communicate(timeout=60)
    assert shown(upsilon)["registry"]["runs"] == "v3.1.1"
    assert made_of(upsilon)["registry"]["version"] == "v3.1.2"
    pinned(upsilon).write_text(text)
    assert shown(upsilon)["registry"]["why"] == "registry-push is v3.1.1, registry-pull is v3.1.1; the pins say v3.1.2"
    assert upsilon.run("upgrade", "-o", "json").ok().last["data"]["done"] == []
    assert shown(upsilon)["registry"]["runs"] == "v3.1.2"


def test_outside_of_its_window_k3s_is_left_alone_and_held(upsilon: Home) -> None:
    hour = (time.gmtime().tm_hour - 1) % 24
    inventory, text = upsilon.inventory.read_text(), pinned(upsilon).read_text()
    upsilon.inventory.write_text(
        f"{inventory}kubernetes: {{upgrade_window: '{SHUT.format(f'{hour:02}', f'{hour:02}')}'}}\n"
    )
    _, head, chart_table = text.partition("[binderhub-chart]")
    pinned(upsilon).write_text(head + chart_table)
    runs = shown(upsilon)["k3s"]["runs"]
    assert runs == NEWER
    left = upsilon.run("upgrade", "-o", "json").ok().last["data"]["left"]
    assert left["k3s"].startswith("it waits for its window, daily ")
    assert upsilon.up().ok().last["data"]["changes"] == 0
    assert shown(upsilon)["k3s"]["runs"] == runs
    done = upsilon.run("upgrade", "--now", "-o", "json", timeout=900).ok().last["data"]["done"]
    assert [(item["component"], item["new"]) for item in done] == [("k3s", VERSION)]


def test_a_builder_proven_by_a_branch_that_nobody_has_built(upsilon: Home) -> None:
    pins = load_pins(Path(PINS)).entries
    older = {name: turned(pins[name], OLD[name]) for name in ("buildkitd", "buildctl")}
    with pinned(upsilon).open("a") as file:
        file.write(written(older, {}, "\n# the builder before"))
    where = RUN / upsilon.name / "git/minimal.git"
    asked = ("--repository", f"{upsilon.git}/minimal.git", "--push-to", str(where))
    done = upsilon.run("upgrade", "buildkit", *asked, "-o", "json", timeout=1200).ok()
    assert [(item["component"], item["new"]) for item in done.last["data"]["done"]] == [("buildkit", "v0.33.0")]
    assert not [
        event for event in done.events if event["stage"] == "smoke" and "deep ones left out" in event["message"]
    ]
