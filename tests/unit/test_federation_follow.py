"""Following the prime, played through: what is built, upgraded, taken back and told, and in what order."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from binder_node.errors import StepError
from binder_node.events import silent
from binder_node.federation.follow import (
    Chart,
    Follower,
    Outcome,
    Ways,
    build_image,
    chart_of,
    commit_of,
    pins_text,
    same_commit,
)


def versions(image: str, binderhub: str = "1.0") -> dict[str, Any]:
    return {"builder_info": {"build_image": image}, "builder": image, "binderhub": binderhub}


@dataclass
class World:
    """A prime and a member whose versions are what was deployed; every step takes its time."""

    prime: dict[str, Any] = field(default_factory=lambda: versions("r2d:1"))
    own: dict[str, Any] = field(default_factory=lambda: versions("r2d:1"))
    now: float = 0.0
    did: list[str] = field(default_factory=list)
    fails: Callable[[str], str] = lambda _: ""
    reasons: tuple[str, ...] = ()

    def build(self, image: str, repo: str) -> Outcome:
        self.now += 60
        self.did.append(f"build {repo} on {image}")
        return Outcome(self.fails(f"build {repo}"), 60)

    def upgrade(self, found: Any) -> None:
        self.now += 30
        self.did.append("upgrade")
        if why := self.fails("upgrade"):
            raise StepError("new", "install", why)
        self.before, self.own = self.own, dict(found)

    def launch(self, repo: str) -> Outcome:
        self.now += 10
        self.did.append(f"launch {repo}")
        return Outcome(self.fails(f"launch {repo}"), 10)

    def back(self) -> None:
        self.did.append("back")
        self.own = getattr(self, "before", self.own)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def follower(self) -> Follower:
        ways = Ways(
            lambda: self.prime,
            lambda: self.own,
            lambda: self.reasons,
            self.build,
            self.upgrade,
            self.launch,
            self.back,
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        return Follower("new", ["a", "b"], ways, silent)


def test_as_long_as_the_prime_stays_nothing_is_done() -> None:
    world = World()
    assert world.follower().run(30, once=True).what == "parity"
    assert world.did == []


def test_a_new_build_image_is_proved_then_deployed_then_proved_again() -> None:
    world = World(prime=versions("r2d:2"))
    look = world.follower().run(30, once=True)
    assert world.did == ["build a on r2d:2", "build b on r2d:2", "upgrade", "launch a", "launch b"]
    assert (look.what, look.minutes) == ("parity", 3.33)  # 30 + 2 x 60 + 30 + 2 x 10 seconds
    assert world.own == world.prime


def test_a_canary_that_is_not_built_leaves_the_release_alone_and_is_named() -> None:
    world = World(prime=versions("r2d:2"), fails=lambda what: "no such image" if what == "build b" else "")
    look = world.follower().run(30, once=True)
    assert world.did == ["build a on r2d:2", "build b on r2d:2"]
    assert (look.what, look.canary) == ("failed", "b")
    assert look.message == "canary b was not built on r2d:2: no such image"
    assert world.own == versions("r2d:1")


@pytest.mark.parametrize(
    ("times", "looks"),
    [
        (2, ["changed", "silent", "silent", "upgraded"]),
        (3, ["changed", "silent", "silent", "failed", "refused"]),
    ],
)
def test_a_canary_that_cannot_be_tried_is_no_failure_of_the_canary(times: int, looks: list[str]) -> None:
    """The node's ssh is away for two looks, or for good."""
    world = World(prime=versions("r2d:2"))
    follower, left = world.follower(), [StepError("new", "build a", "connection refused")] * times

    def build(image: str, repo: str) -> Outcome:
        if left:
            raise left.pop()
        return world.build(image, repo)

    follower.ways = replace(follower.ways, build=build)
    seen = [follower.look() for _ in looks]
    assert [look.what for look in seen] == looks
    assert seen[1].canary == "a"
    assert seen[1].message == "canary a was not built on r2d:2: new: build a: connection refused"


def test_a_canary_that_is_not_launched_takes_the_upgrade_back() -> None:
    world = World(prime=versions("r2d:2"), fails=lambda what: "no kernel" if what == "launch a" else "")
    look = world.follower().run(30, once=True)
    assert world.did[-3:] == ["upgrade", "launch a", "back"]
    assert (look.canary, world.own) == ("a", versions("r2d:1"))


def test_an_upgrade_that_fails_is_taken_back() -> None:
    world = World(prime=versions("r2d:2"), fails=lambda what: "pods" if what == "upgrade" else "")
    look = world.follower().run(30, once=True)
    assert (look.what, look.canary, world.did[-1]) == ("failed", "", "back")
    assert look.message == "the upgrade failed: new: install: pods"


