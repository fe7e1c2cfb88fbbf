"""Members for ramps, tokens and warming: the testbed's BinderHub three times, with hubs whose servers can fail."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.integration.binaries import binary
from tests.integration.binder_fixtures import BinderHub, Cluster, Hub, Played, Registry, binderhub, registry
from tests.testbed.world import content, gitserver

# Tests may run in several processes side by side, each with servers of its own.
PORT = 20860 + 10 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
SECRETS = {"prime": "ab" * 32, "new": "ab" * 32, "stranger": "cd" * 32}


class Spawner(Hub):
    """A hub whose servers can be made to fail."""

    failing = False

    def play(self, to: Played, method: str, path: str, query: dict[str, str], body: Any) -> None:
        if self.failing and path.endswith("/server/progress"):
            failed = {"progress": 100, "failed": True, "message": "0/1 nodes are available"}
            to.stream([f"data: {json.dumps(failed)}\n\n"])
            return
        super().play(to, method, path, query, body)


@dataclass
class Scene:
    prime: BinderHub
    new: BinderHub
    stranger: BinderHub
    hub: Spawner  # of `new`
    cluster: Cluster  # of `new`
    registry: Registry
    repository: str

    @property
    def path(self) -> str:
        return f"git/{quote(self.repository, safe='')}/main"


@contextmanager
def scenery(root: Path) -> Iterator[Scene]:
    """Three members with hubs and clusters that a test plays; everything is kept in ``root``."""
    content.commit(root / "git/demo.git", "main", {"Dockerfile": "FROM scratch\n"})
    server = gitserver.server("127.0.0.1", PORT + 9, root / "git")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with ExitStack() as stack:
        images = stack.enter_context(registry(binary("registry"), PORT + 8, root))
        made: dict[str, tuple[BinderHub, Spawner, Cluster]] = {}
        for number, (name, secret) in enumerate(SECRETS.items()):
            hub, cluster = Spawner(), Cluster()
            (root / name).mkdir()
            text = configuration(images, hub, secret)
            made[name] = (stack.enter_context(binderhub(root / name, PORT + number, text, cluster)), hub, cluster)
        hubs = {name: binder for name, (binder, _, _) in made.items()}
        yield Scene(**hubs, hub=made["new"][1], cluster=made["new"][2], registry=images, repository=f"{server_url()}")
        for _, hub, cluster in made.values():
            for played_server in (hub, cluster):
                played_server.shutdown()
                played_server.server_close()
    server.shutdown()
    server.server_close()


def server_url() -> str:
    return f"http://127.0.0.1:{PORT + 9}/demo.git"


def configuration(images: Registry, hub: Hub, secret: str) -> str:
    settings = {
        "BinderHub": {
            "hub_url": hub.url,
            "hub_url_local": hub.url,
            "image_prefix": f"{images.host}/binder/i-",
            "build_token_secret": secret,
        },
        "DockerRegistry": {"url": images.url},
        "KubernetesBuildExecutor": {"build_image": "quay.io/test/r2d:1"},
        "LaunchQuota": {"total_quota": 60},
        "RateLimiter": {"limit": 0},
        "Launcher": {"retries": 1},
    }
    return "\n".join(f"c.{name}.update({values!r})" for name, values in settings.items())


def phases(scene: Scene, member: BinderHub) -> list[str]:
    """Those of a launch of the scene's repository."""
    return [str(event["phase"]) for event in member.launch("git", scene.path.removeprefix("git/"))]
