"""The line's source, executed as BinderHub's configuration file does, on a stand-in for the base class."""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest

from binder_node.cluster.line import line_source, starts
from tests.unit.host_samples import sample_spec

IMAGE = "registry.test:5000/binder/one:abc"


class Exceeded(Exception):
    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = more["status"]


class Check(NamedTuple):
    total: int
    matching: int
    quota: int


class Quota:
    """What of binderhub b9fad995's KubernetesLaunchQuota the subclass builds on."""

    def __init__(self, executor: ThreadPoolExecutor, api: Any, total_quota: int | None) -> None:
        self.executor, self.api, self.total_quota, self.namespace = executor, api, total_quota, "binder"
        self.log = SimpleNamespace(error=lambda *_: None)


class Client:
    clients = 10

    @classmethod
    def configured_class(cls) -> type[Client]:
        return cls

    @classmethod
    def configure(cls, kind: type[Client], max_clients: int) -> None:
        assert kind is cls
        cls.clients = max_clients


class Cluster:
    """Pods, as the API server lists them."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []

    def list_namespaced_pod(self, namespace: str, **asked: Any) -> Any:
        assert (namespace, asked["label_selector"]) == ("binder", "app=jupyterhub,component=singleuser-server")
        text = json.dumps({"items": self.pods})
        return SimpleNamespace(read=lambda: text)

    def add(self, age: float = 600.0, *, running: float | None = 600.0, image: str = IMAGE) -> None:
        """A pod made ``age`` seconds ago whose container runs since ``running``; None: it is pending."""
        state = {} if running is None else {"running": {"startedAt": _ago(running)}}
        self.pods.append(
            {
                "metadata": {"creationTimestamp": _ago(age)},
                "spec": {"containers": [{"image": image}]},
                "status": {
                    "phase": "Pending" if running is None else "Running",
                    "containerStatuses": [{"state": state}],
                },
            }
        )


def _ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> Any:
    found: dict[str, dict[str, Any]] = {
        "binderhub": {},
        "binderhub.quota": {
            "KubernetesLaunchQuota": Quota,
            "LaunchQuotaExceeded": Exceeded,
            "ServerQuotaCheck": Check,
        },
        "tornado": {},
        "tornado.httpclient": {"AsyncHTTPClient": Client},
    }
    for name, members in found.items():
        module = ModuleType(name)
        for key, value in members.items():
            setattr(cast(Any, module), key, value)
        monkeypatch.setitem(sys.modules, name, module)
    c = SimpleNamespace(BinderHub=SimpleNamespace())
    exec(line_source(sample_spec(binderhub={"quota": 30})), {"c": c})
    with ThreadPoolExecutor(1) as executor:
        made = c.BinderHub.launch_quota_class(executor=executor, api=cluster, total_quota=30)
        made.starts, made.pause = 4, 0.01
        yield made


def ask(line: Any, quota: int | None = 100) -> Any:
    return asyncio.run(line.check_repo_quota(IMAGE, {"quota": quota}, "https://example.org/one"))


@pytest.mark.usefixtures("line")
def test_a_full_node_can_ask_its_hub_for_all_its_launches_at_once() -> None:
    assert Client.clients == 80


def test_who_finds_few_starting_begins_at_once(line: Any, cluster: Cluster) -> None:
    for _ in range(10):
        cluster.add()
    assert ask(line) == Check(total=10, matching=10, quota=100)
    assert ask(line, None) is None


def test_upstreams_quotas_hold_in_upstreams_words(line: Any, cluster: Cluster) -> None:
    for _ in range(5):
        cluster.add()
    cluster.add(image="registry.test:5000/binder/other:abc")
    with pytest.raises(Exceeded, match=r"Too many users running https://example\.org/one! Try again soon") as found:
        ask(line, 5)
    assert found.value.status == "repo_quota"
    line.total_quota = 6
    with pytest.raises(Exceeded, match="Too many users on this BinderHub! Try again soon") as found:
        ask(line)
    assert found.value.status == "pod_quota"


def test_who_was_let_in_counts_before_the_pod_is_there(line: Any, cluster: Cluster) -> None:
    cluster.add()
    line.total_quota = 3
    ask(line)
    ask(line)
    with pytest.raises(Exceeded, match="Too many users on this BinderHub"):
        ask(line)
    # ... and once when it is.
    cluster.add(age=0, running=None)
    cluster.add(age=0, running=None)
    line.total_quota = 4
    ask(line)


@pytest.mark.parametrize(
    ("age", "running", "counts"),
    # Kubernetes tells whole seconds: what has just begun may be told as a second ago.
    [(1, None, True), (100, None, False), (3, -0.5, True), (30, 20, False)],
    ids=["pending", "pulling its image", "just begun", "up"],
)
def test_what_counts_as_starting(line: Any, cluster: Cluster, age: float, running: float | None, counts: bool) -> None:
    for _ in range(4):
        cluster.add(age, running=running)
    line.patience = 0
    if counts:
        with pytest.raises(Exceeded, match="Try again in a minute") as found:
            ask(line)
        assert found.value.status == "line"
    else:
        ask(line)


def test_the_first_come_is_the_first_served(line: Any, cluster: Cluster) -> None:
    line.starts = 1
    cluster.add(1, running=None)
    order: list[int] = []

    async def one(number: int) -> None:
        await line.check_repo_quota(IMAGE, {}, "")
        order.append(number)
        cluster.add(0, running=None)

    async def all_of_them() -> None:
        tasks = [asyncio.create_task(one(number)) for number in range(4)]
        await asyncio.sleep(0.05)
        for count in range(1, 5):
            for pod in cluster.pods:
                pod["status"]["phase"] = "Succeeded"
            await asyncio.wait(tasks[count - 1 : count], timeout=10)
            assert len(order) == count  # one place, one more
        await asyncio.gather(*tasks)

    asyncio.run(all_of_them())
    assert order == [0, 1, 2, 3]


def test_one_who_leaves_the_line_does_not_stop_it(line: Any, cluster: Cluster) -> None:
    line.starts = 1
    cluster.add(1, running=None)

    async def leave() -> None:
        first = asyncio.create_task(line.check_repo_quota(IMAGE, {}, ""))
        second = asyncio.create_task(line.check_repo_quota(IMAGE, {}, ""))
        await asyncio.sleep(0.03)
        first.cancel()
        cluster.pods.clear()
        await asyncio.wait_for(second, 1)

    asyncio.run(leave())


def test_who_would_find_the_node_full_is_told_at_once(line: Any, cluster: Cluster) -> None:
    line.starts, line.total_quota = 1, 4
    cluster.add()
    cluster.add(1, running=None)

    async def come() -> list[str]:
        waiting = [asyncio.create_task(line.check_repo_quota(IMAGE, {}, ""))]
        async with asyncio.timeout(10):
            while not line._total:  # until the first one has looked
                await asyncio.sleep(0.01)
        waiting += [asyncio.create_task(line.check_repo_quota(IMAGE, {}, "")) for _ in range(4)]
        done, pending = await asyncio.wait(waiting, timeout=0.1)
        assert [task in done for task in waiting] == [False, False, True, True, True]
        for task in pending:
            task.cancel()
        await asyncio.wait(pending)
        # What was seen then is forgotten with the line.
        cluster.pods.clear()
        line.starts = 2
        await asyncio.gather(*(line.check_repo_quota(IMAGE, {}, "") for _ in range(2)))
        return [str(task.exception()) for task in done]

    # Two are there, two stand in line; nobody else will ever get in before somebody leaves.
    assert asyncio.run(come()) == ["Too many users on this BinderHub! Try again soon."] * 3


def test_who_would_wait_for_more_than_a_minute_is_told_at_once(line: Any, cluster: Cluster) -> None:
    line.starts, line.longest = 1, 3
    cluster.add(1, running=None)

    async def come() -> None:
        waiting = [asyncio.create_task(line.check_repo_quota(IMAGE, {}, "")) for _ in range(3)]
        await asyncio.sleep(0.03)
        with pytest.raises(Exceeded, match="Try again in a minute") as found:
            await line.check_repo_quota(IMAGE, {}, "")
        assert found.value.status == "line"
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)

    asyncio.run(come())


def test_two_servers_a_core_start_at_once() -> None:
    assert (starts(2), starts(1), starts(48)) == (4, 4, 96)
