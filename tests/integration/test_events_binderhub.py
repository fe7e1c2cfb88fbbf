"""The log of launches as a running BinderHub writes it: its own event log, with our handlers by its configuration."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from binder_node.cluster.banned import POD_BANNED
from binder_node.cluster.eventlog import POD_EVENTS
from binder_node.cluster.values import own
from binder_node.layout import BANNED_OWN
from tests.integration.binaries import binary
from tests.integration.binder_fixtures import Cluster, Hub, binderhub, registry
from tests.integration.engine_fixtures import engine_spec
from tests.testbed.world import content, gitserver
from tests.unit.host_samples import sample_secrets

pytestmark = pytest.mark.integration
PORT = 20840
LOG = ['{"phase": "building", "message": "Step 1"}']
USER = {"app": "jupyterhub", "component": "singleuser-server"}
BROKEN = [*LOG, '{"phase": "failed", "message": "no such package"}']


class Scene:
    """A BinderHub with a folder for its events, two repositories, and a cluster that is played."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cluster, self.hub = folder / "events", Cluster(), Hub()
        self.banned = folder / "banned"
        for path in (self.folder, self.banned):
            path.mkdir()
        self.cluster.script = LOG

    def spec(self, name: str = "demo", ref: str = "main") -> str:
        return f"{quote(f'http://127.0.0.1:{PORT + 1}/{name}.git', safe='')}/{ref}"

    def lines(self, kind: str, count: int) -> list[dict[str, Any]]:
        """The lines, once there are ``count``: the client hears of a launch before its event is told."""
        until = time.monotonic() + 5
        while True:
            found = [
                json.loads(line) for file in self.folder.glob(f"{kind}-*") for line in file.read_text().splitlines()
            ]
            if len(found) >= count or time.monotonic() > until:
                assert len(found) == count, found
                return found
            time.sleep(0.05)


def extra_config(folder: Path, banned: Path) -> list[str]:
    """All that a release gives BinderHub to run, as its chart does: in the order of the names, in one namespace."""
    found = own(engine_spec(), sample_secrets(), {"build": "quay.io/test/r2d:1"})["extraConfig"]
    # A line of the operator's own that gives names of ours another meaning.
    found["99-own"] = "import datetime, time as _time\njson = asyncio = None\n"
    texts = (found[key].replace(repr(POD_EVENTS), repr(str(folder))) for key in sorted(found))
    return [f"exec({text.replace(POD_BANNED, str(banned))!r})" for text in texts]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[tuple[Scene, Any]]:
    root = tmp_path / "git"
    root.mkdir()
    content.commit(root / "demo.git", "main", {"Dockerfile": "FROM scratch\n"})
    server = gitserver.server("127.0.0.1", PORT + 1, root)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = Scene(tmp_path)
    with registry(binary("registry"), PORT + 2, tmp_path) as images:
        settings = [
            f"c.BinderHub.update({{'hub_url': 'http://hub.test/', 'hub_url_local': {made.hub.url!r}, "
            f"'image_prefix': '{images.host}/binder/i-'}})",
            f"c.DockerRegistry.url = {images.url!r}",
            "c.KubernetesBuildExecutor.build_image = 'quay.io/test/r2d:1'",
            "c.RateLimiter.limit = 0",
            *extra_config(made.folder, made.banned),
        ]
        with binderhub(tmp_path, PORT, "\n".join(settings), made.cluster) as binder:
            yield made, binder
    for one in (server, made.cluster, made.hub):
        one.shutdown()
        one.server_close()


def test_a_launch_is_an_event_and_a_failure_a_line_beside(scene: tuple[Scene, Any]) -> None:
    made, binder = scene
    assert binder.launch("git", made.spec())[-1]["phase"] == "ready"
    (event,) = made.lines("events", 1)
    assert event["schema"] == "binderhub.jupyter.org/launch"
    assert (event["provider"], event["spec"], event["status"]) == ("Git", made.spec(), "success")
    assert len(event["ref"]) == 40
    assert "binder_client_ip" not in event  # who launched is nobody's business

    made.cluster.script, made.cluster.outcome = BROKEN, "Failed"
    assert binder.launch("git", made.spec(ref="v2"))[-1]["phase"] == "failed"  # no such ref
    content.commit(made.folder.parent / "git/other.git", "main", {"Dockerfile": "FROM nothing\n"})
    assert binder.launch("git", made.spec("other"))[-1]["phase"] == "failed"
    unresolved, broken = made.lines("failures", 2)
    assert unresolved["path"] == f"git/{made.spec(ref='v2')}"
    assert "Could not resolve ref" in unresolved["message"]
    assert unresolved["phase"] == ""
    assert (broken["phase"], broken["message"]) == ("building", "no such package")
    made.lines("events", 1)


def test_a_folder_that_is_gone_costs_no_launch(scene: tuple[Scene, Any]) -> None:
    made, binder = scene
    made.folder.rmdir()
    assert binder.launch("git", made.spec())[-1]["phase"] == "ready"
    assert binder.launch("git", made.spec(ref="v2"))[-1]["phase"] == "failed"


def test_those_who_are_there_are_counted_before_the_next_launch(scene: tuple[Scene, Any]) -> None:
    """The line looks at the times of pods, whatever else is in the configuration."""
    made, binder = scene
    for number, running in enumerate([True, True, False]):
        made.cluster.put(f"jupyter-{number}", USER, "Running" if running else "Pending")
    assert binder.launch("git", made.spec())[-1]["phase"] == "ready"
    made.lines("events", 1)


def test_a_banned_repository_is_not_launched_from_its_next_launch_on(scene: tuple[Scene, Any]) -> None:
    made, binder = scene
    assert binder.launch("git", made.spec())[-1]["phase"] == "ready"
    (made.banned / BANNED_OWN).write_text("127.0.0.1/demo\n")
    last = binder.launch("git", made.spec())[-1]
    assert (last["phase"], "is not allowed to launch" in last["message"]) == ("failed", True)
    (line,) = made.lines("failures", 1)
    assert "is not allowed to launch" in line["message"]
    (made.banned / BANNED_OWN).write_text("127.0.0.1/other\n")
    assert binder.launch("git", made.spec())[-1]["phase"] == "ready"
