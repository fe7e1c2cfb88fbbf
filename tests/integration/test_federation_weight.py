"""Ramps, build tokens and warming, against the testbed's BinderHub: real metrics, real streams, real clocks."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from binder_node.binder.client import Binder
from binder_node.errors import StepError
from binder_node.events import Event, silent
from binder_node.federation import rules, tokens
from binder_node.federation.archive import launched, popular
from binder_node.federation.book import Checkout
from binder_node.federation.gate import Limits
from binder_node.federation.looking import by_http, weight_in_force
from binder_node.federation.measured import counters
from binder_node.federation.ramp import Pace, Ramp, Step, Ways
from binder_node.federation.warm import Warmer, summary
from binder_node.lifecycle.warming import most_launched
from binder_node.secrets.masked import Masked
from tests.integration.binder_fixtures import BinderHub
from tests.integration.binder_server import played
from tests.integration.weight_fixtures import SECRETS, Scene, phases, scenery

pytestmark = pytest.mark.integration
USER = {"app": "jupyterhub", "component": "singleuser-server"}

HOSTS = """\
# The federation, as in config/prod.yaml.
federationRedirect:
  hosts:
    prime:
      prime: true
      url: {prime}
      weight: 50
      health: {prime}/health
      versions: {prime}/versions
    new:
      prime: false
      url: {new}
      weight: 0  # ramped
      health: {new}/health
      versions: {new}/versions
"""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scenery(tmp_path_factory.mktemp("weight")) as made:
        yield made


@pytest.fixture
def image(scene: Scene) -> None:
    """The repository's image is in the registry: launches build nothing."""
    phases(scene, scene.new)
    words = scene.cluster.created[-1]["spec"]["containers"][0]["args"] if scene.cluster.created else []
    for word in words:
        if word.startswith("--image="):
            name, _, tag = word.partition("/")[2].rpartition(":")
            scene.registry.push(name, tag)
    assert phases(scene, scene.new)[0] == "built"


# --- the contract ---------------------------------------------------------------------------------------------------


def metrics(member: BinderHub) -> Any:
    return counters(httpx.get(f"{member.url}/metrics").text)


@pytest.mark.usefixtures("image")
def test_launches_are_counted_under_upstreams_names(scene: Scene) -> None:
    before = metrics(scene.new)
    assert before.started > 1.7e9
    assert before.builds["success"] >= 1
    phases(scene, scene.new)
    scene.hub.failing = True
    try:
        assert phases(scene, scene.new)[-1] == "failed"
    finally:
        scene.hub.failing = False
    for number in range(60):
        scene.cluster.put(f"jupyter-{number}", USER, "Running")
    assert phases(scene, scene.new)[-1] == "failed"
    scene.cluster.pods.clear()
    after = metrics(scene.new)
    grown = {status: after.launches[status] - before.launches.get(status, 0) for status in after.launches}
    assert grown == {"success": 1, "failure": 1, "pod_quota": 1}
    assert after.ready[float("inf")] - before.ready[float("inf")] == 1
    assert sorted(after.ready) == [2, 5, 10, 20, 30, 60, 120, 300, 600, float("inf")]
    assert (after.building, after.launching) == (0, 0)


# --- build tokens ---------------------------------------------------------------------------------------------------


def checked(scene: Scene, member: BinderHub, secret: str) -> tokens.Finding:
    with Binder(scene.prime.url) as prime, Binder(member.url) as asked:
        return tokens.check(prime, asked, Masked(secret))


def test_a_member_with_the_primes_secret_takes_its_tokens(scene: Scene) -> None:
    created = len(scene.cluster.created)
    assert checked(scene, scene.new, SECRETS["new"]) == tokens.Finding(True)
    assert len(scene.cluster.created) == created


def test_a_member_with_another_secret_is_found_while_its_health_says_ok(scene: Scene) -> None:
    assert httpx.get(f"{scene.stranger.url}/health").json()["ok"]
    found = checked(scene, scene.stranger, SECRETS["stranger"])
    assert found.why == ("it refuses the prime's build tokens (Invalid build token): launches from the front page fail")
    assert found.remedy.startswith("ask for the federation's build_token_secret")


def test_a_secret_that_is_right_in_the_file_and_not_deployed_is_told_apart(scene: Scene) -> None:
    assert "run `binder-node up`" in checked(scene, scene.stranger, SECRETS["prime"]).remedy


