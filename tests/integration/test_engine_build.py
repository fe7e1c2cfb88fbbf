"""The engine with everything real but Kubernetes: repo2docker, buildkitd on containerd, a registry with a password."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from binder_node.cluster.engine import guard as guard_module
from tests.integration.binaries import binary
from tests.integration.engine_fixtures import PASSWORD, Builder, builder
from tests.integration.servers import until

pytestmark = pytest.mark.integration

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEMORY = "--BuildctlEngine.memory_limit=100000000"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    with builder(tmp_path_factory.mktemp(f"engine-{os.getpid()}-")) as made:
        yield made


def test_an_image_is_pushed_as_one_manifest_and_a_fresh_clone_finds_every_step_cached(running: Builder) -> None:
    repository = running.repository("steps", "FROM {base}\nCOPY . /home/\nRUN date +%N > /when\n", {"a/b.txt": "x"})
    first = running.build(repository)
    assert first.code == 0, first.output
    answer = running.manifest(repository)
    assert answer.headers["content-type"] == MANIFEST
    assert {layer["mediaType"] for layer in answer.json()["layers"]} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    assert "The image is unpacked in the store of this node" in first.text
    ctr = [str(binary("ctr")), "--address", str(running.folder / "containerd.sock"), "--namespace", "k8s.io"]
    checked = subprocess.check_output([*ctr, "images", "check", f"name=={running.image(repository)}"], text=True)
    assert checked.split()[-1] == "true", checked  # the column UNPACKED
    assert PASSWORD not in first.output

    second = running.build(repository)
    assert second.code == 0, second.output
    assert "COPY . /home/\n" in second.text  # .git with it
    assert second.text.count("CACHED\n") >= 2
    assert running.manifest(repository).headers["docker-content-digest"] == answer.headers["docker-content-digest"]


def test_the_password_stands_in_no_argument_and_its_file_is_gone_afterwards(running: Builder) -> None:
    seen: list[str] = []
    with running.start(running.repository("secret", "FROM {base}\nRUN sleep 2 # of this test alone\n")) as process:
        while process.poll() is None:
            shown = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
            seen.append(shown)
            time.sleep(0.1)
        assert process.stdout is not None
        assert process.returncode == 0, process.stdout.read()
    assert any("buildctl build" in shown for shown in seen)
    assert not any(PASSWORD in shown for shown in seen)
    assert not list((running.folder / "tmp").glob("docker-config-*"))


def test_a_step_that_needs_too_much_memory_is_killed_and_the_reason_said(running: Builder) -> None:
    repository = running.repository("memory", "FROM {base}\nRUN head -c 400000000 /dev/zero | tail\n")
    log = running.build(repository, MEMORY)
    assert log.code != 0
    (reason,) = log.failed
    assert reason.startswith("A build step was stopped: it needs more than the 100 MB of memory or the 2.0 GB of disk ")
    assert "RUN head -c 400000000" in reason


def test_the_memory_limit_is_no_part_of_a_steps_cache_key(running: Builder) -> None:
    repository = running.repository("limits", "FROM {base}\nRUN date +%N > /when\n")
    assert running.build(repository).code == 0
    assert "CACHED" in running.build(repository, MEMORY).text.partition("RUN date")[2]


def test_a_file_above_the_disk_limit_fails_and_the_reason_is_said(running: Builder) -> None:
    repository = running.repository("file", "FROM {base}\nRUN dd if=/dev/zero of=/big bs=1M count=50\n")
    log = running.build(repository, "--BuildctlEngine.disk_limit=10000000")
    assert log.code != 0
    (reason,) = log.failed
    assert reason.startswith("A build step was stopped: it needs more than the 10 MB of disk that a build has here.")


def test_a_program_that_survives_the_limit_of_a_file_gets_the_same_reason(running: Builder) -> None:
    says = "RUN echo 'OSError: [Errno 27] File too large' >&2; exit 1"
    log = running.build(running.repository("efbig", f"FROM {{base}}\n{says}\n"))
    assert log.failed[0].startswith("A build step was stopped: it needs more than the 2.0 GB of disk ")


def test_the_nodes_guard_ends_a_step_of_many_files_and_what_a_killed_buildkitd_left(running: Builder) -> None:
    many = "i=0; while [ $i -lt 400 ]; do head -c 1000000 /dev/zero > /f$i; i=$((i+1)); sleep 0.05; done"
    guard = [sys.executable, guard_module.__file__, "--parent", f"{running.folder.name}-builds"]
    watching = subprocess.Popen([*guard, "--limit", "50000000"], stdout=subprocess.PIPE, text=True)
    with watching:
        log = running.build(running.repository("many", f"FROM {{base}}\nRUN {many}\n"))
        watching.terminate()
        assert watching.stdout is not None
        assert "ended build step" in watching.stdout.read()
    assert log.failed[0].startswith("A build step was stopped: it needs more than the 2.0 GB of memory or the 2.0 GB ")

    try:
        with running.start(running.repository("orphan", "FROM {base}\nRUN sleep 16180.3\n")) as process:
            until("the step", lambda: "\nsleep 16180.3" in shown())
            running.buildkitd.stop(kill=True)
            process.kill()
        assert "\nsleep 16180.3" in shown()
        # The shell and its sleep.
        assert subprocess.check_output([*guard, "--sweep"], text=True) == "ended 2 left-over processes of builds\n"
        until("the step to end", lambda: "\nsleep 16180.3" not in shown())
    finally:
        running.buildkitd.start()


def shown() -> str:
    return subprocess.check_output(["ps", "-ww", "-eo", "args"], text=True)


def test_a_push_waits_for_the_registry_and_builds_nothing_again(running: Builder) -> None:
    repository = running.repository("push", "FROM scratch\nCOPY a.txt /\n", {"a.txt": "x"})
    running.registry.stop()
    try:
        lines: list[str] = []
        with running.start(repository) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if "the registry did not take it" in line and running.registry.process is None:
                    running.registry.start()
            assert process.wait(60) == 0, "".join(lines)
    finally:
        if running.registry.process is None:
            running.registry.start()
    assert running.manifest(repository).status_code == 200


def test_a_push_goes_on_after_a_pause_in_which_the_registry_is_read_only(running: Builder) -> None:
    """As it is while garbage is removed (host/retention.py)."""
    repository = running.repository("pause", "FROM {base}\nRUN date +%N > /when\n")
    plain, paused = running.folder / "registry.yaml", running.folder / "read-only.yaml"
    config = json.loads(plain.read_text())
    config["storage"]["maintenance"] = {"readonly": {"enabled": True}}
    paused.write_text(json.dumps(config))

    def switch(to: Path) -> None:
        running.registry.stop()
        running.registry.command[-1] = str(to)
        running.registry.start()

    lines: list[str] = []
    try:
        switch(paused)
        with running.start(repository) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if "the registry did not take it, trying again" in line and running.registry.command[-1] == str(paused):
                    switch(plain)
            assert process.wait(60) == 0, "".join(lines)
    finally:
        if running.registry.command[-1] != str(plain):
            switch(plain)
    assert sum("the registry did not take it" in line for line in lines) <= 2
    assert running.manifest(repository).status_code == 200


def test_a_registry_that_never_takes_the_image_is_named_as_the_reason(running: Builder) -> None:
    repository = running.repository("never", "FROM scratch\nCOPY a.txt /\n", {"a.txt": "y"})
    running.registry.stop()
    try:
        log = running.build(repository, "--BuildctlEngine.push_seconds=2")
    finally:
        running.registry.start()
    assert log.code != 0
    (reason,) = log.failed
    assert reason.startswith("The image was built, but the registry did not take it: failed to push ")


def test_a_builder_that_restarts_in_the_middle_is_waited_for(running: Builder) -> None:
    repository = running.repository("restart", "FROM {base}\nRUN sleep 4\n")
    lines: list[str] = []
    killed = False
    with running.start(repository) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "RUN sleep 4" in line and not killed:
                killed = True
                running.buildkitd.stop(kill=True)
                threading.Timer(3, running.buildkitd.start).start()
        output = "".join(lines)
        assert process.wait(60) == 0, output
    assert "The builder went away in the middle of the build: starting again" in output
    assert running.manifest(repository).status_code == 200


def test_a_full_disk_delays_a_build_and_then_fails_it(running: Builder) -> None:
    repository = running.repository("room", "FROM scratch\nCOPY a.txt /\n", {"a.txt": "z"})
    log = running.build(repository, "--BuildctlEngine.wait_below_percent=100", "--BuildctlEngine.wait_seconds=3")
    assert log.code != 0
    assert "Waiting for room on the node's disk" in log.text
    (reason,) = log.failed
    assert reason.startswith("The node's disk is full: ")
    assert running.manifest(repository).status_code == 404


def test_a_disk_that_fills_up_stops_the_build_and_its_steps(running: Builder) -> None:
    # A time to sleep that tells this step from any other process of the machine.
    repository = running.repository("stop", "FROM {base}\nRUN sleep 31415.5\n")
    log = running.build(repository, "--BuildctlEngine.stop_below_percent=100")
    assert log.code != 0
    assert log.failed == ["The build was stopped: the node's disk is nearly full. Please try again later."]

    def gone() -> bool:
        return "sleep 31415.5" not in subprocess.check_output(["ps", "-ww", "-eo", "args"], text=True).replace(
            "RUN ", ""
        )

    until("the step to end with its build", gone)


def test_a_mistake_in_the_dockerfile_is_shown_where_it_is(running: Builder) -> None:
    log = running.build(running.repository("mistake", "FROM {base}\nRUNN true\n"))
    assert log.code != 0
    (reason,) = log.failed
    assert reason.startswith("The build failed: error: failed to solve: dockerfile parse error on line 2: ")


# What repo2docker's standard buildpacks call: an archive, with the checkout below src/.
ARCHIVE = """
import io, sys, tarfile
from repo2docker.app import Repo2Docker
from binder_node_engine.engine import BuildctlEngine
archive = io.BytesIO()
with tarfile.open(fileobj=archive, mode="w") as tar:
    dockerfile = "FROM " + sys.argv[1] + "/base/small:1\\nCOPY src/ /home/\\nRUN cat /home/a\\n"
    for name, text in (("Dockerfile", dockerfile), ("src/a", "found")):
        entry = tarfile.TarInfo(name)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text.encode()))
archive.seek(0)
engine = BuildctlEngine(parent=Repo2Docker())
engine.registry_insecure = True
sys.stdout.writelines(engine.build(
    fileobj=archive, tag=sys.argv[1] + "/binder/archive:1", custom_context=True, buildargs={"NB_USER": "jovyan"},
    cache_from=[], container_limits={"memory": 50000000, "memswap": 50000000}, platform="linux/amd64", push=True,
))
"""


def test_a_standard_buildpacks_archive_is_built(running: Builder) -> None:
    done = subprocess.run(
        [str(running.python), "-c", ARCHIVE, running.registry_name],
        env=running.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " found\n" in done.stdout
    assert running.manifest(Path("archive")).headers["content-type"] == MANIFEST
