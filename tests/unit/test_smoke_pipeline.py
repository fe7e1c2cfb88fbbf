"""What a launch showed, as an operator hears it; and the branch that it is of."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from binder_node.binder.launch import Launched
from binder_node.binder.stream import BuildEvent
from binder_node.errors import DeadlineError, StepError
from binder_node.smoke import branch, judge_pipeline, reach
from binder_node.smoke.checks import RESERVED
from binder_node.smoke.trial import Trial, user
from tests.unit.host_samples import ADDRESS, sample_spec

SPEC = sample_spec()
WORLD = "the world"


def launched(*phases: str, message: str = "") -> Launched:
    found = Launched("http://198.18.0.10/x.git")
    for phase in phases:
        last = message if phase == phases[-1] else f"{phase} it\n"
        found.take(BuildEvent(phase, last, "http://hub.test/user/x-1/", "t", "registry.test:5000/binder/x:1"))
    return found


def test_a_launch_keeps_what_the_stream_said() -> None:
    found = launched("waiting", "building", "building", "built", "launching", "ready")
    assert found.phases == ["waiting", "building", "built", "launching", "ready"]
    assert (found.url, found.token, found.image) == ("http://hub.test/user/x-1/", "t", "registry.test:5000/binder/x:1")
    assert found.log.startswith("waiting it\nbuilding it\n")
    assert user(found) == "x-1"
    assert "token" not in repr(found)
    assert not found.failed


@pytest.mark.parametrize(
    ("phases", "built", "up"),
    [
        (("waiting", "building", "built", "launching", "ready"), None, None),
        (("waiting", "building", "failed"), "after building: no room", "its server did not come up"),
        (("waiting", "built", "launching", "failed"), None, "after launching: no room"),
        (("built", "launching", "ready"), "said to be built", None),
        ((), "after the request: no word", "after the request"),
    ],
)
def test_how_far_a_launch_came(phases: tuple[str, ...], built: str | None, up: str | None) -> None:
    found = launched(*phases, message="first line\nno room\n")
    for trouble, word in ((judge_pipeline.built(found, SPEC), built), (judge_pipeline.launched(found, SPEC), up)):
        assert (trouble is None) if word is None else (trouble is not None and word in trouble.reason)


@pytest.mark.parametrize(
    ("phases", "reasons", "words"),
    [
        (("built", "launching", "ready"), ["Scheduled", "Pulling", "Pulled"], []),
        (("waiting", "building", "built", "launching", "ready"), ["Pulling"], ["it builds anew"]),
        (("built", "launching", "ready"), ["Scheduled", "Pulled"], ["did not pull"]),
        (("built", "launching", "failed"), [], ["the second launch failed"]),
    ],
)
def test_a_second_launch_builds_nothing_and_pulls(
    phases: tuple[str, ...], reasons: list[str], words: list[str]
) -> None:
    found = [trouble.reason for trouble in judge_pipeline.relaunched(launched(*phases), reasons, SPEC)]
    assert len(found) == len(words)
    assert all(word in reason for word, reason in zip(words, found, strict=True))


def test_code_has_to_print_what_it_must() -> None:
    assert judge_pipeline.code("42\n", True, "42") is None
    assert judge_pipeline.code("42\n", False, "42") is not None
    trouble = judge_pipeline.code("Traceback\nMemoryError\n", False, "42")
    assert trouble is not None
    assert "MemoryError" in trouble.reason


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({WORLD: "reached", "MinIO": "ConnectionRefusedError"}, []),
        ({WORLD: "reached", "MinIO": "reached", "ssh": "reached"}, ["reaches MinIO, ssh"]),
        ({WORLD: "TimeoutError", "MinIO": "TimeoutError"}, ["refusals prove nothing"]),
        ({"MinIO": "TimeoutError"}, ["was not tried"]),
        ({}, ["printed no result"]),
    ],
)
def test_walls_hold_only_where_the_world_is_reached(found: dict[str, str], words: list[str]) -> None:
    reasons = [trouble.reason for trouble in judge_pipeline.walls(found, WORLD, "a build's step")]
    assert len(reasons) == len(words)
    assert all(word in reason for word, reason in zip(words, reasons, strict=True))


GOOD = {"uid": "1000", "token": "absent", "NoNewPrivs": "1", "CapEff": "0000000000000000", "CapBnd": "0000000000000000"}


@pytest.mark.parametrize(
    "changed",
    [
        {"uid": "0"},
        {"token": "there"},
        {"NoNewPrivs": "0"},
        {"CapBnd": "00000000a80425fb"},
        {"CapEff": "0000000000000400"},
    ],
)
def test_each_right_too_many_is_told(changed: dict[str, str]) -> None:
    assert list(judge_pipeline.rights(json.dumps(GOOD))) == []
    assert len(list(judge_pipeline.rights(json.dumps({**GOOD, **changed})))) == 1


@pytest.mark.parametrize("output", ["", "Killed", "[]"])
def test_a_server_that_tells_nothing_of_its_rights_is_not_trusted(output: str) -> None:
    assert [trouble.reason[:42] for trouble in judge_pipeline.rights(output)] == [
        "a user's server does not tell its rights: "
    ]


@pytest.mark.parametrize("lacking", GOOD)
def test_a_right_that_is_not_told_is_none_that_is_absent(lacking: str) -> None:
    told = {name: value for name, value in GOOD.items() if name != lacking}
    assert len(list(judge_pipeline.rights(json.dumps(told)))) == 1


def test_the_probe_tells_what_it_reached(tmp_path: Path) -> None:
    """Run here, against a port that listens and one that does not."""
    import socket
    import sys

    with socket.create_server(("127.0.0.1", 0)) as open_, socket.create_server(("127.0.0.1", 0)) as shut:
        ports = open_.getsockname()[1], shut.getsockname()[1]
        shut.close()
        targets = [reach.Target("open", "127.0.0.1", ports[0]), reach.Target("shut", "127.0.0.1", ports[1])]
        (tmp_path / "probe.py").write_text(reach.program(targets))
        done = subprocess.run([sys.executable, tmp_path / "probe.py"], capture_output=True, text=True, check=True)
    found = reach.probed(f"#7 0.3 {done.stdout}#8 more\n")
    assert found == {"open": "reached", "shut": "ConnectionRefusedError"}
    assert reach.reached(found) == ["open"]
    assert reach.probed("nothing of the kind") == {}


def test_the_targets_are_the_node_under_each_of_its_addresses() -> None:
    targets = reach.node_targets(SPEC, ADDRESS)
    names = [target.what for target in targets]
    assert len(set(names)) == len(names)
    assert {target.address for target in targets} == {ADDRESS, "10.42.0.1", "10.10.0.1", "10.43.0.1", "169.254.169.254"}
    services = {"hub": ("10.43.1.1", 8081), "binder": ("10.43.1.2", 80)}
    assert [target.what for target in reach.service_targets(services, ("hub",))] == ["Service binder"]


def test_the_world_is_where_the_repository_is() -> None:
    def world(repository: str) -> tuple[str, int]:
        nothing: Any = None
        found = Trial(nothing, nothing, ADDRESS, nothing, nothing, nothing, repository, repository).world()
        return found.address, found.port

    assert world("http://198.18.0.10/x.git") == ("198.18.0.10", 80)
    assert world("https://git.example.org:8443/x.git") == ("git.example.org", 8443)
    assert world("gh/org/name") == ("github.com", 443)
    assert world("git@github.com:org/name.git") == ("github.com", 443)


def run(*words: str, cwd: Path) -> str:
    return subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare repository with one commit."""
    for key, value in branch.ENVIRONMENT.items():
        monkeypatch.setenv(key, value)
    bare, tree = tmp_path / "origin.git", tmp_path / "tree"
    run("init", "-q", "--bare", "-b", "main", str(bare), cwd=tmp_path)
    run("clone", "-q", str(bare), str(tree), cwd=tmp_path)
    (tree / "Dockerfile").write_text("FROM base\nCOPY . .")
    run("add", ".", cwd=tree)
    run("commit", "-q", "-m", "first", cwd=tree)
    run("push", "-q", "origin", "HEAD:main", cwd=tree)
    return bare


