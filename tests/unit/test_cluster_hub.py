"""The hub's settings of ``values/base.yaml``, executed as in its configuration, on stand-ins for its libraries."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from binder_node.cluster.values import read
from tests.unit.host_samples import sample_spec

Listener = Callable[[object, object], None]


class HttpError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Client:
    """Answers each request with the next of ``answers``: an error, or nothing wrong; then as the last one."""

    answers: tuple[Exception | None, ...] = (None,)
    asked: list[str]

    def __init__(self, **_: object) -> None:
        Client.asked = []

    async def fetch(self, url: str, **_: object) -> None:
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(url)
        if answer is not None:
            raise answer


class Spawner:
    """What of KubeSpawner the subclass builds on; like it, it hands out a future."""

    http_timeout, namespace, pod_name = 5.0, "binder", "jupyter-one"
    server = SimpleNamespace(base_url="/user/one/")

    def __init__(self) -> None:
        pod = {"status": {"phase": "Running"}}
        self.pod_reflector = SimpleNamespace(pods={"binder/jupyter-one": pod})

    def start(self) -> asyncio.Future[str]:
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        started.set_result("http://10.42.0.9:8888")
        return started


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], dict[str, Any]]:
    """Executes one of the settings, with what it imports put in place."""
    heard: list[Listener] = []

    def listens_for(kind: object, name: str) -> Callable[[Listener], Listener]:
        assert (kind, name) == (object, "connect")
        return lambda listener: heard.append(listener) or listener  # type: ignore[func-returns-value]

    members: dict[str, dict[str, Any]] = {
        "sqlalchemy": {"event": SimpleNamespace(listens_for=listens_for)},
        "sqlalchemy.engine": {"Engine": object},
        "jupyterhub": {},
        "jupyterhub.utils": {"url_path_join": lambda *parts: "/".join(part.strip("/") for part in parts)},
        "tornado": {},
        "tornado.httpclient": {"AsyncHTTPClient": Client, "HTTPClientError": HttpError},
        "traitlets": {},
        "traitlets.utils": {},
        "traitlets.utils.importstring": {"import_item": {"kubespawner.KubeSpawner": Spawner}.__getitem__},
    }
    for name, found in members.items():
        module = ModuleType(name)
        for key, value in found.items():
            setattr(cast(Any, module), key, value)
        monkeypatch.setitem(sys.modules, name, module)

    def executed(name: str, c: Any) -> dict[str, Any]:
        source = read(sample_spec())["base"]["jupyterhub"]["hub"]["extraConfig"][name]
        names = {"c": c, "heard": heard}
        exec(source, names)
        return names

    return executed


async def started(spawner: Any) -> str:
    found: str = await spawner.start()
    return found


def test_the_database_waits_for_no_disk_and_still_survives_a_crash(run: Any, tmp_path: Path) -> None:
    (listener,) = run("30-binder-node-database", None)["heard"]
    with sqlite3.connect(tmp_path / "hub.sqlite") as connection:
        listener(connection, None)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (1,)  # NORMAL
    listener(object(), None)  # another database's connection is left alone


@pytest.mark.parametrize("base", [Spawner, "kubespawner.KubeSpawner"], ids=["class", "name"])
def test_a_server_has_started_when_it_answers(run: Any, base: Any) -> None:
    Client.answers = (HttpError(599), ConnectionRefusedError(), HttpError(503), HttpError(403))
    c = SimpleNamespace(JupyterHub=SimpleNamespace(spawner_class=base))
    run("40-binder-node-answers", c)
    spawner: Any = c.JupyterHub.spawner_class()
    assert isinstance(spawner, Spawner)
    assert asyncio.run(started(spawner)) == "http://10.42.0.9:8888"
    # 403 is an answer, too.
    assert Client.asked == ["http://10.42.0.9:8888/user/one/api"] * 4


@pytest.mark.parametrize("ended", [True, False], ids=["its pod ended", "its time is over"])
def test_a_server_that_never_answers_is_left_to_the_hub(run: Any, ended: bool) -> None:
    Client.answers = (HttpError(599),)
    c = SimpleNamespace(JupyterHub=SimpleNamespace(spawner_class=Spawner))
    run("40-binder-node-answers", c)
    spawner = c.JupyterHub.spawner_class()
    if ended:
        spawner.pod_reflector.pods.clear()
    spawner.http_timeout = 0.3
    Client.asked = []
    assert asyncio.run(started(spawner)) == "http://10.42.0.9:8888"
    assert bool(Client.asked) != ended