def test_what_was_refused_is_not_tried_again_until_the_prime_changes_again() -> None:
    world = World(prime=versions("r2d:2"), fails=lambda what: "broken" if what.startswith("build") else "")
    follower = world.follower()
    assert [follower.look().what for _ in range(4)] == ["changed", "failed", "refused", "refused"]
    assert len(world.did) == 1
    world.prime, world.fails = versions("r2d:3"), lambda _: ""
    assert [follower.look().what for _ in range(3)] == ["changed", "upgraded", "parity"]


def test_a_prime_that_answers_old_and_new_in_turns_is_waited_for() -> None:
    world = World()
    follower, turns = world.follower(), ["r2d:2", "r2d:1", "r2d:2", "r2d:1", "r2d:2", "r2d:2"]
    seen = []
    for image in turns:
        world.prime = versions(image)
        seen.append(follower.look().what)
    assert seen == ["changed", "parity", "changed", "parity", "changed", "upgraded"]


def test_a_prime_that_does_not_answer_changes_nothing() -> None:
    world = World()
    follower = world.follower()

    def down() -> Any:
        raise StepError("prime", "ask", "refused")

    follower.ways = Ways(down, *(getattr(follower.ways, name) for name in Ways.__slots__[1:]))
    assert follower.look().what == "silent"
    assert world.did == []


def test_the_same_versions_and_still_out_of_rotation_is_told() -> None:
    world = World(reasons=("Pod quota: 55 pods of 60",))
    look = world.follower().look()
    assert (look.what, look.message) == ("out", "as the prime, but out: Pod quota: 55 pods of 60")


def test_versions_without_a_build_image_are_refused() -> None:
    world = World(prime={"binderhub": "2"})
    assert build_image(world.prime) == ""
    assert world.follower().run(1, once=True).message == "the prime's /versions name no build image"


INDEX = """\
apiVersion: v1
entries:
  binderhub:
  - apiVersion: v2
    appVersion: 1.0.0
    created: "2026-08-01T00:00:00Z"
    digest: aaaa
    name: binderhub
    urls:
    - https://jupyterhub.github.io/helm-chart/binderhub-1.0.0-0.dev.git.3990.habcdef01.tgz
    version: 1.0.0-0.dev.git.3990.habcdef01
  - apiVersion: v2
    dependencies:
    - name: jupyterhub
      version: 4.2.0
    digest: bbbb
    name: binderhub
    urls:
    - binderhub-1.0.0-0.dev.git.3983.h383374de.tgz
    version: 1.0.0-0.dev.git.3983.h383374de
  jupyterhub:
  - digest: cccc
    name: jupyterhub
    urls:
    - jupyterhub-4.2.1-0.dev.git.1.h383374de.tgz
    version: 4.2.1-0.dev.git.1.h383374de
generated: "2026-08-01T00:00:00Z"
"""


@pytest.mark.parametrize("version", ["1.0.0-0.dev.git.3983.h383374de", "1.0.0+83.g383374d"])
def test_the_chart_is_the_one_of_the_primes_commit(version: str) -> None:
    found = chart_of(INDEX, "https://charts.test/", version)
    assert found == Chart(
        "1.0.0-0.dev.git.3983.h383374de", "https://charts.test/binderhub-1.0.0-0.dev.git.3983.h383374de.tgz", "bbbb"
    )


def test_a_chart_that_is_not_published_is_none() -> None:
    assert chart_of(INDEX, "https://charts.test", "1.0.0+1.g0000000") is None


def test_commits_are_compared_as_far_as_both_are_told() -> None:
    assert commit_of("1.0.0+83.g383374d") == "383374d"
    assert same_commit("1.0.0+83.g383374d", "1.0.0-0.dev.git.3983.h383374de")
    assert not same_commit("1.0.0", "1.0.1")
    assert same_commit("1.0.0-0.testbed", "1.0.0-0.testbed")


def test_the_pins_are_toml_whatever_the_prime_says() -> None:
    text = pins_text('r2d:"2"', Chart("1.0", "https://charts.test/binderhub-1.0.tgz", "d" * 64))
    found = tomllib.loads(text)
    assert found["images"] == {"build": 'r2d:"2"'}
    assert found["binderhub-chart"]["release"]["any"]["url"] == "https://charts.test/binderhub-1.0.tgz"
    assert "binderhub-chart" not in tomllib.loads(pins_text("r2d:2", None))