def test_a_prime_that_is_no_binderhub_is_named(scene: Scene) -> None:
    with Binder(scene.hub.url) as prime, Binder(scene.new.url) as asked, pytest.raises(StepError, match="build token"):
        tokens.check(prime, asked, None)


# --- the ramp -------------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """Demand on the whole federation, sent on by the redirector's own choice, by the weights in the checkout; what goes
    to the prime is not launched. ``worst`` is the weight from which on the new member's servers fail.
    """

    scene: Scene
    book: Checkout
    worst: float = 1e9
    weights: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    reading: threading.Lock = field(default_factory=threading.Lock)

    def one(self) -> None:
        draw = random.Random(threading.get_ident())
        while not self.over.is_set():
            with self.reading:  # or one that read before a change may write its word after it
                federation = self.book.federation()
                weight = federation.member("new").weight
                if not self.weights or self.weights[-1] != weight:
                    self.weights.append(weight)
            self.scene.hub.failing = weight >= self.worst
            if rules.route(federation, federation.routed, self.scene.path, "", draw.random()) == "new":
                phases(self.scene, self.scene.new)
            else:
                time.sleep(0.02)

    def __enter__(self) -> Load:
        self.pool = ThreadPoolExecutor(4)
        self.futures = [self.pool.submit(self.one) for _ in range(4)]
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.pool.shutdown()
        self.scene.hub.failing = False
        for future in self.futures:
            future.result()


@pytest.fixture
def book(scene: Scene, tmp_path: Path) -> Checkout:
    file = tmp_path / "config/prod.yaml"
    file.parent.mkdir()
    file.write_text(HOSTS.format(prime=scene.prime.url, new=scene.new.url))
    return Checkout(tmp_path, "new")


def ramped(url: str, book: Checkout, said: list[Event], *, watch: bool) -> list[Step]:
    """A ramp to 50 of the member at ``url``, its windows of seconds."""
    limits = Limits(launches=8, build_limit=32)
    with Binder(url) as binder:
        ways = Ways(look=lambda: by_http(binder))
        return Ramp(book, "new", 50, limits, Pace(window=3, every=0.3), ways, said.append).run(watch=watch)


@pytest.mark.usefixtures("image")
def test_under_load_a_regression_at_step_three_steps_back_by_itself_and_says_why(scene: Scene, book: Checkout) -> None:
    said: list[Event] = []
    before = book.hosts.read_text()
    with Load(scene, book, worst=24) as load:
        steps = ramped(scene.new.url, book, said, watch=True)
    # A slow machine may hold for a window that saw too few launches.
    assert [(step.decision.what, step.decision.weight) for step in steps if step.decision.what != "hold"] == [
        ("go", 6), ("go", 12), ("go", 24), ("back", 12),
    ]  # fmt: skip
    assert said[-1].kind == "warn"
    assert said[-1].message.startswith("new: back from weight 24 to 12: failed launches: ")
    last = steps[-1].seen
    assert last is not None
    assert last.failed >= 3
    # Written as a change of one number, its comment kept.
    assert book.hosts.read_text() == before.replace("weight: 0  # ramped", "weight: 12  # ramped")
    assert load.weights[:4] == [0, 6, 12, 24]


@pytest.mark.usefixtures("image")
def test_under_load_that_it_stands_a_member_gets_its_target(scene: Scene, book: Checkout) -> None:
    with Load(scene, book):
        steps = ramped(scene.new.url, book, [], watch=True)
    assert [step.decision.weight for step in steps if step.decision.what != "hold"] == [6, 12, 24, 50, 50]
    assert steps[-1].decision.what == "done"


def test_a_member_that_does_not_answer_steps_back(book: Checkout) -> None:
    book.write(12)
    [step] = ramped("http://127.0.0.1:1", book, [], watch=False)
    assert (step.decision.what, step.decision.weight) == ("back", 6)
    assert step.decision.reasons[0].startswith("no answer for 3 looks: ")


INVENTORY = """\
name: new
provider: {kind: ssh, address: 127.0.0.1}
machine: {cpus: 2, memory: 12G, disk: 40G}
names: {binder: new.test}
tls: {mode: none}
storage: {kind: node}
binderhub: {quota: 20}
federation: {member: new}
"""


@pytest.mark.usefixtures("image")
def test_the_command_ends_with_1_where_a_step_was_taken_back_and_has_deployed_that(
    scene: Scene, book: Checkout, tmp_path: Path
) -> None:
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories/new.yaml").write_text(INVENTORY)
    argv = [
        *(Path(sys.executable).with_name("binder-node"), "federation", "ramp", "new", "--checkout", tmp_path),
        *("--target", "50", "--window", "0.05", "--every", "0.3", "--launches", "5", "--url", scene.new.url),
        *("--watch", "--deploy", "sh -c 'echo $FEDERATION_MEMBER $FEDERATION_WEIGHT >> deployed'", "-o", "json"),
    ]
    with Load(scene, book, worst=12):
        done = subprocess.run(
            [str(word) for word in argv],
            cwd=tmp_path,
            env={**os.environ, "BINDER_NODE_STATE": str(tmp_path / "state")},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "deployed").read_text() == "new 6\nnew 12\nnew 6\n"
    last = json.loads(done.stdout.splitlines()[-1])
    assert (last["data"]["what"], last["data"]["from"], last["data"]["weight"]) == ("back", 12, 6)
    assert "failed launches: " in last["data"]["reasons"][0]


def test_the_weight_in_force_is_the_redirectors_word() -> None:
    with played() as redirector:
        active = {"active_hosts": {"new": {"url": "https://new.test", "weight": 12}}}
        redirector.routes["GET /active_hosts"] = lambda to: to.reply(200, active)
        url = f"http://127.0.0.1:{redirector.port}"
        assert weight_in_force(url, "new") == 12
        assert weight_in_force(url, "gone") is None
        redirector.routes["GET /active_hosts"] = lambda to: to.reply(200, {"hosts": {}})
        with pytest.raises(StepError, match="is this the redirector's own address"):
            weight_in_force(url, "new")


# --- warming --------------------------------------------------------------------------------------------------------


def launch_event(spec: str) -> str:
    base = {"schema": "binderhub.jupyter.org/launch", "version": 6, "status": "success", "provider": "Git"}
    return json.dumps({**base, "spec": spec, "timestamp": "2026-03-01T10:00:00+00:00"})


def test_the_most_launched_are_launched_once_and_failures_are_compared(scene: Scene, tmp_path: Path) -> None:
    demo = scene.path.removeprefix("git/")
    nowhere = f"{quote(scene.repository, safe='')}/nowhere"
    folder = tmp_path / "events"
    folder.mkdir()
    lines = [*[launch_event(demo)] * 5, *[launch_event(nowhere)] * 2, launch_event(f"{quote('http://x/')}/rare")]
    (folder / "events-2026-03-01.jsonl").write_text("\n".join(lines) + "\n")
    wanted = most_launched(str(folder), 7, 2, silent)
    assert [one.launches for one in wanted] == [5, 2]
    with Binder(scene.new.url) as member, Binder(scene.prime.url) as other:
        done = Warmer(member, other, 2, 60, silent).run(wanted)
        assert summary(done)["failed_here_alone"] == 0
        assert [one.ready for one in done.replayed] == [True, False]
        assert "Could not resolve ref" in done.replayed[1].why
        assert done.covered == pytest.approx(5 / 7)

        # What works elsewhere is this member's fault.
        scene.hub.failing = True
        try:
            alone = Warmer(member, other, 1, 60, silent).run(wanted[:1])
        finally:
            scene.hub.failing = False
        assert summary(alone)["failed_here_alone"] == 1

        late = Warmer(member, other, 1, 0, silent).run(wanted)
        assert summary(late)["skipped"] == 2


def test_days_that_the_archive_lacks_are_told_and_left_out() -> None:
    told: list[Event] = []
    with played() as archive:
        url = f"http://127.0.0.1:{archive.port}"
        with pytest.raises(StepError, match="it has none of the days"):
            most_launched(url, 2, 5, told.append)
        days = [asked.path for asked in archive.seen]
        assert len(days) == len(told) == 2
        archive.routes[f"GET {days[1]}"] = lambda to: to.reply(200, f"{launch_event('x/main')}\n", "text/plain")
        assert most_launched(url, 2, 5, silent) == popular(launched([launch_event("x/main")]), 5)