def test_a_branch_is_pushed_under_the_reserved_name_and_taken_away(origin: Path) -> None:
    made = branch.push_branch(str(origin), "print(1)\n")
    other = branch.push_branch(str(origin), "print(1)\n")
    assert made.name.startswith(f"{RESERVED}-")
    assert made.commit != other.commit
    assert run("rev-parse", made.name, cwd=origin).strip() == made.commit
    dockerfile = run("show", f"{made.name}:Dockerfile", cwd=origin)
    assert dockerfile == f"FROM base\nCOPY . .{branch.DOCKER_STEPS}"
    assert run("show", f"{made.name}:{branch.FILE}", cwd=origin).endswith("print(1)\n")
    for one in (made, other, made):
        branch.remove_branch(one)
    assert run("for-each-ref", "--format=%(refname)", cwd=origin).split() == ["refs/heads/main"]


def test_run_from_a_hook_the_hooks_own_repository_stays_as_it_was(
    origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    run("clone", "-q", str(origin), str(hooks), cwd=tmp_path)
    before = run("rev-parse", "HEAD", cwd=hooks)
    for name, value in (("GIT_DIR", hooks / ".git"), ("GIT_INDEX_FILE", hooks / ".git/index"), ("GIT_PREFIX", "x/")):
        monkeypatch.setenv(name, str(value))
    made = branch.push_branch(str(origin), "print(1)\n")
    branch.remove_branch(made)
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_PREFIX"):
        monkeypatch.delenv(name)
    assert run("rev-parse", "HEAD", cwd=hooks) == before
    assert run("status", "--porcelain", cwd=hooks) == ""
    assert run("show", "--format=", "--name-only", "main", cwd=origin).split() == ["Dockerfile"]


def test_a_repository_that_cannot_be_had_is_told_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        branch.push_branch(f"file://me:hidden@localhost{tmp_path}/none.git", "")
    assert "hidden" not in str(caught.value)
    assert "--push-to" in caught.value.remedy


@pytest.mark.parametrize(
    ("there", "changed"),
    [
        (["Dockerfile", "binder/requirements.txt"], "binder/postBuild"),
        (["binder/Dockerfile"], "binder/Dockerfile"),
        ([".binder/environment.yml"], ".binder/postBuild"),
        (["environment.yml"], "postBuild"),
        (["Dockerfile"], "Dockerfile"),
    ],
)
def test_the_build_runs_our_program_whatever_kind_it_is(tmp_path: Path, there: list[str], changed: str) -> None:
    for name in there:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x\n")
    branch.prepare(tmp_path, "print(1)")
    assert (
        f"python3 {'/tmp/' if changed.endswith('Dockerfile') else ''}{branch.FILE}" in (tmp_path / changed).read_text()
    )
    assert [name for name in there if name != changed and (tmp_path / name).read_text() != "x\n"] == []
    if changed.endswith("postBuild"):
        assert (tmp_path / changed).stat().st_mode & 0o111


class Node:
    """As much of a node as taking away needs: what was done to it, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def kubectl(self, command: str) -> dict[str, Any]:
        assert command.startswith("get pods")
        container = {"image": "registry.test:5000/binder/x:1", "args": []}
        build = {"image": "repo2docker", "args": ["--ref=c0ffee", "http://198.18.0.10/x.git"]}
        other = {"image": "registry.test:5000/binder/y:1"}
        pods = {"ours": container, "build": build, "other": other}
        return {"items": [{"metadata": {"name": name}, "spec": {"containers": [one]}} for name, one in pods.items()]}

    def run(self, command: str, *args: str, **more: Any) -> Any:
        del more
        self.done.append(command % args if args else command)
        return SimpleNamespace(rc=0, stderr="")


def test_everything_is_taken_away_even_when_one_thing_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Node()
    node: Any = SimpleNamespace(spec=SPEC)
    made = Trial(node, node, ADDRESS, fake, fake.kubectl, node, "http://198.18.0.10/x.git", "/srv/x.git")
    made.branch = branch.Branch("/srv/x.git", "binder-node-smoke-1-a", "c0ffee")
    made.first = launched("building", "built", "ready")

    def refuses(*_: object) -> None:
        raise StepError("bids-1", "stop the server", "HTTP 500")

    monkeypatch.setattr("binder_node.smoke.trial.shutdown", refuses)
    monkeypatch.setattr("binder_node.smoke.trial.remove_branch", lambda one: fake.done.append(f"branch {one.name}"))
    monkeypatch.setattr(Trial, "_forget_image", lambda self: fake.done.append(f"image {self.image}"))
    with pytest.raises(StepError, match="stop the server: HTTP 500"):
        made.clean()
    assert fake.done == [
        "k3s kubectl delete pod -n binder --ignore-not-found ours build",
        "image registry.test:5000/binder/x:1",
        "branch binder-node-smoke-1-a",
    ]


@pytest.mark.parametrize(("phases", "told"), [(["waiting", "building"], False), (["building", "built"], True)])
def test_a_launch_that_breaks_off_is_the_builds_failure_until_there_is_an_image(
    monkeypatch: pytest.MonkeyPatch, phases: list[str], told: bool
) -> None:
    def breaks_off(_: object, __: str, result: Launched, **___: object) -> None:
        result.phases += phases
        raise DeadlineError("bids-1.test", "the end of it (launch git/x)", 600)

    monkeypatch.setattr("binder_node.smoke.trial.follow", breaks_off)
    node: Any = SimpleNamespace(spec=SPEC)
    made = Trial(node, node, ADDRESS, node, Node().kubectl, node, "http://198.18.0.10/x.git", "/srv/x.git")
    made.branch = branch.Branch("/srv/x.git", "binder-node-smoke-1-a", "c0ffee")
    if not told:
        with pytest.raises(DeadlineError):
            made.build()
        return
    assert judge_pipeline.built(made.build(), SPEC) is None
    trouble = judge_pipeline.launched(made.build(), SPEC)
    assert trouble is not None
    assert "its server did not come up: after built: waited 600 s for the end of it" in trouble.reason


def test_a_trial_that_made_nothing_takes_nothing_away() -> None:
    fake = Node()
    node: Any = SimpleNamespace(spec=SPEC)
    Trial(node, node, ADDRESS, fake, fake.kubectl, node, "", "").clean()
    assert fake.done == []
